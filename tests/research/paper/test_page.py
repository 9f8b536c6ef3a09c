import copy
from pathlib import Path

import pytest

from research.paper.future import QUESTIONS, answers
from research.paper.page import CLAIMS, EXPERIMENTS, render
from research.paper.results import Published, read_published
from research.paper.tables import TABLES, beside_ours
from tests.research.paper import cases
from tests.research.paper.sample import dataset, experiment, row

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_page_of_this_repository_says_what_its_results_give():
    expected = render(read_published(DOCS.parent / "research" / "results"))
    words = "run: tessera paper"
    assert (DOCS / "paper.md").read_text(encoding="utf-8") == expected, words


def test_a_page_without_results_judges_nothing_and_says_so():
    page = render(Published({}))
    assert "0 *holds*, 0 *does not hold*, 23 *not decidable here*" in page
    assert page.count(" | not run |") == len(EXPERIMENTS)
    assert all(f"### {claim.id}. " in page for claim in CLAIMS)


def test_verdicts_stand_beside_the_figures_they_come_from():
    page = render(Published(cases.several_embeddings(cases.UP)))
    section = page.split("### H1. ")[1].split("### H2. ")[0]
    assert "| toy | 0.2000 ± 0.0000 | 0.2200 ± 0.0000 | +0.0200 [+0.0100, +0.0300] | 1,000 |" in (
        section
    )
    assert "**Holds.**" in section
    assert "1 *holds*" in page
    assert "| +0.0200 | **holds** |" in page.split("## Summary")[1]


def test_the_page_tells_times_budget_machine_and_data():
    page = render(Published(cases.several_embeddings(cases.UP)))
    assert "| H1 | 5 | 5 | toy 2 |" in page
    assert "Search budget: none." in page
    assert "Machine: toy, 2 cores, 8 GiB." in page
    assert "| toy | 800 | 5,000 | 60 | 90,000 | 1,000 | 35 | 80% | seconds |" in page


def test_budgets_that_differ_name_their_experiments():
    one, two = cases.several_embeddings(cases.UP), cases.logq(cases.UP)
    two = copy.deepcopy(two)
    two["paper-negatives"]["search_budget"] = "Eight trials each."
    page = render(Published(one | two))
    assert "Search budget (paper-implicit): none." in page
    assert "Search budget (paper-negatives): eight trials each." in page


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_equal_results_give_an_equal_page(claim):
    content = cases.HOLDING[claim.id]
    assert render(Published(content)) == render(Published(copy.deepcopy(content)))


def test_the_papers_figures_stand_beside_ours():
    content = cases.ablation(0.0, 0.04)
    table = beside_ours(TABLES[2], Published(content))
    assert table.columns == (
        "",
        "paper HR@100",
        "toy recall@100",
        "toy centroid cosine",
    )
    assert table.lines[0] == ("neither, K = 7", ".175", "0.1600 ± 0.0000", "")
    assert table.lines[-1][:3] == ("both, K = 7", ".185", "0.2000 ± 0.0000")


def test_every_model_and_floor_of_a_data_set_is_shown_in_full():
    figures = {"recall@10": 0.1, "user_cosine": 0.5, "dead_slots": 2.0, "examples_per_s": 12_345}
    figures |= {"epochs": 8, "best_epoch": 6.5}
    rows = row("two_tower"), row("dcm", figures=figures)
    floors = {"item_cosine": {"recall@100": 0.15}}
    content = experiment("paper-implicit", toy=dataset(*rows, floors=floors))
    page = render(Published({"paper-implicit": content}))
    assert "| dcm | 0.1000 |  | 0.2000 ± 0.0000 |  |  |  | 0.50 | 2.0 | 12345 | 8 | 6.5 |" in page
    assert "| floor: item cosine |  |  | 0.1500 |" in page


def test_a_table_of_the_paper_without_ours_says_what_was_not_run():
    assert beside_ours(TABLES[0], Published({})) == "Ours: `paper-implicit` was not run."


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.02, "yes"),
        (-0.02, -0.01, "no, it costs"),
        (-0.001, 0.001, "no gain of 2% or more"),
        (-0.05, 0.05, "not decidable here"),
    ],
)
def test_a_signal_pays_where_leaving_it_out_costs(low, high, words):
    left_out = row("no_action_types", against=("dcm", -high, -low))
    content = {"signals": experiment("signals", toy=dataset(row("dcm"), left_out, baseline="dcm"))}
    lines = {line[0]: line for line in answers(Published(content)).lines}
    assert lines["Action types of history items"][-1] == words


def test_cost_has_a_table_for_each_axis():
    figures = {"step_ms": 12.34, "examples_per_s": 1234.5, "peak_mb": None}
    points = [
        {"model": "dcm", "axis": axis, "value": value, **figures}
        for axis, value in (("history_length", 20), ("history_length", 50), ("items", 10_000))
    ]
    page = render(Published({"cost": {**experiment("cost"), "points": points}}))
    cost = page.split("## What it costs")[1].split("## Summary")[0]
    assert cost.count("| step, ms |") == 2
    assert "| 10,000 | dcm | 12.3 | 1,234 |  |  |  |" in cost


def test_cost_that_nobody_measured_is_said_to_be_missing():
    assert "Not measured: `cost` was not run." in render(Published({}))


def test_questions_of_the_future_that_nobody_measured_stay_open():
    lines = answers(Published({})).lines
    assert len(lines) == len(QUESTIONS)
    assert all("was not run" in line[-1] for line in lines)


def test_the_default_model_is_compared_with_the_best_row_that_is_not_its_own():
    figures = {"recall@10": 0.1, "best_epoch": 6.5}
    rows = (
        row("dcm_cr", 0.5, figures=figures),
        row("dcm_cr/round_robin", 0.49, against=("dcm_cr", -0.02, 0.0)),
        row("dcm", 0.42, against=("dcm_cr", -0.09, -0.07)),
        row("dcm+cr_80_20", 0.44, against=("dcm_cr", -0.07, -0.05)),
    )
    content = {**experiment("joint", toy=dataset(*rows, baseline="dcm_cr")), "claims": []}
    page = render(Published({"joint": content}))
    section = page.split("## The default model of this repository")[1].split("\n## ")[0]
    assert "| toy | dcm | – | – | 0.420 ± 0.000 |" in section  # noqa: RUF001
    assert "The best other row of the same merge is dcm+cr_80_20" in section
    assert "+0.0600 [+0.0500, +0.0700].\n" in section
    assert "| the default model |" in page
    assert "## The default model" not in render(Published({}))
