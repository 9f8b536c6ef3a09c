"""Configurations that earlier versions wrote."""

import pytest

from core import config as module
from core.config import BaseConfig, Removed


class Inner(BaseConfig):
    moved: int = 1
    other: int = 2


class Outer(BaseConfig):
    SECTION = "outer"
    REMOVED = {"gone": Removed(5, "a constant")}
    MOVED = {"inner": ("moved", "other")}

    kept: int = 0
    inner: Inner = Inner()


@pytest.fixture(autouse=True)
def nothing_was_said():
    module._warn.cache_clear()


def test_a_key_that_moved_is_read_in_its_place_and_named_once(caplog):
    for _ in range(2):
        assert Outer(moved=7, kept=3) == Outer(kept=3, inner={"moved": 7})
    assert caplog.text.count("outer.moved is now outer.inner.moved: rename it") == 1


def test_the_new_place_wins_over_the_old_one():
    assert Outer.model_validate({"moved": 7, "inner": {"moved": 8, "other": 9}}).inner == Inner(
        moved=8, other=9
    )


def test_a_key_that_went_is_left_out_and_named_where_it_asked_for_something_else(caplog):
    assert Outer(gone=5) == Outer()
    assert not caplog.text
    assert Outer(gone=6) == Outer()
    assert "outer.gone is no longer read (a constant): remove it" in caplog.text


def test_what_a_version_recorded_with_its_defaults_is_read_without_a_word(caplog):
    assert Outer.from_json('{"kept":1,"moved":1,"other":2,"gone":5}') == Outer(kept=1)
    assert not caplog.text


@pytest.mark.parametrize("wrong", [{"unknown": 1}, {"moved": "x"}, [], "text", None])
def test_what_was_never_a_key_or_value_is_refused(wrong):
    with pytest.raises(ValueError):
        Outer.model_validate(wrong)


def test_every_earlier_key_of_a_run_is_read():
    from pipeline.config import RunConfig

    earlier = {
        "data": {"root": "x"},
        "model": {"validity_aware": False, "topic_init_scale": 3.0, "ablation": {}},
        "trainer": {"shuffle_buffer_examples": 7, "learning_rate_final_share": 1.0},
        "index": {"recall_queries": 7},
        "kubeflow": {"cache": True, "schedule": {"max_concurrency": 1}},
    }
    found = RunConfig.model_validate(earlier)
    default = RunConfig.model_validate({"data": {"root": "x"}})
    assert not found.model.ablation.validity_aware
    assert found.model_copy(update={"model": default.model}) == default
