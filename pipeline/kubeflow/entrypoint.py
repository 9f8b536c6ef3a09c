"""Runs `kubeflow_pipelines.task.entrypoint` under its earlier name, which older files call."""

import runpy

if __name__ == "__main__":
    runpy.run_module("kubeflow_pipelines.task.entrypoint", run_name="__main__", alter_sys=True)
