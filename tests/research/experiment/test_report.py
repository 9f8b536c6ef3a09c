"""The Markdown and HTML report of an experiment."""

import copy
import re

import pytest

from research.experiment import glossary
from research.experiment.report import markdown, page, used_columns, write_report
from research.experiment.report_tables import cost_tables, dataset_tables
from research.experiment.rows import build_results
from tests.pipeline.test_report import Page
from tests.research.experiment.fake_runs import fake_config, fake_dataset

POINTS = [
    {"model": model, "axis": axis, "value": value, "step_ms": cost * value, "retrieve_p50_ms": 2.0}
    for model, cost in (("two_tower", 1.0), ("dcm", 3.0))
    for axis in ("history_length", "num_interests")
    for value in (4, 2, 8)
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    config = fake_config(root)
    machine = {"cpu": "A <processor>", "cores": 2, "memory_gib": 7.8}
    runs = fake_dataset(root, config)
    return build_results(config, [runs], seconds=90.0, machine=machine, code_digest="c" * 40)


def table(results, title):
    (found,) = [t for t in dataset_tables(results["datasets"]["toy"]) if t.title == title]
    return found


def line(found, name):
    (only,) = [each for each in found.lines if each.name == name]
    return only


def test_both_files_are_written_and_the_page_needs_nothing_else(results, tmp_path):
    text_path, page_path = write_report(results, tmp_path / "out")
    text = page_path.read_text()
    assert text_path.read_text().startswith("# A fake experiment\n")
    parsed = Page(text)
    assert not parsed.open
    assert len(parsed.ids) == len(set(parsed.ids))
    assert not re.search(r"(?:src|href)=\"(?!#)", text) and "http" not in text
    linked = {value[1:] for name, value in parsed.attributes if name == "href"}
    assert linked <= set(parsed.ids)
    assert parsed.figures == 2
    assert "<processor>" not in text and "A &lt;processor&gt;" in text


def test_the_head_says_what_was_compared_and_at_what_cost(results):
    for text in (markdown(results), Page(page(results)).text):
        for words in ("H1, H17", "nothing was searched", "2 cores", "1.5 min measured", "1 min"):
            assert words in text, words


def test_every_row_stands_in_every_table_that_it_has_figures_for(results):
    names = [row["row"] for row in results["datasets"]["toy"]["rows"]]
    for title in ("Accuracy", "Diversity", "Implicit and explicit", "Activity", "Interest"):
        assert [each.name for each in table(results, title).lines] == names
    assert [each.name for each in table(results, "Divergence and slots").lines] == [
        name for name in names if name not in ("both", "seeds")
    ]
    assert [each.name for each in table(results, "Cost").lines] == ["one", "two"]


def test_a_difference_is_marked_only_when_its_interval_excludes_zero(results):
    changed = copy.deepcopy(results)
    rows = changed["datasets"]["toy"]["rows"]
    for row, low, high in zip(rows[1:4], (0.1, -0.3, -0.1), (0.3, -0.1, 0.3), strict=True):
        row["versus"]["recall@100"] |= {"difference": (low + high) / 2, "low": low, "high": high}
    found = table(changed, "Accuracy")
    column = [heading for heading, _ in found.columns].index("Δ recall@100")
    cells = {each.name: each.cells[column] for each in found.lines}
    assert (cells["two"].text, cells["two"].tone) == ("+0.2000 ▲", "good")
    assert cells["two"].sub == "[+0.1000, +0.3000]"
    assert (cells["two/source"].text, cells["two/source"].tone) == ("-0.2000 ▼", "bad")
    assert (cells["both"].text, cells["both"].tone) == ("+0.1000", "")
    assert cells["one"].text == "–"  # noqa: RUF001


def test_the_best_of_a_column_is_among_rows_that_were_asked_everything(results):
    changed = copy.deepcopy(results)
    for row in changed["datasets"]["toy"]["rows"]:
        mean = {"one": 0.1, "two": 0.2, "two/source": 0.9}.get(row["row"], 0.15)
        row["figures"]["recall@10"]["mean"] = mean
    found = table(changed, "Accuracy")
    assert [each.name for each in found.lines if each.cells[0].best] == ["two"]
    assert re.fullmatch(r"asked by source, asked \d+ of 60 examples", line(found, "two/source").sub)
    assert line(found, "one").marked and line(found, "one").sub == "baseline: the baseline"


def test_slices_say_how_many_examples_they_hold(results):
    found = table(results, "Followers")
    followers = results["datasets"]["toy"]["rows"][0]["slices"]["follows"]["followers"]
    assert ("followers", f"n = {followers['n']}") in found.columns
    cell = line(found, "two").cells[[h for h, _ in found.columns].index("followers")]
    two = results["datasets"]["toy"]["rows"][1]["slices"]["follows"]["followers"]
    assert cell.text == f"{two['figures']['recall@100']['mean']:.4f}"


def test_one_seed_shows_no_spread(tmp_path):
    config = fake_config(tmp_path, seeds=[3])
    found = build_results(config, [fake_dataset(tmp_path, config, count=20)])
    assert all(not cell.sub for cell in table(found, "Accuracy").lines[0].cells)
    assert "±" not in markdown(found).replace("Mean ± standard", "")
    assert "not shown, two parts are the same run" in markdown(found)
    assert "two parts are the same run" in Page(page(found)).text


def test_missing_figures_leave_gaps_and_break_nothing(results):
    changed = copy.deepcopy(results)
    rows = changed["datasets"]["toy"]["rows"]
    rows[1]["figures"], rows[1]["slices"], rows[1]["versus"] = {}, {}, {}
    rows[2]["figures"]["recall@100"] = {"mean": None, "std": 0.0, "values": [None]}
    del rows[3]["slice_versus"]
    changed["datasets"]["toy"]["floors"] = {}
    changed["machine"], changed["seconds"] = {}, None
    assert not Page(page(changed)).open
    assert "two/source" in markdown(changed)
    bare = {"experiment": "bare", "datasets": {"toy": {"rows": []}}}
    assert "no run of this data set is finished" in Page(page(bare)).text
    assert markdown(bare).startswith("# bare\n")
    assert not Page(page({})).open


def test_costs_show_how_many_times_the_smallest_value_they_are(results):
    changed = {**results, "points": POINTS}
    first, second = cost_tables(POINTS)
    assert (first.title, second.title) == ("By history length", "By num interests")
    cells = {(each.name, each.cells[0].text): each.cells[1] for each in first.lines}
    assert cells["dcm", "2"].text == "6.0" and cells["dcm", "2"].sub == ""
    assert cells["dcm", "8"].sub == "× 4.00"  # noqa: RUF001
    text = page(changed)
    assert Page(text).figures == 2 + 4 and "By history length" in Page(text).text
    assert "## By num interests" in markdown(changed)


def test_every_column_is_explained(results):
    explained = {label for label, _ in used_columns({**results, "points": POINTS})}
    known = {figure.label for figure in glossary.FIGURES.values()}
    for found in dataset_tables(results["datasets"]["toy"]):
        headings = {heading.removeprefix("Δ ") for heading, _ in found.columns}
        assert headings & known <= explained
        assert all(note for _, note in found.columns), found.title
