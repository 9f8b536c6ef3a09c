import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError
from research.paper.results import Interval, MissingResultError, independent, read_published
from tests.research.paper.sample import dataset, experiment, row


def publish(folder, **experiments):
    for name, content in experiments.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return read_published(folder)


@pytest.fixture
def part(tmp_path):
    rows = (
        row("one", 0.20),
        row("two", 0.25, against=("one", 0.03, 0.07)),
        row("three", 0.30, n=400),
        row("four", 0.1, slices={("interest", "tail"): (100, 0.05, ("one", -0.04, 0.02))}),
    )
    content = experiment("e", toy=dataset(*rows, baseline="one"))
    return publish(tmp_path, e=content).sets("e")[0]


def test_a_paired_interval_is_used_where_the_experiment_made_one(part):
    found = part.difference("two", "one", "recall@100")
    assert (found.low, found.high, found.paired) == (0.03, 0.07, True)
    assert found.scale == pytest.approx(0.20)


def test_asked_the_other_way_round_the_interval_is_reversed(part):
    found = part.difference("one", "two", "recall@100")
    assert (found.low, found.high, found.paired) == (-0.07, -0.03, True)
    assert found.difference == pytest.approx(-0.05)
    assert found.scale == pytest.approx(0.25)


def test_without_a_paired_interval_two_shares_are_taken_as_independent(part):
    found = part.difference("three", "two", "recall@100")
    half = 1.96 * (0.3 * 0.7 / 400 + 0.25 * 0.75 / 1000) ** 0.5
    assert not found.paired
    assert found.difference == pytest.approx(0.05)
    assert (found.low, found.high) == pytest.approx((0.05 - half, 0.05 + half))


def test_metrics_that_are_no_shares_have_no_interval_of_their_own(part):
    with pytest.raises(MissingResultError, match="did not compare three with two"):
        part.difference("three", "two", "topic_entropy@50")


def test_a_slice_has_its_own_interval(part):
    found = part.difference("four", "one", "recall@100", ("interest", "tail"))
    assert (found.low, found.high) == (-0.04, 0.02)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda part: part.row("five"), "`e` has no row five on toy"),
        (lambda part: part.stat("one", "mrr"), "no mrr of one on toy"),
        (lambda part: part.stat("four", "recall@100", ("interest", "head")), "for interest head"),
        (lambda part: part.floor("popularity", "mrr"), "no popularity in floors"),
    ],
)
def test_what_is_missing_is_named(part, call, words):
    with pytest.raises(MissingResultError, match=words):
        call(part)


def test_an_experiment_or_rows_that_are_missing_are_named(tmp_path):
    published = publish(tmp_path, e=experiment("e", toy=dataset(row("one"))))
    with pytest.raises(MissingResultError, match="`f` was not run"):
        published.sets("f")
    with pytest.raises(MissingResultError, match="`e` was not run with all of one, two"):
        published.sets("e", "one", "two")


def test_data_sets_without_all_the_rows_are_left_out(tmp_path):
    full = dataset(row("one"), row("two"))
    published = publish(tmp_path, e=experiment("e", toy=full, other=dataset(row("one"))))
    assert [part.name for part in published.sets("e", "one", "two")] == ["toy"]


def test_a_figure_that_no_seed_has_is_missing(tmp_path):
    entry = row("one")
    entry["figures"]["mrr"] = {"mean": None, "std": 0.0, "values": [None, None]}
    part = publish(tmp_path, e=experiment("e", toy=dataset(entry))).sets("e")[0]
    assert part.find("one", "mrr") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "schema is 'list', expected 1"),
        ('{"schema": 2}', "schema is 2, expected 1"),
        ('{"schema": 1, "experiment": "e"}', "lacks datasets, minutes, seconds"),
    ],
)
def test_files_that_are_no_results_are_refused_with_their_path(tmp_path, text, words):
    path = tmp_path / "e.json"
    path.write_text(text)
    with pytest.raises(DataError, match=words) as error:
        read_published(tmp_path)
    assert str(path) in str(error.value)


def test_a_missing_folder_is_refused_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(DataError, match="tessera experiment --publish"):
        read_published(tmp_path / "nowhere")


shares = st.floats(0.0, 1.0)
sizes = st.integers(1, 10_000)


@given(shares, sizes, shares, sizes)
def test_independent_intervals_hold_the_difference_and_mirror(one, size_one, two, size_two):
    found = independent(one, size_one, two, size_two)
    mirrored = independent(two, size_two, one, size_one).reversed()
    assert found.low <= found.difference <= found.high
    assert (mirrored.low, mirrored.high) == pytest.approx((found.low, found.high))


def test_a_difference_of_differences_is_as_wide_as_both_together():
    found = Interval(0.10, 0.07, 0.14, 0.2).minus(Interval(0.04, 0.00, 0.07, 0.4))
    assert found.difference == pytest.approx(0.06)
    assert found.low == pytest.approx(0.06 - (0.03**2 + 0.03**2) ** 0.5)
    assert found.high == pytest.approx(0.06 + (0.04**2 + 0.04**2) ** 0.5)
    assert found.scale == pytest.approx(0.3)
    assert not found.paired
