"""The IndexRefresh component."""

from __future__ import annotations

from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types.component_spec import ComponentSpec
from tfx.types.standard_artifacts import Examples, Model

from components.artifacts import Bundle, DataReport, RetrievalIndex
from components.base import Component, channels, parameters
from components.refresh.index_refresh.executor import Executor


class IndexRefreshSpec(ComponentSpec):
    """Inputs, outputs and parameters of the IndexRefresh."""

    PARAMETERS = parameters("config_json", "retrieval_json", "published_code", "code_digest")
    INPUTS = channels(model=Model, examples=Examples, report=DataReport, bundle=Bundle)
    OUTPUTS = channels(index=RetrievalIndex)


class IndexRefresh(Component):
    """The IndexBuilder of a refresh.

    Where catalogue, settings and code are those of the published bundle, its index is
    kept byte for byte, and the Pusher finds that there is nothing to publish.

    Args:
      model: of a BundleSource; has `embed_user` and `embed_items`.
      examples: of a CatalogueGen; items from `corpus`, queries from `validation`.
      report: of a CatalogueGen; says whether the catalogue changed.
      bundle: of a BundleSource; what is published.
      config_json: a `components.config.IndexConfig`.
      retrieval_json: a `trainer.config.RetrievalConfig`.
      published_code: the code digest that the new manifest will record.
      code_digest: digest of the code, part of the cache key.
    """

    SPEC_CLASS = IndexRefreshSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
