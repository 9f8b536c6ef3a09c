"""How cost grows: what the paper does not say, and its claim on latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from research.paper import verdicts
from research.paper.results import MissingResultError, Published
from research.paper.verdicts import FAILS, HOLDS, Claim, ClaimVerdict, MarkdownTable, Status

EXPERIMENT = "cost"
_ONE, _DCM, _AXIS = "two_tower", "dcm", "history_length"
_LATENCY_LIMIT = 2.0
_TIMES = ("embed_user_p50_ms", "retrieve_p50_ms")
_FIGURES = (
    ("step_ms", "step, ms", 1),
    ("examples_per_s", "examples/s", 0),
    ("peak_mb", "peak MB", 0),
    ("embed_user_p50_ms", "user p50, ms", 2),
    ("retrieve_p50_ms", "request p50, ms", 2),
)


def growth(published: Published) -> str:
    """Returns a table per axis as Markdown, or says that nothing was measured."""
    points: Sequence[Mapping[str, Any]]
    points = published.experiments.get(EXPERIMENT, {}).get("points", [])
    if not points:
        return f"Not measured: `{EXPERIMENT}` was not run.\n"
    axes = dict.fromkeys(str(point["axis"]) for point in points)
    return "\n".join(
        f"{_axis(axis, [p for p in points if p['axis'] == axis]).markdown()}\n" for axis in axes
    )


def _axis(axis: str, points: Sequence[Mapping[str, Any]]) -> MarkdownTable:
    lines = [
        (f"{point['value']:,}", str(point["model"]), *(_cell(point, *f) for f in _FIGURES))
        for point in points
    ]
    columns = (axis.replace("_", " "), "model", *(label for _, label, _ in _FIGURES))
    return MarkdownTable(columns, lines)


def _cell(point: Mapping[str, Any], key: str, label: str, digits: int) -> str:
    value = point.get(key)
    return "" if value is None else f"{value:,.{digits}f}"


def _latency(published: Published) -> ClaimVerdict:
    one, many = (_by_length(published, model) for model in (_ONE, _DCM))
    lengths = sorted(one.keys() & many.keys())
    if not lengths:
        raise MissingResultError(f"`{EXPERIMENT}` has no requests of {_ONE} and {_DCM} alike")
    ratios, lines = [], []
    for length in lengths:
        pairs = [(float(one[length][key]), float(many[length][key])) for key in _TIMES]
        ratios.append(pairs[1][1] / pairs[1][0])
        cells = [f"{before:.2f} → {after:.2f}" for before, after in pairs]
        lines.append((f"{length:,}", *cells, f"{ratios[-1]:.2f}"))
    columns = ("history length", "user p50, ms", "request p50, ms", "ratio of requests")
    states: list[Status] = [HOLDS if ratio <= _LATENCY_LIMIT else FAILS for ratio in ratios]
    status = verdicts.unanimous(states)
    figure = f"{min(ratios):.2f} to {max(ratios):.2f} times"
    reason = (
        f"The median request with dcm takes {figure} that of two_tower (embedding, exact search, "
        "merge; batch 1)."
    )
    return ClaimVerdict(status, reason, MarkdownTable(columns, lines), figure)


def _by_length(published: Published, model: str) -> dict[int, Mapping[str, Any]]:
    """Returns the points of a model along the history length that were asked requests."""
    if EXPERIMENT not in published.experiments:
        raise MissingResultError(f"`{EXPERIMENT}` was not run")
    points = published.experiments[EXPERIMENT].get("points", [])
    return {
        int(point["value"]): point
        for point in points
        if (point["model"], point["axis"]) == (model, _AXIS)
        and all(point.get(key) is not None for key in _TIMES)
    }


CLAIMS = (
    Claim(
        "H22",
        "K embeddings fit the latency budget.",
        "`cost`: median milliseconds of single requests with dcm (K = 7) against two_tower, full "
        "histories of each length, one process at a time.",
        f"holds when it is at most {_LATENCY_LIMIT:g} times that of two_tower at every length, "
        "does not hold when it is above at every one",
        "p90 150 → 205 ms (+37 %)",
        _latency,
    ),
)
