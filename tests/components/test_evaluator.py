"""The evaluator over a fake model: files, served merge, baseline, faults 40 to 45."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.config import FLOORS, EvaluatorConfig, ThresholdConfig
from components.evaluator.evaluate import EvaluatorPaths
from components.evaluator.evaluate import evaluate as evaluate_index
from core.errors import ConfigError
from tests.components import evaluation_oracles as oracles
from tests.components import retrieval_world as world
from tests.components.raw_examples import write_split
from tests.markers import nightly
from tests.trainer.retrieval.fake_model import request
from trainer.retrieval.signature import bind

CONFIG = EvaluatorConfig(
    ks=(5, 20),
    thresholds={"recall@20": ThresholdConfig(min=0.05)},
    primary_metric="recall@20",
    slice_min_examples=50,
    must_beat_floors=("popularity",),
    batch_size=64,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("world")
    world.write_world(path)
    world.build(path, "good")
    return path


@pytest.fixture(scope="module")
def bad(root, tmp_path_factory):
    """An index of a model that knows nothing of these users."""
    path = tmp_path_factory.mktemp("bad")
    world.write_world(path, model_seed=5)
    return world.build(path, "bad")


def evaluate(root, index, out, baseline="", config=CONFIG, examples=None):
    decision = evaluate_index(
        EvaluatorPaths(
            examples=str(examples or root / "examples"),
            index=str(index),
            baseline=str(baseline),
            evaluation=str(out / "evaluation"),
            blessing=str(out / "blessing"),
        ),
        config,
    )
    return decision, json.loads((out / "evaluation" / "evaluation.json").read_text())


def failed(decision):
    return [v["check"] for v in decision["verdicts"] if not v["passed"]]


def test_new_items_are_those_that_a_refit_model_does_not_know_either(root, tmp_path, monkeypatch):
    index, asked = shutil.copytree(root / "good", tmp_path / "index"), []
    said = json.loads((index / "index.json").read_text())
    assert said["refit"] is False

    def spy(*given, **more):
        asked.append(more)
        raise InterruptedError

    monkeypatch.setattr("components.evaluator.evaluate.read_training_log", spy)
    for refit in (False, True):
        (index / "index.json").write_text(json.dumps({**said, "refit": refit}))
        with pytest.raises(InterruptedError):
            evaluate(root, index, tmp_path, config=CONFIG.model_copy(update={"max_examples": 5}))
    assert asked == [{"refit": False}, {"refit": True}]


def test_a_first_run_is_measured_blessed_and_written(root, tmp_path):
    decision, evaluation = evaluate(root, root / "good", tmp_path)
    assert failed(decision) == []
    assert {p.name for p in (tmp_path / "blessing").iterdir()} == {"BLESSED", "blessing.json"}
    assert json.loads((tmp_path / "blessing" / "blessing.json").read_text()) == decision
    assert evaluation["n_examples"] == 400
    assert evaluation["baseline"] is None
    assert set(evaluation["floors"]) == set(FLOORS)
    for figures in evaluation["floors"].values():
        assert set(figures) == set(evaluation["model"])
    usual = {"activity", "history_length", "follows", "target"}
    cold = {"target_events", "target_topics", "followed_topics"}
    assert set(evaluation["slices"]) == usual | cold
    assert evaluation["curve"]["recall"][-1] == evaluation["model"]["recall@20"]
    assert sum(evaluation["slots"]["slot_use"]) == pytest.approx(1.0)
    shares = evaluation["slots"]["implicit_share"] + evaluation["slots"]["explicit_share"]
    assert shares == pytest.approx(1.0)
    assert 0.0 < evaluation["slots"]["overlap"] < 1.0
    assert sum(evaluation["cluster_sizes"]) > 0


def test_metrics_are_those_of_the_served_signature_in_plain_python(root, tmp_path):
    _, evaluation = evaluate(root, root / "good", tmp_path)
    examples = pq.read_table(next((root / "examples" / "Split-eval").iterdir())).to_pylist()
    names = [[i.decode() for i in row["history_item_id"]] for row in examples]
    follows = [[t.decode() for t in row["followed_topic"]] for row in examples]
    served = bind(tf.saved_model.load(str(root / "good" / "retriever")), "retrieve")
    answer = {k: v.numpy() for k, v in served(**request(names, follows)).items()}
    lists = [[i.decode() for i in row if i] for row in answer["item_id"]]
    targets = [row["item_id"][0].decode() for row in examples]
    topics = {i: sorted(set(t)) for i, t in zip(world.IDS, world.ITEM_TOPICS, strict=True)}
    want = oracles.metrics(lists, targets, topics, world.ITEMS, [5, 20])
    want["coverage"] = want["coverage@20"]
    assert evaluation["model"] == pytest.approx(want)
    core = [len(h) for h in names]
    new = [t in found[:20] for t, found, n in zip(targets, lists, core, strict=True) if n == 0]
    assert evaluation["slices"]["activity"]["new"]["recall@20"] == pytest.approx(np.mean(new))
    kinds = Counter(answer["slot_kind"].ravel().tolist())
    share = kinds[1] / (kinds[0] + kinds[1])
    assert evaluation["slots"]["explicit_share"] == pytest.approx(share)


@pytest.mark.nightly
def test_another_merge_gives_other_metrics(root, tmp_path):
    world.build(root, "by_score", merge="score")
    _, robin = evaluate(root, root / "good", tmp_path / "a")
    _, score = evaluate(root, root / "by_score", tmp_path / "b")
    assert robin["model"] != score["model"]
    assert robin["slots"]["explicit_share"] != score["slots"]["explicit_share"]
    assert robin["floors"] == score["floors"]


def test_a_candidate_equal_to_the_published_bundle_is_blessed(root, tmp_path):
    bundle = world.publish(root / "good", tmp_path / "bundle")
    decision, evaluation = evaluate(root, root / "good", tmp_path, bundle)
    assert decision["blessed"]
    assert evaluation["baseline"] == evaluation["model"]
    assert evaluation["baseline_comparison"]["difference"] == 0.0
    assert [v for v in decision["verdicts"] if v["check"].startswith("slice ")]


def test_a_worse_candidate_is_not_blessed_and_a_better_one_is(root, bad, tmp_path):
    lax = CONFIG.model_copy(update={"must_beat_floors": ()})
    good_bundle = world.publish(root / "good", tmp_path / "good_bundle")
    decision, evaluation = evaluate(root, bad, tmp_path / "worse", good_bundle, lax)
    assert "baseline" in failed(decision)
    assert evaluation["baseline_comparison"]["high"] < 0.0
    assert (tmp_path / "worse" / "blessing" / "NOT_BLESSED").exists()
    assert not (tmp_path / "worse" / "blessing" / "BLESSED").exists()
    bad_bundle = world.publish(bad, tmp_path / "bad_bundle")
    lax = CONFIG.model_copy(update={"slice_min_examples": 1000})
    decision, evaluation = evaluate(root, root / "good", tmp_path / "better", bad_bundle, lax)
    assert failed(decision) == []
    assert evaluation["baseline_comparison"]["low"] > 0.0


def damage(bundle, how):
    if how == "missing":
        shutil.rmtree(bundle)
    elif how == "no description":
        (bundle / "index.json").unlink()
    elif how == "truncated model":
        path = bundle / "saved_model.pb"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "no variables":
        shutil.rmtree(bundle / "variables")
    else:

        class Other(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
            def retrieve(self, user):
                return {"items": user}

        shutil.rmtree(bundle / "variables")
        (bundle / "saved_model.pb").unlink()
        other = Other()
        tf.saved_model.save(other, str(bundle), signatures={"retrieve": other.retrieve})


@pytest.mark.parametrize(
    "how",
    ["truncated model", *nightly("other signature", "missing", "no description", "no variables")],
)
def test_a_damaged_bundle_is_told_and_the_candidate_not_blessed(root, tmp_path, how):
    bundle = world.publish(root / "good", tmp_path / "bundle")
    damage(bundle, how)
    decision, evaluation = evaluate(root, root / "good", tmp_path, bundle)
    assert failed(decision) == ["baseline"]
    verdict = next(v for v in decision["verdicts"] if v["check"] == "baseline")
    assert "could not be evaluated" in verdict["reason"]
    assert evaluation["baseline"] is None
    assert evaluation["baseline_error"]


def test_a_model_that_popularity_beats_is_not_blessed(root, tmp_path):
    write_split(tmp_path / "examples", "train", world.make_examples(300, 1, popular=True))
    write_split(tmp_path / "examples", "eval", world.make_examples(200, 3, popular=True))
    decision, evaluation = evaluate(root, root / "good", tmp_path, examples=tmp_path / "examples")
    assert "floor popularity" in failed(decision)
    assert evaluation["floors"]["popularity"]["recall@20"] == 1.0


def test_an_empty_eval_split_is_not_blessed_and_its_figures_are_null(root, tmp_path):
    write_split(tmp_path / "examples", "train", world.make_examples(30, 1))
    write_split(tmp_path / "examples", "eval", [])
    decision, evaluation = evaluate(root, root / "good", tmp_path, examples=tmp_path / "examples")
    assert {"examples", "finite"} <= set(failed(decision))
    assert evaluation["model"]["recall@20"] is None


def test_more_results_asked_than_returned_is_a_configuration_error(root, tmp_path):
    config = CONFIG.model_copy(update={"ks": (5, 21)})
    with pytest.raises(ConfigError, match=r"asks for 21 results.*num_results is 20"):
        evaluate(root, root / "good", tmp_path, config=config)


@pytest.mark.nightly
def test_a_sample_is_smaller_and_the_same_every_time(root, tmp_path):
    config = CONFIG.model_copy(update={"max_examples": 100})
    _, first = evaluate(root, root / "good", tmp_path / "a", config=config)
    _, again = evaluate(root, root / "good", tmp_path / "b", config=config)
    assert first["n_examples"] == 100
    assert first == again


def test_a_scann_index_is_evaluated_through_its_own_retriever(root, tmp_path):
    index = world.build(root, "with_scann", kind="scann")
    shutil.rmtree(index / "retriever")
    decision, scann = evaluate(root, index, tmp_path / "a")
    _, exact = evaluate(root, root / "good", tmp_path / "b")
    assert decision["blessed"]
    assert scann["model"]["recall@20"] == pytest.approx(exact["model"]["recall@20"], abs=0.03)
