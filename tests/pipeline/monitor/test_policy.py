"""Bounds: defaults, files, verdicts."""

from __future__ import annotations

import pytest

from core.errors import ConfigError
from pipeline.monitor.collect import FIGURES
from pipeline.monitor.page import MEANINGS
from pipeline.monitor.policy import DEFAULTS, Bounds, judge, load_policy, worst


def test_every_figure_has_a_meaning_and_every_default_a_figure():
    assert tuple(MEANINGS) == FIGURES
    assert DEFAULTS.keys() <= set(FIGURES)


@pytest.mark.parametrize(
    ("value", "verdict"), [(0, "fail"), (1, "warn"), (2, "ok"), (5, "ok"), (6, "warn"), (9, "fail")]
)
def test_a_bound_itself_is_inside(value, verdict):
    bounds = Bounds(fail_below=1, warn_below=2, warn_above=5, fail_above=8)
    assert bounds.verdict(value) == verdict


def test_the_worst_verdict_counts_and_nothing_measured_passes():
    policy = {"a": Bounds(warn_above=1), "b": Bounds(fail_below=1), "d": Bounds()}
    checks = judge({"a": 2, "b": None, "c": 9, "d": 9}, policy)
    assert [(c.figure, c.verdict, c.bounds) for c in checks] == [
        ("a", "warn", "warn above 1"),
        ("b", "ok", "fail below 1"),
    ]
    assert worst(checks) == "warn"
    assert worst([]) == "ok"


def test_a_file_replaces_bounds_figure_by_figure(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("later.recall: {fail_below: 0.05}\nanswers.empty: {}\n")
    policy = load_policy(path, FIGURES)
    assert policy["later.recall"] == Bounds(fail_below=0.05)
    assert policy["answers.empty"] == Bounds()
    assert policy["requests"] == DEFAULTS["requests"]
    assert load_policy(None, FIGURES) == DEFAULTS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense: {}", "no figure nonsense; there are: requests, "),
        ("- requests", "a policy maps figures to bounds"),
        ("requests: {above: 1}", "requests.*above|above"),
        ("requests: {warn_above: much}", "warn_above"),
        ("requests: [1", "cannot be read as a policy"),
    ],
)
def test_what_is_no_policy_is_refused(tmp_path, text, message):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_policy(path, FIGURES)
