"""The CatalogueGen component."""

from __future__ import annotations

from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Examples

from components.artifacts import Bundle, DataReport
from components.base import Component, channels, parameters
from components.refresh.catalogue_gen.driver import Driver
from components.refresh.catalogue_gen.executor import Executor


class CatalogueGenSpec(ComponentSpec):
    """Inputs, outputs and parameters of the CatalogueGen."""

    PARAMETERS = parameters(
        "data_root", "run_date", "config_json", "dead_letter_dir", "code_digest"
    )
    INPUTS = channels(bundle=Bundle)
    OUTPUTS = channels(examples=Examples, report=DataReport)


class CatalogueGen(Component):
    """Reads the items table of a refresh.

    Outputs `examples`, raw examples with every item in the split `corpus` and the bundle's
    sample requests in `validation`, and `report`, counts, dead letters and what differs
    from the served catalogue.

    Args:
      bundle: what a BundleSource took from the published bundle.
      data_root: folder of the items table.
      run_date: day of the items (`YYYY-MM-DD`); empty for one-shot tables.
      config_json: a `components.refresh.catalogue_gen.config.CatalogueGenConfig`.
      dead_letter_dir: where dead letters are kept when they stop the run.
      code_digest: digest of the code, part of the cache key.
    """

    SPEC_CLASS = CatalogueGenSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
    DRIVER_CLASS = Driver
