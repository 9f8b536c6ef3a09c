import pytest

from research.tuning.search import budget_in_words, result_json, run_search
from tests.research.tuning.fakes import FakeTraining, Killed, study_in

MODELS = ("two_tower", "dcm", "mind")


def studies(folder):
    return {model: study_in(folder, model) for model in MODELS}


def test_every_model_gets_the_same_trials_in_turns(tmp_path):
    training = FakeTraining()
    result = run_search(studies(tmp_path), 3, training)
    assert [model for model, _ in training.asked] == list(MODELS) * 3
    assert [len(found.outcomes) for found in result.models] == [3, 3, 3]
    assert not result.timed_out


def test_blind_draws_are_the_same_for_every_model(tmp_path):
    result = run_search(studies(tmp_path), 3, FakeTraining())
    first, *others = [[o.settings for o in found.outcomes] for found in result.models]
    assert all(other == first for other in others)


def test_only_missing_trials_run(tmp_path):
    with pytest.raises(Killed):
        run_search(studies(tmp_path), 2, FakeTraining(kill_in=5))
    training = FakeTraining()
    run_search(studies(tmp_path), 2, training)
    assert [model for model, _ in training.asked] == ["dcm", "mind"]
    more = FakeTraining()
    run_search(studies(tmp_path), 3, more)
    assert [model for model, _ in more.asked] == list(MODELS)


def test_no_turn_begins_after_the_timeout_and_budgets_stay_equal(tmp_path):
    now = [0.0]

    def training(model, settings):
        now[0] += 10.0
        yield 0.1

    result = run_search(studies(tmp_path), 9, training, timeout_seconds=35.0, clock=lambda: now[0])
    assert result.timed_out
    assert [len(found.outcomes) for found in result.models] == [2, 2, 2]


def test_a_timed_out_search_compares_the_trials_that_all_models_have(tmp_path):
    with pytest.raises(Killed):
        run_search(studies(tmp_path), 2, FakeTraining(kill_in=5))
    result = run_search(studies(tmp_path), 2, FakeTraining(), timeout_seconds=0.0)
    assert result.timed_out
    assert [len(found.outcomes) for found in result.models] == [1, 1, 1]


def test_the_best_is_a_finished_trial_and_the_gain_counts_from_the_first(tmp_path):
    result = run_search(studies(tmp_path), 12, FakeTraining())
    for found in result.models:
        done = [o.value for o in found.outcomes if o.state == "done"]
        assert found.best.value == max(done)
        assert found.gain == max(done) - found.outcomes[0].value >= 0.0
        assert sum(found.count(state) for state in ("done", "pruned", "failed")) == 12


def test_each_outcome_is_told(tmp_path):
    told = []
    run_search(studies(tmp_path), 2, FakeTraining(), on_outcome=lambda m, o: told.append((m, o)))
    assert [(model, outcome.number) for model, outcome in told] == [
        (model, number) for number in (1, 2) for model in MODELS
    ]


def test_the_result_as_json_and_in_words(tmp_path):
    result = run_search(studies(tmp_path), 2, FakeTraining())
    made = result_json(result, {"seed": 1})
    assert made["seed"] == 1 and list(made["models"]) == list(MODELS)
    entry = made["models"]["dcm"]
    assert entry["trials"] == {"done": 2, "pruned": 0, "failed": 0}
    assert entry["epochs"] == 8 and len(entry["outcomes"]) == 2
    assert entry["best_value"] >= entry["first_value"]
    words = budget_in_words(result, 1, ("trainer.learning_rate",))
    assert words.startswith("2 trials of at most 1 epoch for every model")
