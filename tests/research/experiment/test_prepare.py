"""Tables and examples are made once and made anew when their settings change."""

import os

import pytest

from core.errors import ConfigError
from input_tables.generate.config import GeneratorConfig
from research.experiment.config import load_experiment
from research.experiment.prepare import find_prepared, fingerprint, make_tables, prepare
from tests.research.experiment.experiment_yaml import write_experiment

SMALL = {"users": 5, "items": 12, "topics": 4, "days": 3, "engagements": 20}


def test_tables_are_generated_once_and_anew_with_other_settings(tmp_path):
    root = tmp_path / "tables"
    make_tables(GeneratorConfig(**SMALL), root)
    made = (root / "items.parquet").stat().st_mtime_ns
    make_tables(GeneratorConfig(**SMALL), root)
    assert (root / "items.parquet").stat().st_mtime_ns == made
    make_tables(GeneratorConfig(**SMALL, seed=2), root)
    assert (root / "items.parquet").stat().st_mtime_ns != made


def test_tables_that_were_not_generated_are_never_replaced(tmp_path):
    (tmp_path / "items.csv").write_text("mine")
    with pytest.raises(ConfigError, match="were not generated"):
        make_tables(GeneratorConfig(**SMALL), tmp_path)
    assert (tmp_path / "items.csv").read_text() == "mine"


def test_the_fingerprint_is_of_the_content_not_of_the_place(tmp_path):
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        folder = tmp_path / name / "Split-train"
        folder.mkdir(parents=True)
        (folder / "x.parquet").write_bytes(content)
    a, b, c = (fingerprint(tmp_path / name) for name in "abc")
    assert a == b != c


class Nodes:
    """Stands for the pipeline: counts its runs, makes empty folders."""

    def __init__(self, folder):
        self.folder, self.runs = folder, 0

    def __call__(self, run, *, verbose):
        self.runs += 1
        places = {
            "RetrievalExampleGen": ("examples",),
            "Transform": ("transformed_examples", "transform_graph"),
        }
        nodes = {}
        for node, keys in places.items():
            outputs = {key: self.folder / f"{key}-{self.runs}" for key in keys}
            for path in outputs.values():
                path.mkdir()
            nodes[node] = type("State", (), {"outputs": outputs})
        return nodes


@pytest.fixture
def world(tmp_path, monkeypatch):
    from pipeline.local import runner as local_runner

    nodes = Nodes(tmp_path)
    monkeypatch.setattr(local_runner, "run_data_local", nodes)

    def config(**changes):
        changes.setdefault("datasets", {"generated": {"generate": SMALL}})
        return load_experiment(write_experiment(tmp_path, **changes))

    return nodes, config


def test_the_pipeline_runs_once_for_equal_data(world):
    nodes, config = world
    first = prepare(config(), "generated")
    assert prepare(config(name="other"), "generated") == first
    assert nodes.runs == 1
    assert find_prepared(config(), "generated") == first


def test_other_features_tables_or_missing_artifacts_run_it_again(world, tmp_path):
    nodes, config = world
    prepare(config(), "generated")
    prepare(config(run={"transform": {"history_max_items": 10}}), "generated")
    assert nodes.runs == 2
    os.utime(tmp_path / "tables" / "items.parquet", ns=(1, 1))
    prepare(config(), "generated")
    assert nodes.runs == 3
    (tmp_path / "transform_graph-3").rmdir()
    prepare(config(), "generated")
    assert nodes.runs == 4


def test_nothing_is_found_before_it_is_made_or_for_other_tables(world):
    nodes, config = world
    assert find_prepared(config(), "generated") is None
    prepare(config(), "generated")
    changed = config(datasets={"generated": {"generate": {**SMALL, "seed": 9}}})
    assert find_prepared(changed, "generated") is None
    assert nodes.runs == 1
