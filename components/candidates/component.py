"""The CandidateGen component."""

from __future__ import annotations

from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types.component_spec import ComponentSpec

from components.artifacts import DataReport, PushedBundle
from components.base import BeamComponent, channels, parameters
from components.candidates.executor import Executor


class CandidateGenSpec(ComponentSpec):
    """Inputs, outputs and parameters of the CandidateGen."""

    PARAMETERS = parameters("data_root", "run_date", "config_json", "code_digest")
    INPUTS = channels(pushed=PushedBundle)
    OUTPUTS = channels(report=DataReport)


class CandidateGen(BeamComponent):
    """Writes candidates for every user through the version that was published.

    Outputs `report`, a copy of the manifest of the candidates in `candidates.json`.

    Args:
      pushed: what the Pusher published.
      data_root: folder or URL of the tables.
      run_date: last day of the data (`YYYY-MM-DD`); empty for one-shot tables.
      config_json: a `components.candidates.config.CandidateGenConfig`.
      code_digest: digest of the code, part of the cache key.
    """

    SPEC_CLASS = CandidateGenSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)
