import yaml
from rich.console import Console

from pipeline.config import load_config
from research.experiment.config import ExperimentConfig, ModelEntry
from research.tuning.output import result_table, set_options, write_overlays
from research.tuning.search import run_search
from tests.research.tuning.fakes import FakeTraining, study_in


def found(tmp_path):
    studies = {model: study_in(tmp_path, model) for model in ("two_tower", "dcm")}
    return run_search(studies, 12, FakeTraining())


def test_each_overlay_is_a_run_configuration(tmp_path):
    conf = tmp_path / "conf/run.yaml"
    conf.parent.mkdir()
    conf.write_text("data: {root: nowhere}\ntrainer: {epochs: 7}\n")
    result = found(tmp_path)
    files = write_overlays(tmp_path / "tuned/all.yaml", conf, result, "12 trials", ("a.b=1",))
    assert [path.name for path in files] == ["all.yaml", "all.two_tower.yaml", "all.dcm.yaml"]
    best = result.models[1].best.settings
    config = load_config(files[2])
    assert config.model.name == "dcm" and config.trainer.epochs == 7
    assert config.trainer.learning_rate == best["trainer.learning_rate"]
    assert config.model.history_dropout == best["model.history_dropout"]
    assert "--set a.b=1" in files[2].read_text()


def test_an_experiment_can_extend_the_overlay_of_all_models(tmp_path):
    conf = tmp_path / "run.yaml"
    conf.write_text("data: {root: nowhere}\n")
    (out, *_) = write_overlays(tmp_path / "all.yaml", conf, found(tmp_path), "12 trials")
    tree = yaml.safe_load(out.read_text())
    assert set(tree) <= set(ExperimentConfig.model_fields)
    assert tree["search_budget"] == "12 trials"
    entries = {name: ModelEntry.model_validate(entry) for name, entry in tree["models"].items()}
    assert entries["dcm"].set["model"]["name"] == "dcm"


def test_the_options_say_the_same_as_the_overlay(tmp_path):
    conf = tmp_path / "run.yaml"
    conf.write_text("data: {root: nowhere}\n")
    result = found(tmp_path)
    files = write_overlays(tmp_path / "all.yaml", conf, result, "12 trials")
    texts = set_options(result.models[0]).split("--set ")[1:]
    assert load_config(conf, [text.strip() for text in texts]) == load_config(files[1])


def test_the_table_shows_budget_and_gain_of_every_model(tmp_path):
    console = Console(width=110, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    result = found(tmp_path)
    console.print(result_table(result, "validation recall@50"))
    text = console.export_text()
    assert "validation recall@50" in text and "two_tower" in text
    assert f"{result.models[0].gain:+.4f}" in text
