"""Wrong configuration is refused in one clear message, before TensorFlow loads."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from pipeline.config import RunConfig, load_config

CONF = Path(__file__).resolve().parents[2] / "conf"
MINIMAL = "data: {root: /tables}\n"


@pytest.fixture
def conf(tmp_path):
    def write(text, name="c.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_defaults_are_complete(conf):
    config = load_config(conf(MINIMAL))
    assert config.model.name == "dcm_cr"
    assert config.index.recall_target == 0.95


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_configuration_loads(path):
    load_config(path)


@pytest.mark.fault(1)
def test_unknown_key_names_the_key_and_the_nearest_valid_one(conf):
    expected = r"model.num_interest: unknown key; did you mean 'model.num_interests'"
    with pytest.raises(ConfigError, match=expected):
        load_config(conf(MINIMAL + "model: {num_interest: 3}\n"))


@pytest.mark.fault(2, 3)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {embedding_dim: 0}", "model.embedding_dim"),
        ("model: {embedding_dim: -4}", "model.embedding_dim"),
        ("trainer: {temperature: 0}", "trainer.temperature"),
        ("transform: {history_max_items: 2}\nmodel: {num_interests: 3}", "num_interests"),
        ("model: {num_interests: 50, explicit_slots: 13}", "make 63 slots; 62 at most"),
        ("retrieval: {num_results: 50}", "evaluator.ks asks for k=100"),
        ("index: {shards: 65}", "index.shards"),
        (
            "index: {shards: 2}\nretrieval: {delta: true}",
            "index.shards is 2, but .* retrieval.delta",
        ),
        (
            "index: {shards: 2}\nretrieval: {explore_share: 0.1, filters: [created_at]}",
            "retrieval.explore_share: leave that out",
        ),
        ("evaluator: {thresholds: {}}", "without thresholds"),
        ("evaluator: {thresholds: {recall@10: {}}}", "min or max"),
        ("evaluator: {primary_metric: hits}", "primary_metric names 'hits'"),
        ("evaluator: {ks: [10]}", "'recall@100', which is not measured"),
        ("evaluator: {thresholds: {recall@7: {min: 0.1}}}", "thresholds names 'recall@7'"),
        ("evaluator: {must_beat_floors: [luck]}", "must_beat_floors names 'luck'"),
        ("data: {root: /t, layout: spans}", "run_date"),
        ("trainer: {uniform_negatives: 0}", "in_batch_negatives"),
        ("name: Not Legal", "name"),
        ("[1, 2]", "key: value"),
        ("a: [", "not valid YAML"),
        ("data: {root: '${TESSERA_SURELY_NOT_SET}'}", "TESSERA_SURELY_NOT_SET is not set"),
        ("extends: missing.yaml", "missing.yaml"),
    ],
)
def test_wrong_values_are_refused_with_their_key(conf, text, message):
    text = text if text.startswith(("[", "a:")) or "data:" in text else MINIMAL + text
    with pytest.raises(ConfigError, match=message.replace("{", r"\{")):
        load_config(conf(text))


def test_all_problems_are_told_at_once(conf):
    with pytest.raises(ConfigError, match="3 problem"):
        load_config(conf("model: {x: 1}\ntrainer: {epochs: 0}\n"))


def test_variables_defaults_overrides_and_extends(conf, monkeypatch):
    monkeypatch.setenv("TESSERA_TEST_ROOT", "/from-env")
    conf("data: {root: '${TESSERA_TEST_ROOT}'}\nmodel: {num_interests: 2}\n", "base.yaml")
    top = conf("extends: base.yaml\nmodel: {embedding_dim: 8}\nwork_dir: ${TESSERA_NO:-w}\n")
    config = load_config(
        top, ["trainer.epochs=3", "evaluator.ks=[5, 100]", "data.run_date=2024-02-29"]
    )
    assert config.data.root == "/from-env"
    assert (config.model.num_interests, config.model.embedding_dim) == (2, 8)
    assert (config.trainer.epochs, config.evaluator.ks, config.work_dir) == (3, (5, 100), "w")
    assert config.data.run_date.isoformat() == "2024-02-29"


def test_several_files_are_merged_in_their_order(conf):
    conf(
        "name: base\ndata: {root: /base}\nmodel: {num_interests: 2, embedding_dim: 8}\n",
        "base.yaml",
    )
    conf("extends: base.yaml\nmodel: {num_interests: 3}\nwork_dir: left\n", "left.yaml")
    conf("work_dir: right\nbeam: {args: [--runner=X]}\n", "right.yaml")
    config = load_config(conf("extends: [left.yaml, right.yaml]\nname: top\n"))
    assert (config.name, config.work_dir, config.data.root) == ("top", "right", "/base")
    assert (config.model.num_interests, config.model.embedding_dim) == (3, 8)
    assert config.beam.args == ("--runner=X",)


def test_a_file_that_two_parents_share_is_no_circle(conf):
    conf(MINIMAL, "base.yaml")
    conf("extends: base.yaml\n", "left.yaml")
    conf("extends: base.yaml\n", "right.yaml")
    load_config(conf("extends: [left.yaml, right.yaml]\n"))
    load_config(conf(MINIMAL + "extends: []\n"))


def test_extends_in_a_circle_is_refused(conf):
    conf("extends: b.yaml\n", "a.yaml")
    with pytest.raises(ConfigError, match="circle"):
        load_config(conf("extends: a.yaml\n", "b.yaml"))
    conf("", "fine.yaml")
    with pytest.raises(ConfigError, match="circle"):
        load_config(conf("extends: [fine.yaml, a.yaml]\n", "b.yaml"))


@pytest.mark.parametrize("text", ["no-equals", "=3", "data.root.deeper=3", "model=[1"])
def test_malformed_overrides_are_refused(conf, text):
    with pytest.raises(ConfigError):
        load_config(conf(MINIMAL), [text])


@pytest.mark.fault(2)
def test_refused_before_tensorflow_is_imported(conf):
    path = conf(MINIMAL + "model: {embedding_dim: -1}\n")
    code = (
        "import sys\nfrom cli.main import main\n"
        "try:\n    main(['run', '--conf', sys.argv[1]])\n"
        "except SystemExit as stop:\n    print(stop.code, 'tensorflow' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["2", "False"]
    assert "embedding_dim" in done.stderr


@given(
    st.fixed_dictionaries(
        {"data": st.just({"root": "/t"})},
        optional={
            "trainer": st.fixed_dictionaries(
                {}, optional={"epochs": st.integers(1, 99), "learning_rate": st.floats(1e-6, 1.0)}
            ),
            "retrieval": st.fixed_dictionaries(
                {"merge": st.sampled_from(["score", "round_robin"])},
                optional={"explicit_share": st.floats(0, 1)},
            ),
            "model": st.fixed_dictionaries({}, optional={"hidden_units": st.lists(st.integers(1))}),
        },
    )
)
def test_yaml_round_trip_is_the_same_object(tmp_path_factory, tree):
    config = RunConfig.model_validate(tree)
    path = tmp_path_factory.mktemp("c") / "c.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert load_config(path) == config
    assert RunConfig.from_json(config.canonical_json()) == config


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(["data", "model", "trainer", "evaluator", "zzz"]),
)
def test_any_tree_gives_a_configuration_or_a_config_error(tmp_path_factory, value, key):
    path = tmp_path_factory.mktemp("c") / "c.yaml"
    path.write_text(yaml.safe_dump({"data": {"root": "/t"}, key: value}))
    try:
        load_config(path)
    except ConfigError as error:
        assert str(path) in str(error)


def test_the_word_off_is_not_taken_for_a_boolean(conf):
    assert load_config(conf(MINIMAL + "gate: {drift_policy: off}\n")).gate.drift_policy == "off"
    given = load_config(conf(MINIMAL + "retrieval: {neighbours: off}\n"))
    assert given.retrieval.neighbours == "off"
