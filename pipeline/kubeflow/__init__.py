"""The entry point's path in files that were compiled before `kubeflow_pipelines` existed."""
