import json

import pytest
from click.testing import CliRunner

from cli.tune import tune
from core.errors import ConfigError, DataError
from input_tables.generate import GeneratorConfig, write_generated


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    sizes = {"users": 20, "items": 60, "topics": 8, "days": 3, "engagements": 200}
    write_generated(GeneratorConfig(**sizes), folder / "tables")
    path = folder / "run.yaml"
    path.write_text(f"work_dir: {folder}/out\ndata: {{root: {folder}/tables}}\n")
    return path


def call(conf, *arguments, models="two_tower,dcm"):
    words = ["--conf", conf, "--models", models, "--trials", 3, "--out", conf.parent / "o.yaml"]
    return CliRunner().invoke(tune, [str(word) for word in (*words, *arguments)])


def test_a_dry_run_shows_the_space_and_makes_nothing(conf):
    before = sorted(conf.parent.rglob("*"))
    result = call(conf, "--dry-run", "--epochs", 2)
    assert result.exit_code == 0, result.output
    assert "two_tower, dcm: 3 trials of 2 epochs each" in result.output
    assert "0.001 to 0.01, logarithmic" in result.output
    assert sorted(conf.parent.rglob("*")) == before
    shown = json.loads(call(conf, "--dry-run", "--json").output)
    assert shown["space"]["model.history_dropout"]["values"] == [0.1, 0.3, 0.5]


@pytest.mark.parametrize(
    ("models", "message"),
    [("dcm,dcm", "different names"), (" , ", "different names"), ("dmc", "--models dmc")],
)
def test_wrong_models_are_refused(conf, models, message):
    result = call(conf, models=models)
    assert isinstance(result.exception, ConfigError) and result.exception.exit_code == 2
    assert message in str(result.exception)


def test_missing_tables_are_named_before_anything_runs(conf):
    result = call(conf, "--dry-run", "--set", "data.root=/nowhere")
    assert isinstance(result.exception, DataError) and "/nowhere" in str(result.exception)


def test_numbers_out_of_range_are_refused(conf):
    assert call(conf, "--timeout", 0).exit_code == 2
    assert call(conf, "--epochs", 0).exit_code == 2
