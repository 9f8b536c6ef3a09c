"""The CatalogueRefresh component: a whole refresh in one pod.

A refresh takes model and settings from the version that is served when it starts, so its graph
cannot be compiled. It trains nothing and takes minutes, so one task runs all of it.
"""

from __future__ import annotations

from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types.component_spec import ComponentSpec

from components.artifacts import PushedBundle
from components.base import Component, channels, parameters
from kubeflow_pipelines.refresh.executor import Executor


class CatalogueRefreshSpec(ComponentSpec):
    """Output and parameters of CatalogueRefresh."""

    PARAMETERS = parameters(
        "data_root", "run_date", "serving_dir", "name", "config_json", "code_digest"
    )
    INPUTS: dict = {}
    OUTPUTS = channels(pushed=PushedBundle)


class CatalogueRefresh(Component):
    """Gives the published model a new index of the items table.

    The output carries `pushed` (0 or 1), `pushed_version`, `pushed_destination` and `reason` as
    custom properties, and holds the report of the run.

    Args:
      data_root: folder or URL of the input tables.
      run_date: day of the items table; '': of tables without days.
      serving_dir: folder or URL of pushed bundles.
      name: name of the model.
      config_json: the keys that a `pipeline.config.RunConfig` was given, and no others:
        those come from the published version.
      code_digest: digest of the code, so that the file names the code it belongs to.
    """

    SPEC_CLASS = CatalogueRefreshSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
