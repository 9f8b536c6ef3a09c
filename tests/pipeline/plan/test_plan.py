"""Laws and pods of a plan."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from pipeline.config import RunConfig
from pipeline.config.kubeflow import KubeflowConfig
from pipeline.plan.laws import LAWS, SERVING, Size, forecast, size_of, terms
from pipeline.plan.plan import make_plan, read_constants
from tests.pipeline.plan.constants import constants, write_constants

COUNTS = st.integers(1, 10**9)
SIZES = st.builds(Size, rows=COUNTS, items=COUNTS, users=COUNTS, history=st.integers(1, 500))


def brute_mean(rows_per_user, history):
    return sum(min(history, before) for before in range(rows_per_user)) / rows_per_user


@given(rows=st.integers(1, 300), history=st.integers(1, 120), users=st.integers(1, 50))
def test_the_mean_history_is_that_of_users_with_equally_many_rows(rows, history, users):
    size = Size(rows=rows * users, items=1, users=users, history=history)
    assert size.mean_history == pytest.approx(brute_mean(rows, history))


@given(size=SIZES)
def test_every_law_has_a_constant_for_each_of_its_terms_and_names_only_terms(size):
    laws = constants()["steps"]
    values = terms(size)
    assert laws.keys() == LAWS.keys()
    for step, figures in LAWS.items():
        assert laws[step].keys() == figures.keys()
        for figure, names in figures.items():
            assert tuple(laws[step][figure]) == names
            assert set(names) <= values.keys()
            assert forecast(laws, step, figure, size) >= laws[step][figure]["fixed"]


@given(size=SIZES, field=st.sampled_from(["rows", "items"]))
def test_more_data_never_costs_less(size, field):
    larger = dataclasses.replace(size, **{field: 2 * getattr(size, field)})
    if field == "rows":  # the same users with more rows each
        assert larger.mean_history >= size.mean_history
    before, after = (make_plan(s, 4, 10.0, constants()) for s in (size, larger))
    for old, new in zip(before.steps, after.steps, strict=True):
        assert new.cpu_s >= old.cpu_s
        assert new.memory_gb >= old.memory_gb
        assert new.disk_gb >= old.disk_gb


@given(size=SIZES)
def test_the_resources_are_keys_of_the_configuration_and_hold_the_forecast(size):
    plan = make_plan(size, 4, 10.0, constants())
    config = KubeflowConfig.model_validate({"resources": plan.resources()})
    for step in plan.steps:
        found = config.resources.get(step.step, config.resources["default"])
        assert found.memory_request_gb >= step.memory_gb
        assert found.memory_limit_gb >= found.memory_request_gb


def test_steps_of_one_core_take_as_long_with_more_cores_the_others_less():
    size = Size(rows=10**7, items=10**6, users=10**5)
    few, many = (make_plan(size, cores, 10.0, constants()) for cores in (1, 8))
    for one, eight in zip(few.steps, many.steps, strict=True):
        assert one.cpu_s == eight.cpu_s
        assert (eight.wall_s < one.wall_s) == (eight.cores == 8)


def test_pods_for_serving_hold_the_load_and_never_fewer_than_two():
    size = Size(rows=10**6, items=10**5, users=10**4)
    measured = constants()
    assert make_plan(size, 4, 0.0, measured).serving.replicas == 2
    busy = make_plan(size, 4, 20_000.0, measured).serving
    load = 20_000 * forecast(measured["steps"], SERVING, "request_cpu_s", size)
    assert busy.replicas * 4 * 0.6 >= load > (busy.replicas - 1) * 4 * 0.6


def test_the_size_of_a_run_is_that_of_its_configuration():
    config = RunConfig.model_validate(
        {
            "data": {"root": "tables"},
            "transform": {"history_max_items": 30},
            "model": {"num_interests": 7, "explicit_slots": 2, "embedding_dim": 32},
            "retrieval": {"num_results": 200},
            "trainer": {
                "epochs": 3,
                "batch_size": 1024,
                "validation_max_examples": 10,
                "refit": True,
            },
            "evaluator": {"max_examples": 20},
        }
    )
    assert size_of(config, 5, 6, 7) == Size(
        rows=5, items=6, users=7, history=30, interests=7, explicit=2, results=200, dim=32,
        epochs=3, trainings=2, batch=1024, validated=10, evaluated=20,
    )  # fmt: skip


def test_constants_that_are_missing_or_of_another_version_are_refused_with_the_mend(tmp_path):
    path = tmp_path / "constants.json"
    with pytest.raises(ConfigError, match="make bench-scale"):
        read_constants(path)
    assert read_constants(write_constants(path)) == constants()
    found = constants()
    del found["steps"]["Pusher"]
    for text in (json.dumps(found), "[]"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="measure again"):
            read_constants(path)
    path.write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_constants(path)
