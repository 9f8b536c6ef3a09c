"""The merge curve beside indexes that are built with each setting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.evaluator import merge_curve as curve_module
from components.evaluator import metrics
from components.evaluator.examples import read_eval_examples
from components.evaluator.items import Items
from components.evaluator.merge_curve import merge_curve, settings, topics_covered
from components.evaluator.replay import load_signature, replay
from components.index_builder.layout import ITEMS_FILE, RETRIEVER
from pipeline.report.retrieval import setting
from tests.components import retrieval_world as world
from trainer.config import RetrievalConfig
from trainer.retrieval import signature


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("curve")
    world.write_world(path, n_eval=60)
    world.build(path)
    return path


def curve_of(root, *arguments):
    model = load_signature(root / "index" / RETRIEVER, False).model
    embed = signature.bind(model, signature.EMBED_USER)
    return merge_curve(Path(root / "index"), embed, *arguments)


@pytest.mark.nightly
def test_a_point_is_what_an_index_with_that_setting_serves(root):
    served = RetrievalConfig(num_results=20)
    items = Items.read(root / "index" / ITEMS_FILE)
    examples = read_eval_examples(str(root / "examples"), items, 100, 0)
    curve = curve_of(root, served, examples, items, (5, 20), 32)
    assert [point["served"] for point in curve].count(True) == 1
    assert len(curve) == len(settings(served))
    for merge in ("score", "balanced", "round_robin"):
        built = world.build(root, f"by_{merge}", merge=merge)
        lists = replay(built / RETRIEVER, False, examples, items, 32).lists
        want = metrics.summarise(lists, examples.target, items.topics, (5, 20))
        (point,) = [
            p
            for p in curve
            if p["merge"] == merge and p["balance"] in (None, served.balance) and not p["agreement"]
        ]
        for name in ("recall@5", "recall@20", "topic_entropy@50"):
            assert point[name] == pytest.approx(want[name]), (merge, name)
        assert 0.0 < point["topics_covered"] <= 1.0


def test_agreement_is_drawn_with_the_served_merge_and_the_served_one_once():
    served = RetrievalConfig(agreement=0.1)
    drawn = settings(served)
    assert drawn.count(served) == 1
    assert len({rule.canonical_json() for rule in drawn}) == len(drawn)
    others = {rule.agreement for rule in drawn if rule.balance == served.balance}
    assert others == {0.0, 0.05, 0.1, 0.15, 0.2}
    plain = settings(RetrievalConfig(merge="round_robin"))
    assert plain.count(RetrievalConfig(merge="round_robin")) == 1
    assert {rule.agreement for rule in plain} == {0.0}


def test_an_agreement_is_named():
    point = {"merge": "balanced", "balance": 0.15, "agreement": 0.1}
    assert setting(point) == "balanced 0.15, agreement 0.1"
    assert setting({**point, "agreement": 0.0}) == setting({"merge": "balanced", "balance": 0.15})


def test_round_robin_spreads_more_than_score(root):
    items = Items.read(root / "index" / ITEMS_FILE)
    examples = read_eval_examples(str(root / "examples"), items, 100, 0)
    served = RetrievalConfig(num_results=20)
    curve = curve_of(root, served, examples, items, (20,), 64)
    entropy = [point["topic_entropy@50"] for point in curve]
    assert (curve[0]["merge"], curve[-1]["merge"]) == ("score", "round_robin")
    assert entropy[-1] > entropy[0]


def test_large_catalogues_are_asked_for_fewer_questions(root, monkeypatch):
    monkeypatch.setattr(curve_module, "_QUESTIONS_MIN", 7)
    monkeypatch.setattr(curve_module, "_CELLS_MAX", 10)
    items = Items.read(root / "index" / ITEMS_FILE)
    examples = read_eval_examples(str(root / "examples"), items, 100, 0)
    served = RetrievalConfig(num_results=20, merge="score")
    assert {point["n"] for point in curve_of(root, served, examples, items, (20,), 64)} == {7}


def test_covered_topics_are_those_with_a_result():
    items = Items([b"a", b"b", b"c"], [[b"x"], [b"x", b"y"], []])
    follows = np.array([[b"x", b"y"], [b"y", b"gone"], [b"", b""]], object)
    lists = np.array([[0, 2], [0, -1], [1, 0]])
    followed = items.followed(follows)
    assert followed.toarray().tolist() == [[1, 1], [0, 1], [0, 0]]
    # The first user sees x of x and y, the second none of y, the third follows nothing.
    assert topics_covered(lists, followed, items.topics) == pytest.approx(0.25)
    assert topics_covered(lists[2:], followed[2:], items.topics) is None
