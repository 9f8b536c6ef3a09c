"""Back-fills on Kubeflow Pipelines."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kubeflow_pipelines.client.api import KubeflowClient
from kubeflow_pipelines.client.backfill import Attempt
from kubeflow_pipelines.client.errors import ApiError, DayError, TransientError
from kubeflow_pipelines.client.records import Launch, Run, RunState


@dataclass(frozen=True)
class KubeflowBackend:
    """Runs days as runs of one version.

    Attributes:
      client: of the server.
      launch: what runs.
      defaults: name -> what a run has that does not name this parameter.
      poll_s: seconds between two questions.
      say: is told in one line what is waited for.
    """

    client: KubeflowClient
    launch: Launch
    defaults: Mapping[str, Any]
    poll_s: float
    say: Callable[[str], None]

    def newest(self, day: dt.date) -> Attempt | None:
        """Returns the newest run of a day with the same parameters, of whatever version."""
        run = self._newest(day)
        return None if run is None else _attempt(run)

    def start(self, day: dt.date) -> Attempt:
        """Starts a run of a day as soon as no other run of the pipeline is under way."""
        self._wait_for_others()
        before = self._newest(day)
        self.say(f"{day}: starting {self.launch.run_name(day)}")
        try:
            return _attempt(self.client.create_run(self.launch, day))
        except TransientError:
            # Started or not? Starting once more without looking could make it two.
            run = self._newest(day)
            if run is not None and (before is None or run.run_id != before.run_id):
                return _attempt(run)
            return _attempt(self.client.create_run(self.launch, day))

    def wait(self, attempt: Attempt) -> Attempt:
        """Returns a run when it has ended."""
        if attempt.state is RunState.RUNNING:
            self.say(f"waiting for {attempt.link}")
        try:
            ended = _attempt(self.client.wait_for(attempt.run_id, self.poll_s))
        except ApiError as error:
            if error.status == 404:
                raise DayError(f"the run {attempt.run_id} is lost: {error}") from None
            raise
        if ended.state is RunState.FAILED and not ended.reason:
            return replace(ended, reason=f"the run failed: see {ended.link}")
        return ended

    def _newest(self, day: dt.date) -> Run | None:
        return self.client.run_of(self.launch, day, self.defaults)

    def _wait_for_others(self) -> None:
        running = [run for run in self._runs() if run.state is RunState.RUNNING]
        for run in running:
            self.say(f"waiting for another run of the pipeline: {run.link}")
            try:
                self.client.wait_for(run.run_id, self.poll_s)
            except ApiError as error:
                if error.status != 404:  # somebody has deleted it: it is over
                    raise

    def _runs(self) -> list[Run]:
        launch = self.launch
        return list(self.client.runs(launch.experiment_id, launch.version.pipeline_id))


def _attempt(run: Run) -> Attempt:
    reason = run.reason
    if run.state is RunState.FAILED and run.shown_state == "CANCELED":
        reason = reason or "the run was cancelled"
    return Attempt(run.run_id, run.state, run.link, reason)
