import dataclasses

import pytest

from core.errors import TrainingError
from research.tuning.config import Parameter
from research.tuning.study import study_name
from tests.research.tuning.fakes import (
    CURRENT,
    SPACE,
    TUNING,
    FakeTraining,
    Killed,
    memory_of,
    sqlite_in,
    study_in,
)


def run(study, trials, training=None):
    training = training or FakeTraining()
    while len(study.outcomes()) < trials:
        study.run_next("dcm", training)
    return training


def facts(study):
    return [dataclasses.replace(outcome, seconds=0.0) for outcome in study.outcomes()]


def test_the_first_trial_has_the_current_settings(tmp_path):
    study = study_in(tmp_path)
    training = run(study, 1)
    assert training.asked == [("dcm", CURRENT)]
    assert study.outcomes()[0].settings == CURRENT


def test_every_drawn_value_lies_in_the_space(tmp_path):
    study = study_in(tmp_path)
    run(study, 12)
    drawn = [outcome.settings for outcome in study.outcomes()]
    assert all(1e-3 <= one["trainer.learning_rate"] <= 1e-2 for one in drawn)
    assert {one["model.history_dropout"] for one in drawn} <= {0.1, 0.3, 0.5}
    assert len({one["trainer.learning_rate"] for one in drawn}) > 8


def test_a_list_is_drawn_as_a_list(tmp_path):
    space = {**SPACE, "model.hidden_units": Parameter(values=([128], [256, 64]))}
    current = {**CURRENT, "model.hidden_units": [256, 64]}
    study = study_in(tmp_path, space=space, current=current)
    run(study, 6)
    drawn = [outcome.settings["model.hidden_units"] for outcome in study.outcomes()]
    assert drawn[0] == [256, 64] and all(one in ([128], [256, 64]) for one in drawn)


def test_the_value_is_that_of_the_best_epoch(tmp_path):
    study = study_in(tmp_path)

    def training(model, settings):
        yield from (0.1, 0.4, 0.2)

    assert study.run_next("dcm", training).value == 0.4
    assert study.outcomes()[0].epochs == 3


def test_a_finished_study_draws_nothing_more_and_keeps_its_outcomes(tmp_path):
    run(study_in(tmp_path, storage=sqlite_in), 3)
    again = study_in(tmp_path, storage=sqlite_in)
    training = run(again, 3)
    assert training.asked == [] and len(again.outcomes()) == 3


@pytest.mark.parametrize(("kill_in", "storage"), [(1, memory_of), (2, sqlite_in), (5, memory_of)])
def test_a_killed_search_ends_like_one_that_was_not(tmp_path, kill_in, storage):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()
    run(study_in(whole), 6)
    with pytest.raises(Killed):
        run(study_in(broken, storage=storage), 6, FakeTraining(kill_in=kill_in))
    resumed = study_in(broken, storage=storage)
    training = run(resumed, 6)
    assert len(training.asked) == 6 - (kill_in - 1)
    assert facts(resumed) == facts(study_in(whole))


def test_another_seed_draws_other_settings(tmp_path):
    one, two = study_in(tmp_path, "one", seed=1), study_in(tmp_path, "two", seed=2)
    run(one, 4), run(two, 4)
    assert one.outcomes()[0].settings == two.outcomes()[0].settings == CURRENT
    assert one.outcomes()[1].settings != two.outcomes()[1].settings


def test_the_sampler_learns_from_earlier_trials(tmp_path):
    study = study_in(tmp_path)
    run(study, 25)
    late = [outcome.settings["trainer.learning_rate"] for outcome in study.outcomes()[12:]]
    near = [0.004 < rate < 0.009 for rate in late]
    assert sum(near) / len(near) > 0.6  # 0.35 of the range when drawn blindly


def test_a_hopeless_trial_is_pruned_and_its_training_closed(tmp_path):
    study = study_in(tmp_path)
    training = run(study, 12)
    pruned = [outcome for outcome in study.outcomes() if outcome.state == "pruned"]
    assert pruned and all(outcome.epochs < 4 for outcome in pruned)
    done = [outcome.value for outcome in study.outcomes() if outcome.state == "done"]
    assert max(done) > max(outcome.value for outcome in pruned)
    assert training.closed == 12


def test_nothing_is_pruned_where_pruning_is_off(tmp_path):
    study = study_in(tmp_path, tuning=TUNING.model_copy(update={"pruning": False}))
    run(study, 12)
    assert {outcome.epochs for outcome in study.outcomes()} == {4}


def test_a_failed_trial_counts_and_says_why(tmp_path):
    study = study_in(tmp_path)
    run(study, 3, FakeTraining(fail_in=(2,)))
    failed = study_in(tmp_path).outcomes()[1]
    assert (failed.state, failed.value) == ("failed", None)
    assert "loss became nan" in failed.reason


def test_current_settings_that_do_not_train_are_an_error_and_are_tried_again(tmp_path):
    with pytest.raises(TrainingError, match=r"dcm: the current settings do not train: .*nan"):
        run(study_in(tmp_path), 1, FakeTraining(fail_in=(1,)))
    again = study_in(tmp_path)
    assert again.outcomes() == []
    assert run(again, 1).asked == [("dcm", CURRENT)]


def test_another_identity_is_another_study():
    assert study_name("dcm", {"data": 1}) == study_name("dcm", {"data": 1})
    assert study_name("dcm", {"data": 1}) != study_name("dcm", {"data": 2})
    assert study_name("dcm", {"data": 1}) != study_name("mind", {"data": 1})
