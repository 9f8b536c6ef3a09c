"""The CatalogueGen component."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Bundle, DataReport
from components.refresh.catalogue_gen.driver import Driver
from components.refresh.catalogue_gen.executor import Executor


class CatalogueGenSpec(ComponentSpec):
    """Inputs, outputs and parameters of the CatalogueGen."""

    PARAMETERS = {
        "data_root": ExecutionParameter(type=str),
        "run_date": ExecutionParameter(type=str),
        "config_json": ExecutionParameter(type=str),
        "dead_letter_dir": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
    }
    INPUTS = {"bundle": ChannelParameter(type=Bundle)}
    OUTPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "report": ChannelParameter(type=DataReport),
    }


class CatalogueGen(base_component.BaseComponent):
    """Reads the items table of a refresh.

    Outputs `examples`, raw examples with every item in the split `corpus` and the bundle's
    sample requests in `validation`, and `report`, counts, dead letters and what differs
    from the served catalogue.
    """

    SPEC_CLASS = CatalogueGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(
        self,
        bundle: types.BaseChannel,
        data_root: str,
        run_date: str,
        config_json: str,
        dead_letter_dir: str,
        code_digest: str,
    ) -> None:
        """Builds the node.

        Args:
          bundle: what a BundleSource took from the published bundle.
          data_root: folder of the items table.
          run_date: day of the items (`YYYY-MM-DD`); empty for one-shot tables.
          config_json: a `components.refresh.catalogue_gen.config.CatalogueGenConfig`.
          dead_letter_dir: where dead letters are kept when they stop the run.
          code_digest: digest of the code, part of the cache key.
        """
        spec = CatalogueGenSpec(
            bundle=bundle,
            data_root=data_root,
            run_date=run_date,
            config_json=config_json,
            dead_letter_dir=dead_letter_dir,
            code_digest=code_digest,
            examples=types.Channel(type=standard_artifacts.Examples),
            report=types.Channel(type=DataReport),
        )
        super().__init__(spec=spec)
