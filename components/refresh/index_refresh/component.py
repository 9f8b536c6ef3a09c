"""The IndexRefresh component."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Bundle, DataReport, RetrievalIndex
from components.refresh.index_refresh.executor import Executor


class IndexRefreshSpec(ComponentSpec):
    """Inputs, outputs and parameters of the IndexRefresh."""

    PARAMETERS = {
        "config_json": ExecutionParameter(type=str),
        "retrieval_json": ExecutionParameter(type=str),
        "published_code": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
    }
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "report": ChannelParameter(type=DataReport),
        "bundle": ChannelParameter(type=Bundle),
    }
    OUTPUTS = {"index": ChannelParameter(type=RetrievalIndex)}


class IndexRefresh(base_component.BaseComponent):
    """The IndexBuilder of a refresh.

    Where catalogue, settings and code are those of the published bundle, its index is
    kept byte for byte, and the Pusher finds that there is nothing to publish.
    """

    SPEC_CLASS = IndexRefreshSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        examples: types.BaseChannel,
        report: types.BaseChannel,
        bundle: types.BaseChannel,
        config_json: str,
        retrieval_json: str,
        published_code: str,
        code_digest: str,
    ) -> None:
        """Builds the node.

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
        spec = IndexRefreshSpec(
            model=model,
            examples=examples,
            report=report,
            bundle=bundle,
            config_json=config_json,
            retrieval_json=retrieval_json,
            published_code=published_code,
            code_digest=code_digest,
            index=types.Channel(type=RetrievalIndex),
        )
        super().__init__(spec=spec)
