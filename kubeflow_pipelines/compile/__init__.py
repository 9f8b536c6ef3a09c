"""Kubeflow Pipelines v2: compiling the pipeline, checking it, running in its containers."""
