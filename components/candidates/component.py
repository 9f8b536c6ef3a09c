"""The CandidateGen component."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import DataReport, PushedBundle
from components.candidates.executor import Executor


class CandidateGenSpec(ComponentSpec):
    """Inputs, outputs and parameters of the CandidateGen."""

    PARAMETERS = {
        "data_root": ExecutionParameter(type=str),
        "run_date": ExecutionParameter(type=str),
        "config_json": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
    }
    INPUTS = {"pushed": ChannelParameter(type=PushedBundle)}
    OUTPUTS = {"report": ChannelParameter(type=DataReport)}


class CandidateGen(base_beam_component.BaseBeamComponent):
    """Writes candidates for every user through the version that was published.

    Outputs `report`, a copy of the manifest of the candidates in `candidates.json`.
    """

    SPEC_CLASS = CandidateGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        pushed: types.BaseChannel,
        data_root: str,
        run_date: str,
        config_json: str,
        code_digest: str,
    ) -> None:
        """Builds the node.

        Args:
          pushed: what the Pusher published.
          data_root: folder or URL of the tables.
          run_date: last day of the data (`YYYY-MM-DD`); empty for one-shot tables.
          config_json: a `components.candidates.config.CandidateGenConfig`.
          code_digest: digest of the code, part of the cache key.
        """
        super().__init__(
            spec=CandidateGenSpec(
                pushed=pushed,
                data_root=data_root,
                run_date=run_date,
                config_json=config_json,
                code_digest=code_digest,
                report=types.Channel(type=DataReport),
            )
        )
