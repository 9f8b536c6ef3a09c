"""Kubeflow Pipelines: the compiler, the tasks' entry point, a local replay and the API client."""
