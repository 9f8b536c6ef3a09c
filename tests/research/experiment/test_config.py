"""What is wrong in an experiment's YAML is said before anything is imported or trained."""

import subprocess
import sys

import pytest

from core.errors import ConfigError
from research.experiment.config import load_experiment, row_parts, select
from tests.research.experiment.experiment_yaml import write_experiment


def load(folder, run=None, overrides=(), **changes):
    return load_experiment(write_experiment(folder, run, **changes), overrides)


def test_rows_are_models_their_variants_and_unions(tmp_path):
    config = load(tmp_path)
    rows = ("two_tower", "two_tower/foreign", "dcm", "dcm/score")
    assert config.model_rows("generated") == rows
    assert config.unions_of("generated") == ("both",)
    assert [row_parts(row) for row in rows[:2]] == [
        ("two_tower", "default"),
        ("two_tower", "foreign"),
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"baseline": "two_towr"}, r"baseline of generated: .*'two_towr'.*mean 'two_tower'"),
        ({"baseline": "dcm/scor"}, r"mean 'dcm/score'"),
        ({"baseline": ""}, "not given"),
        ({"models": {"dcm": {"variants": ["scoer"]}}}, r"models.dcm.variants.*mean 'score'"),
        ({"models": {"dcm": {"datasets": ["beauty"]}}}, r"models.dcm.datasets.*known: generated"),
        ({"models": {"dcm": {"set": {"modle": {}}}}}, r"models.dcm.set: .*mean 'model'"),
        ({"models": {"dcm": {"set": {"data": {"root": "x"}}}}}, r"unknown name 'data'"),
        ({"models": {"dcm": {"set": {"model": {"name": "dmc"}}}}}, r"models.dcm on generated"),
        ({"models": {"dcm": {"set": {"model": {"num_intrests": 2}}}}}, "mean 'model.num_interest"),
        ({"models": {"dcm": {"set": {"retrieval": {"num_results": 150}}}}}, "same budget"),
        ({"models": {"dcm": {"varients": []}}}, "did you mean 'models.dcm.variants'"),
        ({"models": {"dcm": {"set": {"model": {"num_interests": 51}}}}}, "must not exceed"),
        ({"variants": {"score": {"retrieval": {"mrge": "score"}}}}, r"variants.score.retrieval"),
        ({"variants": {"score": {"retrieval": {"neighbours": "ease"}}}}, "leave the key out"),
        ({"variants": {"score": {"ask": "topics"}}}, "variants.score.ask"),
        ({"datasets": {"generated": {"models": ["dcn"]}}}, "mean 'dcm'"),
        ({"datasets": {"generated": {"conf": "no.yaml"}}}, r"not found: .*no\.yaml"),
        ({"unions": {"both": {"parts": ["dcm", "dc"]}}}, r"unions.both.parts: .*mean 'dcm'"),
        ({"unions": {"both": {"shares": [0.8, 0.3]}}}, "sum to 1, not 1.1"),
        ({"unions": {"both": {"shares": [1.0]}}}, "2 parts but 1 shares"),
        ({"unions": {"both": {"seed_offsets": [0, 1, 2]}}}, "2 parts but 3 seed_offsets"),
        ({"unions": {"dcm": {"parts": ["dcm", "two_tower"]}}}, "names of their own"),
        ({"models": None}, "needs `datasets` and `models`"),
        ({"seeds": [1, 2, 1]}, r"\[1, 2, 1\] has a seed twice"),
        ({"compare": {"dcm": "two_towr"}}, r"compare: .*mean 'two_tower'"),
        ({"compare": {"dcm/scor": "dcm"}}, r"compare: .*mean 'dcm/score'"),
        ({"num_results": 20}, "num_results is 20"),
    ],
)
def test_a_wrong_key_or_name_is_refused_and_the_nearest_one_named(tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, **changes)


def test_no_training_stops_early_unless_the_experiment_says_so(tmp_path):
    config = load(tmp_path)
    assert config.run_config("generated", "dcm", 1).trainer.early_stopping_patience == 2
    patient = {"models": {"dcm": {"set": {"trainer": {"early_stopping_patience": 1}}}}}
    config = load(tmp_path, **patient)
    assert config.run_config("generated", "dcm", 1).trainer.early_stopping_patience == 1
    assert config.run_config("generated", "two_tower", 1).trainer.early_stopping_patience == 2


