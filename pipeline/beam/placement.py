"""Which components get `beam.args`, and which run Beam in their own process."""

from __future__ import annotations

from collections.abc import Iterable

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_node import BaseNode

from pipeline.config.run import BeamConfig


def pipeline_args(beam: BeamConfig) -> list[str]:
    """Returns Beam's options for all components but those that `place` gives others."""
    return list(BeamConfig().args if beam.only else beam.args)


def place(nodes: Iterable[BaseNode], beam: BeamConfig) -> None:
    """Gives the components of `beam.only` their options; they win over the pipeline's."""
    for node in nodes:
        if isinstance(node, BaseBeamComponent) and node.id in beam.only:
            node.with_beam_pipeline_args(list(beam.args))
