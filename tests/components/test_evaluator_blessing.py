"""Each reason for and against a blessing (faults 40 to 43 and 45)."""

from __future__ import annotations

import json
import math

import pytest

from components.config import EvaluatorConfig, ThresholdConfig
from components.evaluator.blessing import Evidence, decide

CONFIG = EvaluatorConfig(
    thresholds={"recall@100": ThresholdConfig(min=0.05)},
    max_drop_share=0.05,
    max_slice_drop_share=0.25,
    slice_min_examples=100,
    must_beat_floors=("popularity",),
)


def slices(value: float, n: int = 500) -> dict:
    return {"follows": {"0": {"n": n, "recall@100": value}}}


def measured(value: float = 0.3, floor: float = 0.1, **others) -> Evidence:
    given = {
        "metrics": {"recall@100": value, "coverage": 0.5},
        "floors": {"popularity": {"recall@100": floor}, "item_cosine": {"recall@100": 0.4}},
        "slices": slices(value),
        "n_examples": 1000,
    }
    return Evidence(**{**given, **others})


def failed(decision: dict) -> list[str]:
    return [verdict["check"] for verdict in decision["verdicts"] if not verdict["passed"]]


def reason(decision: dict, check: str) -> str:
    return next(v["reason"] for v in decision["verdicts"] if v["check"] == check)


def test_the_first_run_is_blessed_on_its_thresholds_alone():
    decision = decide(measured(), CONFIG)
    assert decision["blessed"]
    assert "first run" in reason(decision, "baseline")
    keys = {"check", "value", "bound", "passed", "reason"}
    assert all(set(verdict) == keys for verdict in decision["verdicts"])


def test_below_a_threshold_it_is_not_blessed_and_told_why():
    decision = decide(measured(0.04, floor=0.01), CONFIG)
    assert failed(decision) == ["threshold recall@100 min"]
    assert "0.0400, wanted at least 0.05" in reason(decision, "threshold recall@100 min")


def test_above_an_upper_bound_it_is_not_blessed():
    config = CONFIG.model_copy(update={"thresholds": {"coverage": ThresholdConfig(max=0.4)}})
    assert failed(decide(measured(), config)) == ["threshold coverage max"]


def test_a_threshold_on_a_metric_that_is_not_measured_fails_and_names_the_known_ones():
    config = CONFIG.model_copy(update={"thresholds": {"recal@100": ThresholdConfig(min=0.1)}})
    decision = decide(measured(), config)
    assert failed(decision) == ["threshold recal@100 min"]
    assert "known: coverage, recall@100" in reason(decision, "threshold recal@100 min")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_not_a_number_is_never_blessed_and_is_written_as_null(value):
    decision = decide(measured(value), CONFIG)
    assert not decision["blessed"]
    assert "finite" in failed(decision)
    assert "recall@100" in reason(decision, "finite")
    json.dumps(decision, allow_nan=False)


def test_any_metric_that_is_not_a_number_counts_not_only_the_primary_one():
    metrics = {"recall@100": 0.3, "topic_entropy@50": math.nan}
    assert failed(decide(measured(metrics=metrics), CONFIG)) == ["finite"]


def test_no_examples_no_blessing():
    assert "examples" in failed(decide(measured(math.nan, n_examples=0), CONFIG))


def test_a_model_that_popularity_beats_is_not_blessed():
    decision = decide(measured(0.3, floor=0.31), CONFIG)
    assert failed(decision) == ["floor popularity"]
    assert "0.3000 is not above the floor popularity with 0.3100" in reason(
        decision, "floor popularity"
    )
    assert failed(decide(measured(0.3, floor=0.3), CONFIG)) == ["floor popularity"]


def test_every_named_floor_must_be_beaten_and_must_exist():
    config = CONFIG.model_copy(update={"must_beat_floors": ("item_cosine", "itemcosine")})
    decision = decide(measured(), config)
    assert failed(decision) == ["floor item_cosine", "floor itemcosine"]
    assert "known: item_cosine, popularity" in reason(decision, "floor itemcosine")


@pytest.mark.parametrize(
    ("before", "blessed"), [(0.3, True), (0.2, True), (0.3157, True), (0.3159, False), (0.9, False)]
)
def test_it_may_fall_below_the_published_bundle_by_the_allowed_share(before, blessed):
    decision = decide(measured(baseline={"recall@100": before}), CONFIG)
    assert decision["blessed"] is blessed
    assert failed(decision) == ([] if blessed else ["baseline"])


def test_better_overall_with_a_collapsed_slice_is_not_blessed():
    decision = decide(
        measured(slices=slices(0.2), baseline={"recall@100": 0.25}, baseline_slices=slices(0.3)),
        CONFIG,
    )
    assert failed(decision) == ["slice follows 0"]
    assert "follows 0 (500 examples)" in reason(decision, "slice follows 0")


def test_small_slices_and_slices_the_bundle_did_not_have_are_not_judged():
    small = measured(
        slices=slices(0.0, n=99), baseline={"recall@100": 0.2}, baseline_slices=slices(0.3)
    )
    assert decide(small, CONFIG)["blessed"]
    assert decide(measured(baseline={"recall@100": 0.2}, baseline_slices={}), CONFIG)["blessed"]


def test_a_bundle_that_can_not_be_measured_is_told_and_not_taken_for_a_first_run():
    decision = decide(measured(baseline_error="index.json is missing"), CONFIG)
    assert failed(decision) == ["baseline"]
    assert "index.json is missing" in reason(decision, "baseline")


def test_a_bundle_whose_metric_is_not_a_number_is_no_bound_to_pass():
    assert failed(decide(measured(baseline={"recall@100": math.nan}), CONFIG)) == ["baseline"]
