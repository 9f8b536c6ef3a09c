"""Says how a run on Kubeflow ended, whatever happened in it."""
