"""The StatusReport component: the exit handler of the compiled pipeline."""

from __future__ import annotations

from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.orchestration.kubeflow.decorators import FinalStatusStr
from tfx.types.component_spec import ComponentSpec

from components.base import Component, parameters
from components.status_report.executor import Executor


class StatusReportSpec(ComponentSpec):
    """Parameters of StatusReport; an exit handler has neither inputs nor outputs."""

    PARAMETERS = parameters(
        "final_status", "run_date", "model_name", "status_dir", "serving_dir", "pipeline"
    )
    INPUTS: dict = {}
    OUTPUTS: dict = {}


class StatusReport(Component):
    """Logs how the run ended, keeps it in a folder and posts it, as far as these are set.

    Args:
      run_date: the run's parameter of this name.
      model_name: the run's parameter of this name.
      status_dir: folder or URL that keeps one file per model and run date; '': none.
      serving_dir: the run's parameter; the version and report of the day are looked up there.
      pipeline: `refresh`: of the day's refresh; else of the day's training.
    """

    SPEC_CLASS = StatusReportSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
    DEFAULTS = {"final_status": FinalStatusStr(), "serving_dir": "", "pipeline": "train"}
