import pytest

from core.errors import ConfigError
from pipeline.config import load_config
from research.tuning.config import (
    TuningConfig,
    checked_space,
    current_settings,
    load_tuning,
    settings_tree,
)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("data: {root: nowhere}\n")
    return load_config(path)


def read(tmp_path, text):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return load_tuning(path)


def test_the_default_space(config):
    tuning = load_tuning(None)
    space = checked_space(config, tuning)
    rate = space["trainer.learning_rate"]
    assert (rate.low, rate.high, rate.log) == (1e-3, 1e-2, True)
    assert space["trainer.temperature"].values == (0.05, 0.07, 0.1, 0.15)
    assert space["model.hidden_units"].values == ([128], [256])
    assert set(current_settings(config, tuning)) == set(space)


def test_the_space_is_widened_by_the_current_settings(config):
    trainer = config.trainer.model_copy(update={"learning_rate": 0.02, "temperature": 0.2})
    model = config.model.model_copy(update={"hidden_units": (32,)})
    wide = checked_space(
        config.model_copy(update={"trainer": trainer, "model": model}), TuningConfig()
    )
    assert wide["trainer.learning_rate"].high == 0.02
    assert wide["trainer.temperature"].values[-1] == 0.2
    assert wide["model.hidden_units"].values == ([128], [256], [32])


def test_values_are_read_like_those_of_a_run_configuration(config, tmp_path):
    tuning = read(tmp_path, "space: {model.input_dropout: {values: [0, 0.15]}}")
    assert checked_space(config, tuning)["model.input_dropout"].values == (0.0, 0.15)
    assert isinstance(checked_space(config, tuning)["model.input_dropout"].values[0], float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("space: {trainer.epochs: {values: [1, 2]}}", "same for every model"),
        ("space: {trainer.batch_size: {values: [1, 2]}}", "same for every model"),
        ("space: {data.root: {values: [a]}}", "not a key of model or trainer"),
        ("space: {trainer.temperature: {low: 2, high: 1}}", "must not exceed"),
        ("space: {trainer.temperature: {low: 0, high: 1, log: true}}", "above 0 with log"),
        ("space: {trainer.temperature: {low: 0.1}}", "give values, or low and high"),
        ("space: {trainer.temperature: {values: [1], low: 1}}", "not both"),
        ("space: {}", "at least 1"),
        ("spaces: {}", "did you mean 'space'"),
    ],
)
def test_a_wrong_space_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("space: {trainer.learning_rat: {values: [1]}}", "trainer.learning_rat: unknown key"),
        ("space: {model.history_dropout: {values: [0.1, 1.5]}}", "less than 1"),
        ("space: {model.num_interests: {low: 1, high: 8}}", "give values instead of a range"),
        ("space: {model.num_interests: {values: [4, 55]}}", "history_max_items"),
    ],
)
def test_a_space_that_does_not_fit_the_run_is_refused(config, tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        checked_space(config, read(tmp_path, text))


def test_settings_become_a_tree():
    flat = {"trainer.temperature": 0.1, "model.normalize": True, "trainer.learning_rate": 1e-3}
    assert settings_tree(flat) == {
        "trainer": {"temperature": 0.1, "learning_rate": 1e-3},
        "model": {"normalize": True},
    }
