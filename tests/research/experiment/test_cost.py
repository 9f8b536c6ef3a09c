import contextlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner

from cli.experiment import experiment as command
from core.errors import ConfigError, TesseraError
from research.experiment import cost
from research.experiment.config import load_experiment
from research.experiment.cost_config import CostConfig, CostPoint

TINY = {
    "models": ["two_tower", "dcm"],
    "base": {"history_length": 5, "num_interests": 2, "items": 200, "batch_size": 16},
    "axes": {
        "history_length": [5, 9],
        "num_interests": [1, 4],
        "items": [300],
        "batch_size": [16, 32],
    },
    "seconds_per_point": 0.1,
}


@pytest.fixture
def experiment(tmp_path):
    """Writes and loads an experiment with a `cost` section."""

    def load(section):
        path = tmp_path / "cost.yaml"
        path.write_text(yaml.safe_dump({"name": "cost", "kind": "cost", "cost": section}))
        return load_experiment(path)

    return load


def test_a_cost_experiment_has_no_parts_to_choose(experiment, tmp_path):
    experiment(TINY)
    conf = str(next(tmp_path.rglob("*.yaml")))
    answer = CliRunner().invoke(command, ["--conf", conf, "--models", "dcm"])
    assert isinstance(answer.exception, ConfigError)
    assert "--set cost.requests=50" in str(answer.exception)


@pytest.fixture
def worker(monkeypatch):
    """Replaces the measuring process by one that notes what it was asked."""
    asked = []

    class Child(contextlib.nullcontext):
        def __init__(self, *arguments, **_):
            super().__init__()
            self.asked, self.out = (Path(argument) for argument in arguments[-2:])

        def wait(self):
            asked.append(json.loads(self.asked.read_text()))
            if len(asked) > worker.dies_after:
                return worker.code
            figures = {name: float(len(asked)) for name in cost.FIGURES}
            self.out.write_text(json.dumps({**figures, "seconds": 2.0}))
            return 0

        def last_lines(self, most):
            return ["no more memory"]

    worker = SimpleNamespace(asked=asked, dies_after=10**6, code=1)
    monkeypatch.setattr(cost, "Child", Child)
    return worker


def test_every_row_leaves_the_base_along_its_own_axis_only():
    config = CostConfig.model_validate(TINY)
    base = config.base.model_dump()
    for model, axis, point in config.rows():
        assert {key for key, value in point.model_dump().items() if value != base[key]} <= {axis}
        assert (model, axis) != ("two_tower", "num_interests")
    values = [p.items for m, axis, p in config.rows() if (m, axis) == ("dcm", "items")]
    assert values == [200, 300]


def test_a_model_can_be_left_out_of_an_axis():
    config = CostConfig.model_validate({**TINY, "axes_of": {"dcm": ["num_interests"]}})
    assert {axis for model, axis, _ in config.rows() if model == "dcm"} == {"num_interests"}
    assert {axis for model, axis, _ in config.rows() if model == "two_tower"} == {
        "history_length",
        "items",
        "batch_size",
    }


def test_a_point_that_axes_share_is_measured_once(experiment, worker, tmp_path):
    found = cost.run_cost(experiment(TINY), tmp_path / "out")
    base = CostPoint.model_validate(TINY["base"]).model_dump()
    for model in TINY["models"]:
        assert [job["model"] for job in worker.asked if job["point"] == base].count(model) == 1
    assert len(worker.asked) == 4 + 6
    assert found["seconds"] == 2.0 * len(worker.asked)
    # history 2, items 2, batch 2, and for dcm K of 1, 2 and 4.
    assert len(found["points"]) == 6 + 9
    assert set(found["points"][0]) == {"model", "axis", "value", *cost.FIGURES}


def test_a_killed_experiment_goes_on_where_it_was(experiment, worker, tmp_path):
    worker.dies_after = 3
    with pytest.raises(TesseraError, match=r"two_tower.*no more memory"):
        cost.run_cost(experiment(TINY), tmp_path / "out")
    worker.dies_after = 10**6
    cost.run_cost(experiment(TINY), tmp_path / "out")
    assert len(worker.asked) == 10 + 1  # only the point that failed was asked twice
    cost.run_cost(experiment(TINY), tmp_path / "out")
    assert len(worker.asked) == 10 + 1


def test_other_settings_measure_anew(experiment, worker, tmp_path):
    cost.run_cost(experiment(TINY), tmp_path / "out")
    cost.run_cost(experiment({**TINY, "seconds_per_point": 0.2}), tmp_path / "out")
    assert len(worker.asked) == 20


def test_a_process_killed_for_memory_says_so_and_how_to_go_on(experiment, worker, tmp_path):
    worker.dies_after, worker.code = 0, -9
    with pytest.raises(TesseraError, match=r"want of memory.*cost\.axes\.items"):
        cost.run_cost(experiment(TINY), tmp_path / "out")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"models": ["no_such_model"]}, "no_such_model"),
        ({"base": {"history": 5}}, "base.history"),
        ({"axes": {"items": [0]}}, "axes.items"),
        ({"seconds_per_point": 0}, "seconds_per_point"),
        ({"models": ["dcm"], "axes_of": {"mind": []}}, "mind"),
    ],
)
def test_a_wrong_section_is_refused_by_its_key(experiment, tmp_path, section, message):
    with pytest.raises(ConfigError, match=message):
        cost.run_cost(experiment(section), tmp_path / "out")


def test_the_experiment_of_the_project_has_a_valid_section():
    config = load_experiment("conf/experiments/cost.yaml")
    assert {model for model, _, _ in cost.cost_config(config).rows()} == {
        "two_tower",
        "dcm",
        "dcm_cr",
    }
