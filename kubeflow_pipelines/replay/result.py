"""What came out of a run of the compiled pipeline, from the outputs of its tasks."""

from __future__ import annotations

from dataclasses import dataclass

from kubeflow_pipelines.replay.state import RunRecord


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Attributes:
      succeeded: every task is done.
      blessed: the evaluator's decision.
      validated: the serving validator's.
      version: the published version, None when none was published.
      bundle: where it is.
      reason: the Pusher's words.
    """

    succeeded: bool
    blessed: bool
    validated: bool
    version: int | None
    bundle: str
    reason: str

    @property
    def exit_code(self) -> int:
        """0 done, also where an older day was not published; 1 failed or refused."""
        return 0 if self.succeeded and self.blessed and self.validated else 1


def outcome(run: RunRecord) -> RunOutcome:
    """Returns how a run ended."""
    refresh = "CatalogueRefresh" in run.tasks
    pushed = _metadata(run, "CatalogueRefresh" if refresh else "Pusher", "pushed")
    version = pushed.get("pushed_version")
    return RunOutcome(
        succeeded=run.state == "SUCCEEDED",
        # A refresh keeps the blessing that was given; its task fails without the rest.
        blessed=refresh or _metadata(run, "RetrievalEvaluator", "blessing").get("blessed") == 1,
        validated=refresh or _metadata(run, "ServingValidator", "validation").get("validated") == 1,
        version=int(version) if pushed.get("pushed") == 1 and version else None,
        bundle=str(pushed.get("pushed_destination", "")),
        reason=str(pushed.get("reason", "")),
    )


def _metadata(run: RunRecord, task: str, key: str) -> dict:
    record = run.tasks.get(task)
    return {} if record is None else record.artifacts.get(key, {}).get("metadata", {})
