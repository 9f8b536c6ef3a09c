"""Puts the figures of a log together and judges them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from components.bundle.verify import VerifiedBundle
from core.errors import DataError
from core.files import read_json
from pipeline.monitor import drift, figures, later
from pipeline.monitor.policy import Policy, judge, worst
from pipeline.monitor.reference import TrainingReference, read_reference
from serving.request_log.reader import RequestLog
from serving.request_log.record import KINDS

#: Requests below which a distance is mostly chance: stated, but judged on neither side.
LEAST_REQUESTS = 100
_UNKNOWN = ("items", "topics")
_SHOWN = ("coverage", "top_share", "head_share", "unknown")
#: Every figure of `monitor.json`, in its order; a policy may bound each of them.
FIGURES = (
    "requests",
    "other_versions",
    *(f"answers.{name}" for name in ("empty", *KINDS, "follows_answered")),
    *(f"drift.{name}" for name in drift.FEATURES),
    *(f"unknown.{name}" for name in _UNKNOWN),
    *(f"unknown.{name}_rise" for name in _UNKNOWN),
    *(f"shown.{name}" for name in _SHOWN),
    "later.counted",
    "later.recall",
)


def collect(
    bundle: VerifiedBundle,
    log: RequestLog,
    policy: Policy,
    engagements: pa.Table | None = None,
    horizon: int = 86_400,
    all_versions: bool = False,
) -> dict[str, Any]:
    """Returns the content of `monitor.json`.

    Args:
      bundle: that the log is compared with.
      log: what was served.
      policy: bounds.
      engagements: see `later.recall`; without it there is no recall.
      horizon: see `later.recall`.
      all_versions: take requests that other versions answered too.

    Raises:
      BundleError: catalogue or sample cannot be read.
      DataError: no request of the version is in the log.
    """
    reference = read_reference(bundle)
    version = reference.manifest.version
    rows = log.rows
    if not all_versions:
        rows = rows.filter(pc.equal(rows["version"], version))
    if not len(rows):
        raise DataError(_nothing(log, version))
    rows = rows.combine_chunks()
    notes = _notes(reference, log, rows)
    found: dict[str, float | None] = dict.fromkeys(FIGURES)
    found |= _measured(reference, log, rows)
    if engagements is not None:
        after = later.recall(rows, engagements, horizon)
        found |= {f"later.{name}": value for name, value in after.items()}
        if not pc.any(pc.is_valid(rows["user"])).as_py():
            notes.append(
                "The log names no user, so later engagements belong to nobody: serve with "
                "--log-users, and set the same TESSERA_ID_KEY here."
            )
    judged = _without_chance(found, min(len(rows), len(reference.requests)))
    checks = judge(judged, policy)
    return {
        "name": reference.manifest.name,
        "version": version,
        "verdict": worst(checks),
        "checks": [check._asdict() for check in checks],
        "figures": found,
        "offline": _offline(bundle),
        "window": _window(rows),
        "requests_per_hour": _per_hour(rows),
        "versions": _versions(log.rows),
        "sampled_from": log.total,
        "reference_requests": len(reference.requests),
        "notes": notes,
    }


def _measured(
    reference: TrainingReference, log: RequestLog, rows: pa.Table
) -> dict[str, float | None]:
    served = figures.unknown(rows, reference.items, reference.topics)
    trained = figures.unknown(reference.requests, reference.items, reference.topics)
    others = pc.sum(pc.not_equal(log.rows["version"], reference.manifest.version)).as_py()
    parts = {
        "answers": figures.answers(rows),
        "drift": drift.drift(reference.requests, rows, reference.in_seconds),
        "unknown": served
        | {f"{name}_rise": value for name, value in figures.rises(served, trained).items()},
        "shown": figures.shown(rows, reference.items),
    }
    return {
        "requests": float(len(rows)),
        "other_versions": others / len(log.rows),
        **{f"{part}.{name}": v for part, each in parts.items() for name, v in each.items()},
    }


def _without_chance(found: Mapping[str, float | None], requests: int) -> dict[str, float | None]:
    """Returns the figures with those taken out that so few requests cannot tell."""
    few = requests < LEAST_REQUESTS
    compared = ("drift.", "unknown.items_rise", "unknown.topics_rise")
    return {k: None if few and k.startswith(compared) else v for k, v in found.items()}


def _notes(reference: TrainingReference, log: RequestLog, rows: pa.Table) -> list[str]:
    notes = []
    size = len(reference.requests)
    if not size:
        notes.append("The bundle holds no sample of requests: drift is not measured.")
    elif min(size, len(rows)) < LEAST_REQUESTS:
        notes.append(
            f"Drift is not judged: {len(rows)} requests beside {size} of the training, "
            f"{LEAST_REQUESTS} of each are needed."
        )
    if len(log.rows) < log.total:
        notes.append(f"An even sample of {len(log.rows):,} of {log.total:,} logged requests.")
    if log.skipped:
        notes.append(f"{log.skipped:,} records hold no answer with items and kinds of slots.")
    return notes


def _nothing(log: RequestLog, version: int) -> str:
    there = ", ".join(map(str, _versions(log.rows)))
    if not there:
        return "the log holds no request in this window"
    return (
        f"the log holds no request that version {version} answered (versions there: {there}); "
        "name the bundle that was served, or take all with --all-versions"
    )


def _versions(rows: pa.Table) -> dict[str, int]:
    counts = pc.value_counts(rows["version"]).to_pylist()
    return {
        str(each["values"]): each["counts"] for each in sorted(counts, key=lambda c: c["values"])
    }


def _window(rows: pa.Table) -> dict[str, str]:
    times = pc.min_max(rows["time"]).as_py()
    first, last = (times[end].isoformat(timespec="seconds") for end in ("min", "max"))
    return {"first": first, "last": last}


def _per_hour(rows: pa.Table) -> dict[str, int]:
    """Returns hour -> requests, for the latest 48 hours that have any."""
    hours = pc.divide(rows["time"].cast(pa.int64()), 3_600_000)
    counts = sorted((each["values"], each["counts"]) for each in pc.value_counts(hours).to_pylist())
    return {
        datetime.fromtimestamp(hour * 3600, timezone.utc).strftime("%Y-%m-%dT%H"): count
        for hour, count in counts[-48:]
    }


def _offline(bundle: VerifiedBundle) -> dict[str, float]:
    """Returns the recalls that the evaluation measured."""
    try:
        model = read_json(bundle.path / "evaluation.json").get("model", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return {
        name: value
        for name, value in model.items()
        if name.startswith("recall@") and isinstance(value, float)
    }
