"""The examples of docs/contributing work as they stand there."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import yaml

from components.evaluator import learned_floors
from components.examples_io import read_split
from input_tables.importers import Source
from research.experiment.config import load_experiment
from tests.components import test_evaluator_learned_floors as floors
from tests.components.raw_examples import corpus_item, write_split
from tests.input_tables.public_sets import write
from tests.trainer.interests import histories as h
from trainer import features
from trainer.config import ModelConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs/contributing"


def blocks(page, language="python"):
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run(code, **names):
    exec(compile(code, "docs/contributing", "exec"), names)
    return names


def test_the_model(tmp_path):
    model = run(blocks("model")[0], __name__="halves")["Halves"](ModelConfig())
    case = h.histories(1, users=4, length=5)
    case = case._replace(
        valid=np.array([[1, 1, 1, 1, 1], [1, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0] * 5], bool)
    )
    found = h.extract(model, case)
    assert found.history_slot.tolist() == [
        [0, 0, 0, 1, 1], [0, -1, -1, 1, -1], [-1, -1, 0, -1, -1], [-1] * 5
    ]  # fmt: skip
    np.testing.assert_array_equal(found.slot_valid.sum(axis=1), [2, 2, 1, 0])


def test_the_experiment(tmp_path):
    tree = yaml.safe_load(blocks("model", "yaml")[0])
    # Models that are in the code; the page's own is not.
    tree["models"] = {
        "last_k": tree["models"]["last_k"],
        "dcm": {"set": {"model": {"name": "dcm"}}},
    }
    tree["extends"] = str(ROOT / "conf/experiments/shared/generated.yaml")
    (tmp_path / "mine").mkdir()
    (tmp_path / "local.yaml").write_text((ROOT / "conf/local.yaml").read_text())
    path = tmp_path / "mine/halves.yaml"
    path.write_text(yaml.safe_dump(tree))
    assert load_experiment(path).baseline == "last_k"


def test_the_floor():
    floor, test = blocks("floor")
    made = run(floor, **vars(learned_floors))["item_jaccard"]
    names = run(test, **{**vars(floors), "item_jaccard": made})
    names["test_item_jaccard_is_the_share_of_common_users"]()


def test_the_importer(tmp_path):
    module, files, _ = blocks("importer")
    importer = run(module, __name__="lastfm")["IMPORTER"]
    source = write(tmp_path / "s", run(files)["LASTFM"])
    made = importer.read(Source(source))
    assert made.engagements.to_pylist()[0] == {
        "user_id": "2", "item_id": "52", "timestamp": 1238536800, "action": "tag"
    }  # fmt: skip
    assert made.items["topics"].to_pylist() == [["chillout", "downtempo"], []]


def test_the_component(tmp_path):
    names = {"Counter": Counter, "features": features, "read_split": read_split}
    topic_counts = run(f"from __future__ import annotations\n{blocks('component')[0]}", **names)
    rows = [corpus_item("i1", ["a", "b"]), corpus_item("i2", ["b"])]
    write_split(tmp_path, "corpus", rows)
    assert list(topic_counts["topic_counts"](str(tmp_path), 1).items()) == [("b", 2), ("a", 1)]
    for code in blocks("component")[1:3]:
        compile(code, "docs/contributing", "exec")