def test_a_run_takes_file_data_set_model_and_seed_in_this_order(tmp_path):
    config = load(
        tmp_path,
        datasets={"generated": {"set": {"trainer": {"epochs": 3, "batch_size": 32}}}},
        models={"dcm": {"set": {"trainer": {"epochs": 4}}}},
    )
    trainer = config.run_config("generated", "dcm", 7).trainer
    assert (trainer.epochs, trainer.batch_size, trainer.uniform_negatives) == (4, 32, 64)
    assert (trainer.seed, trainer.warm_start) == (7, False)
    assert config.data_config("generated").trainer.epochs == 3


def test_every_row_gets_the_budget_of_the_experiment(tmp_path):
    config = load(tmp_path, num_results=150)
    run = config.run_config("generated", "dcm", 1)
    assert run.retrieval.num_results == 150
    assert config.retrieval(run, "score").num_results == 150
    assert config.retrieval(run, "score").merge == "score"


def test_a_variant_may_not_change_the_budget(tmp_path):
    with pytest.raises(ConfigError, match="same budget"):
        load(tmp_path, variants={"score": {"retrieval": {"num_results": 500}}})


def test_neighbours_of_the_run_configuration_have_no_part(tmp_path):
    path = write_experiment(tmp_path)
    with (path.parent / "run.yaml").open("a") as run:
        run.write("\nretrieval: {neighbours: ease, merge: score}\n")
    config = load_experiment(path)
    run_config = config.run_config("generated", "dcm", 1)
    assert run_config.retrieval.neighbours == "off" and run_config.retrieval.merge == "score"


def test_overrides_and_extends_work_as_in_run_configurations(tmp_path):
    path = write_experiment(tmp_path)
    (tmp_path / "top.yaml").write_text("extends: experiment.yaml\nname: other\n")
    config = load_experiment(tmp_path / "top.yaml", ["num_results=120", "seeds=[5]"])
    assert (config.name, config.num_results, config.seeds) == ("other", 120, (5,))
    assert config.datasets["generated"].conf == str(path.parent / "run.yaml")


def test_a_part_of_an_experiment_keeps_the_baseline(tmp_path):
    config = load(tmp_path)
    part = select(config, seeds=(2,), models=("dcm",))
    assert set(part.models) == {"two_tower", "dcm"}
    assert part.seeds_of("generated") == (2,)
    assert set(select(config, models=("two_tower",)).models) == {"two_tower"}
    assert select(config, models=("two_tower",)).unions_of("generated") == ()
    with pytest.raises(ConfigError, match="--models: unknown name 'dc'; did you mean 'dcm'"):
        select(config, models=("dc",))
    with pytest.raises(ConfigError, match="--datasets"):
        select(config, datasets=("beauty",))


def test_the_parts_of_a_baseline_that_is_a_union_stay(tmp_path):
    config = load(tmp_path, baseline="both")
    assert set(select(config, models=("dcm",)).models) == {"two_tower", "dcm"}


def test_a_union_exists_only_where_all_its_parts_do(tmp_path):
    changes = {
        "datasets": {"other": {"conf": "run.yaml", "models": ["two_tower"]}},
    }
    config = load(tmp_path, **changes)
    assert config.unions_of("other") == () and config.unions_of("generated") == ("both",)
    changes["unions"] = {"both": {"datasets": ["other"]}}
    with pytest.raises(ConfigError, match=r"unions.both.parts on other: unknown name 'dcm'"):
        load(tmp_path, **changes)


def test_a_wrong_configuration_is_refused_without_tensorflow(tmp_path):
    path = write_experiment(tmp_path, baseline="nobody")
    script = (
        "import sys\nfrom cli.main import main\n"
        "try: main(['experiment', '--conf', sys.argv[1]])\n"
        "except SystemExit as ended: print(ended.code, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["2", "False"], done.stderr
    assert "unknown name 'nobody'" in done.stderr


def test_a_seed_that_is_chosen_twice_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="1, 1 has a seed twice"):
        select(load(tmp_path), seeds=(1, 1))
