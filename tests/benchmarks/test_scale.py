"""The fit of the constants gives back the laws that made the figures, and errors are errors."""

import copy
import dataclasses

import pytest

from benchmarks.scale import (
    CASES,
    SHORT,
    basis,
    comparisons,
    corrected,
    errors,
    fit,
    growth,
    size_of,
)
from pipeline.plan.laws import LAWS, Size, terms

#: A constant per term, the same for every step.
TRUE = {term: 1.0 + place for place, term in enumerate(terms(Size(1, 1, 1)))}


def made_up(name, factor=1.0):
    size = size_of({"case": {**SHORT, **CASES[name]}})
    values = terms(size)
    steps = {
        step: {
            figure: factor * sum(TRUE[term] * values[term] for term in names)
            for figure, names in figures.items()
        }
        for step, figures in LAWS.items()
    }
    return {"case": dataclasses.asdict(size), "import_cpu_s": 10.0, "steps": steps}


@pytest.fixture(scope="module")
def record():
    return {name: made_up(name) for name in CASES}


def test_the_fit_finds_figures_of_other_sizes_again(record):
    constants = fit([run for name, run in record.items() if name.startswith("fit")])
    assert constants["import_cpu_s"] == 10.0
    assert set(constants["steps"]) == set(LAWS)
    index = constants["steps"]["IndexBuilder"]["cpu_s"]
    assert index == pytest.approx({term: TRUE[term] for term in index}, rel=0.01)


def test_a_machine_that_was_slowed_down_for_a_while_gives_the_same_figures(record):
    steady = {name: with_probes(run, 0.2) for name, run in record.items()}
    slowed = copy.deepcopy(steady)
    for figures in slowed["fit-1"]["steps"].values():
        figures["probe_s"] *= 1.5
        for figure in ("cpu_s", "request_cpu_s"):
            if figure in figures:
                figures[figure] *= 1.5
    found, wanted = (corrected(runs)["fit-1"]["steps"] for runs in (slowed, steady))
    for step, figures in wanted.items():
        without = {name: value for name, value in found[step].items() if name != "probe_s"}
        assert without == pytest.approx({name: figures[name] for name in without})


def with_probes(run, seconds):
    steps = {step: {**figures, "probe_s": seconds} for step, figures in run["steps"].items()}
    return {**run, "steps": steps}


def test_no_constant_is_negative_where_a_figure_falls_with_the_size(record):
    runs = [made_up(name) for name in ("fit-1", "fit-3")]
    runs[1]["steps"]["Pusher"]["cpu_s"] = runs[0]["steps"]["Pusher"]["cpu_s"] / 2
    assert min(fit(runs)["steps"]["Pusher"]["cpu_s"].values()) >= 0.0


def test_the_errors_are_those_of_the_held_out_runs_alone(record):
    constants = fit([run for name, run in record.items() if name.startswith("fit")])
    doubled = {**record, "held-2": made_up("held-2", 2.0), "fit-1": made_up("fit-1", 2.0)}
    compared = comparisons(doubled, constants)
    lines = [line for line in errors(compared).splitlines() if "whole run" in line]
    assert [line.split("|")[1].strip() for line in lines] == ["held-1", "held-2", "held-3"]
    assert "-50%" in lines[1]
    told = basis(doubled, compared)
    assert told["worst_error"] == pytest.approx(0.5, abs=0.01)
    assert told["largest_items"] == max(c["items"] for n, c in CASES.items() if "fit" in n)
    assert basis(doubled, [])["worst_error"] is None


def test_the_growth_table_rises_with_the_items(record):
    rows = [line.split("|")[2].strip() for line in growth(record).splitlines()[2:]]
    items = [int(cell.replace(",", "")) for cell in rows]
    assert items == sorted(items)
    assert len(items) == len(CASES)
