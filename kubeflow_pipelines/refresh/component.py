"""The CatalogueRefresh component: a whole refresh in one pod.

A refresh takes model and settings from the version that is served when it starts, so its graph
cannot be compiled. It trains nothing and takes minutes, so one task runs all of it.
"""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import PushedBundle
from kubeflow_pipelines.refresh.executor import Executor


class CatalogueRefreshSpec(ComponentSpec):
    """Output and parameters of CatalogueRefresh."""

    PARAMETERS = {
        "data_root": ExecutionParameter(type=str),
        "run_date": ExecutionParameter(type=str),
        "serving_dir": ExecutionParameter(type=str),
        "name": ExecutionParameter(type=str),
        "config_json": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
    }
    INPUTS: dict = {}
    OUTPUTS = {"pushed": ChannelParameter(type=PushedBundle)}


class CatalogueRefresh(base_component.BaseComponent):
    """Gives the published model a new index of the items table.

    The output carries `pushed` (0 or 1), `pushed_version`, `pushed_destination` and `reason` as
    custom properties, and holds the report of the run.
    """

    SPEC_CLASS = CatalogueRefreshSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        data_root: str,
        run_date: str,
        serving_dir: str,
        name: str,
        config_json: str,
        code_digest: str,
    ) -> None:
        """Builds the node.

        Args:
          data_root: folder or URL of the input tables.
          run_date: day of the items table; '': of tables without days.
          serving_dir: folder or URL of pushed bundles.
          name: name of the model.
          config_json: the keys that a `pipeline.config.RunConfig` was given, and no others:
            those come from the published version.
          code_digest: digest of the code, so that the file names the code it belongs to.
        """
        super().__init__(
            CatalogueRefreshSpec(
                data_root=data_root,
                run_date=run_date,
                serving_dir=serving_dir,
                name=name,
                config_json=config_json,
                code_digest=code_digest,
                pushed=types.Channel(type=PushedBundle),
            )
        )
