"""Whether a retriever may be published: verdicts, each with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from components.config import BEST_PERSONALISED, EvaluatorConfig
from components.evaluator.slices import SliceMetrics


@dataclass(frozen=True)
class Evidence:
    """What the verdicts are made from.

    Attributes:
      metrics: of the candidate.
      floors: metrics by floor.
      slices: the candidate's `slice -> value -> {n, metrics}`.
      n_examples: examples evaluated.
      baseline: metrics of the published bundle, None when there is none.
      baseline_slices: its slices.
      baseline_error: why the bundle could not be evaluated, '' when it could.
    """

    metrics: dict[str, float]
    floors: dict[str, dict[str, float]]
    slices: SliceMetrics
    n_examples: int
    baseline: dict[str, float] | None = None
    baseline_slices: SliceMetrics = field(default_factory=dict)
    baseline_error: str = ""


def verdict(check: str, value: Any, bound: Any, passed: bool, reason: str) -> dict[str, Any]:
    """Returns one verdict; numbers that are not finite become None."""

    def clean(number: Any) -> Any:
        if isinstance(number, float) and not math.isfinite(number):
            return None
        return number

    return {
        "check": check,
        "value": clean(value),
        "bound": clean(bound),
        "passed": bool(passed),
        "reason": reason,
    }


def decide(measured: Evidence, config: EvaluatorConfig) -> dict[str, Any]:
    """Returns `{blessed, verdicts}`; blessed when every verdict passed."""
    verdicts = [
        _examples(measured),
        _finite(measured),
        *_thresholds(measured, config),
        *_floors(measured, config),
        *_baseline(measured, config),
    ]
    return {"blessed": all(v["passed"] for v in verdicts), "verdicts": verdicts}


def _examples(measured: Evidence) -> dict[str, Any]:
    n = measured.n_examples
    reason = f"{n:,} eval examples" if n else "the eval split is empty: nothing was measured"
    return verdict("examples", n, 1, n >= 1, reason)


def _finite(measured: Evidence) -> dict[str, Any]:
    bad = sorted(name for name, value in measured.metrics.items() if not _is_finite(value))
    reason = f"not finite: {', '.join(bad)}" if bad else "every metric is a finite number"
    return verdict("finite", len(bad), 0, not bad, reason)


def _thresholds(measured: Evidence, config: EvaluatorConfig) -> list[dict[str, Any]]:
    verdicts = []
    for name, threshold in config.thresholds.items():
        value = measured.metrics.get(name)
        for side, bound in (("min", threshold.min), ("max", threshold.max)):
            if bound is None:
                continue
            check = f"threshold {name} {side}"
            if value is None:
                known = ", ".join(sorted(measured.metrics))
                reason = f"there is no metric {name!r}; known: {known}"
                verdicts.append(verdict(check, None, bound, False, reason))
                continue
            passed = _is_finite(value) and (value >= bound if side == "min" else value <= bound)
            word = "at least" if side == "min" else "at most"
            reason = f"{name} is {value:.4f}, wanted {word} {bound:g}"
            verdicts.append(verdict(check, value, bound, passed, reason))
    return verdicts


def _floors(measured: Evidence, config: EvaluatorConfig) -> list[dict[str, Any]]:
    name = config.primary_metric
    value = measured.metrics.get(name, math.nan)
    verdicts = []
    for floor in config.must_beat_floors:
        if floor == BEST_PERSONALISED:
            verdicts.append(_best_personalised(measured, name, value))
            continue
        bound = measured.floors.get(floor, {}).get(name, math.nan)
        passed = _is_finite(value) and _is_finite(bound) and value > bound
        if floor not in measured.floors:
            reason = f"there is no floor {floor!r}; known: {', '.join(sorted(measured.floors))}"
        else:
            word = "above" if passed else "not above"
            reason = f"{name} {value:.4f} is {word} the floor {floor} with {bound:.4f}"
        verdicts.append(verdict(f"floor {floor}", value, bound, passed, reason))
    return verdicts


def _best_personalised(measured: Evidence, name: str, value: float) -> dict[str, Any]:
    """The verdict beside the strongest floor that knows the user."""
    personal = {f: m.get(name, math.nan) for f, m in measured.floors.items() if f != "popularity"}
    known = {floor: bound for floor, bound in personal.items() if _is_finite(bound)}
    if not known:
        return verdict(f"floor {BEST_PERSONALISED}", value, None, False, "no floor was measured")
    floor = max(known, key=lambda f: known[f])
    passed = _is_finite(value) and value > known[floor]
    reason = f"{name} {value:.4f} is {'above' if passed else 'not above'} the best floor, "
    reason += f"{floor} with {known[floor]:.4f}"
    if not passed:
        reason += (
            ": train longer, serve that floor instead, or allow it with "
            "--set evaluator.must_beat_floors=[popularity]"
        )
    return verdict(f"floor {BEST_PERSONALISED}", value, known[floor], passed, reason)


def _baseline(measured: Evidence, config: EvaluatorConfig) -> list[dict[str, Any]]:
    if measured.baseline_error:
        reason = (
            f"the published bundle could not be evaluated: {measured.baseline_error}; "
            "repair or remove that version, then run again"
        )
        return [verdict("baseline", None, None, False, reason)]
    if measured.baseline is None:
        return [verdict("baseline", None, None, True, "no published bundle yet: first run")]
    name = config.primary_metric
    value = measured.metrics.get(name, math.nan)
    before = measured.baseline.get(name, math.nan)
    bound = before * (1.0 - config.max_drop_share)
    passed = _is_finite(value) and _is_finite(bound) and value >= bound - 1e-12
    reason = (
        f"{name} {value:.4f} against {before:.4f} of the published bundle, "
        f"allowed to fall by {config.max_drop_share:.0%}"
    )
    return [verdict("baseline", value, bound, passed, reason), *_slice_drops(measured, config)]


def _slice_drops(measured: Evidence, config: EvaluatorConfig) -> list[dict[str, Any]]:
    name = config.primary_metric
    verdicts = []
    for slice_name, values in measured.slices.items():
        for value_name, figures in values.items():
            before = measured.baseline_slices.get(slice_name, {}).get(value_name, {}).get(name)
            value = figures.get(name)
            if before is None or value is None or figures["n"] < config.slice_min_examples:
                continue
            bound = before * (1.0 - config.max_slice_drop_share)
            passed = _is_finite(value) and value >= bound - 1e-12
            reason = (
                f"{name} {value:.4f} against {before:.4f} for {slice_name} {value_name} "
                f"({figures['n']:,} examples), allowed to fall by "
                f"{config.max_slice_drop_share:.0%}"
            )
            check = f"slice {slice_name} {value_name}"
            verdicts.append(verdict(check, value, bound, passed, reason))
    return verdicts


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
