"""The StatusReport component: the exit handler of the compiled pipeline."""

from __future__ import annotations

from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration.kubeflow.decorators import FinalStatusStr
from tfx.types.component_spec import ComponentSpec, ExecutionParameter

from components.status_report.executor import Executor


class StatusReportSpec(ComponentSpec):
    """Parameters of StatusReport; an exit handler has neither inputs nor outputs."""

    PARAMETERS = {
        "final_status": ExecutionParameter(type=str),
        "run_date": ExecutionParameter(type=str),
        "model_name": ExecutionParameter(type=str),
        "status_dir": ExecutionParameter(type=str),
        "serving_dir": ExecutionParameter(type=str),
    }
    INPUTS: dict = {}
    OUTPUTS: dict = {}


class StatusReport(base_component.BaseComponent):
    """Logs how the run ended, keeps it in a folder and posts it, as far as these are set."""

    SPEC_CLASS = StatusReportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self, run_date: str, model_name: str, status_dir: str, serving_dir: str = ""
    ) -> None:
        """Builds the component.

        Args:
          run_date: the run's parameter of this name.
          model_name: the run's parameter of this name.
          status_dir: folder or URL that keeps one file per model and run date; '': none.
          serving_dir: the run's parameter; the version and report of the day are looked up there.
        """
        super().__init__(
            StatusReportSpec(
                final_status=FinalStatusStr(),
                run_date=run_date,
                model_name=model_name,
                status_dir=status_dir,
                serving_dir=serving_dir,
            )
        )
