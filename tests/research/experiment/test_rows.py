"""`results.json` from finished runs."""

import json
import math
import shutil

import numpy as np
import pytest

from research.experiment.rows import build_results, stat
from tests.research.experiment.fake_runs import EXAMPLES, ITEMS, fake_config, fake_dataset


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("rows")
    config = fake_config(root)
    runs = fake_dataset(root, config)
    return config, runs, build_results(config, [runs], seconds=12.0)


def rows_of(results):
    return {row["row"]: row for row in results["datasets"]["toy"]["rows"]}


def recall(folder, runs, k, chosen=slice(None)):
    with np.load(folder) as stored:
        lists, asked = stored["lists"], stored["asked"]
    hits = [runs.examples.target[e] in lists[i, :k] for i, e in enumerate(asked)]
    return float(np.mean(np.asarray(hits)[chosen]))


def test_results_are_json_and_hold_every_row_of_the_experiment(world):
    _, _, results = world
    json.dumps(results, allow_nan=False)
    assert list(rows_of(results)) == ["one", "two", "two/source", "both", "seeds"]
    assert results["experiment"] == "fake" and results["claims"] == ["H1", "H17"]


def test_a_figure_is_the_mean_over_seeds_with_each_seeds_value(world):
    _, runs, results = world
    for model in ("one", "two"):
        figure = rows_of(results)[model]["figures"]["recall@10"]
        want = [recall(runs.runs[model, s] / "default.npz", runs, 10) for s in (1, 2)]
        assert figure["values"] == pytest.approx(want)
        assert figure["mean"] == pytest.approx(np.mean(want))
        assert figure["std"] == pytest.approx(abs(want[0] - want[1]) / math.sqrt(2))


def test_slices_hold_the_recall_of_their_own_examples(world):
    _, runs, results = world
    followers = np.flatnonzero(runs.examples.follows > 0)
    found = rows_of(results)["one"]["slices"]["follows"]["followers"]
    assert found["n"] == len(followers)
    want = recall(runs.runs["one", 1] / "default.npz", runs, 50, followers)
    assert found["figures"]["recall@50"]["values"][0] == pytest.approx(want)


def test_the_difference_to_the_baseline_is_the_difference_of_the_means(world):
    _, _, results = world
    rows = rows_of(results)
    assert rows["one"]["versus"] == {}
    for name in ("two", "both", "seeds"):
        versus = rows[name]["versus"]["recall@10"]
        means = [rows[r]["figures"]["recall@10"]["mean"] for r in (name, "one")]
        assert versus["difference"] == pytest.approx(means[0] - means[1])
        assert versus["low"] <= versus["difference"] <= versus["high"]
        assert versus["baseline"] == "one" and versus["users"] == EXAMPLES // 2
        part = rows[name]["slice_versus"]["follows"]["followers"]["recall@10"]
        means = [
            rows[r]["slices"]["follows"]["followers"]["figures"]["recall@10"]["mean"]
            for r in (name, "one")
        ]
        assert part["difference"] == pytest.approx(means[0] - means[1])


def test_a_variant_asked_by_source_is_compared_on_its_own_examples_alone(world):
    _, runs, results = world
    row = rows_of(results)["two/source"]
    with np.load(runs.runs["two", 1] / "source.npz") as stored:
        asked = stored["asked"]
    assert row["n"] == len(asked) < EXAMPLES and row["note"] == "asked by source"
    own = [recall(runs.runs["two", s] / "source.npz", runs, 10) for s in (1, 2)]
    other = [recall(runs.runs["two", s] / "default.npz", runs, 10, asked) for s in (1, 2)]
    versus = row["versus_default"]["recall@10"]
    assert versus["baseline"] == "two"
    assert versus["difference"] == pytest.approx(np.mean(own) - np.mean(other))


def test_the_floors_of_questions_by_source_stand_apart(world):
    _, _, results = world
    dataset = results["datasets"]["toy"]
    assert set(dataset["floors"]) == set(dataset["floors_source_topic"])
    assert (
        dataset["floors"]["topic_popularity"] != dataset["floors_source_topic"]["topic_popularity"]
    )


def test_the_data_set_is_described(world):
    _, runs, results = world
    dataset = results["datasets"]["toy"]
    assert dataset["items"] == ITEMS and dataset["eval_examples"] == EXAMPLES
    assert dataset["train_examples"] == 3 * EXAMPLES
    assert dataset["eval_users"] == EXAMPLES // 2 and dataset["users"] == 3 * EXAMPLES // 2
    assert dataset["history_mean"] == pytest.approx(runs.examples.history_length.mean())
    assert dataset["follows_share"] == pytest.approx((runs.examples.follows > 0).mean())
    assert dataset["baseline"] == "one" and dataset["seeds"] == [1, 2]


def test_slot_and_cost_figures_belong_to_the_models_own_row(world):
    _, _, results = world
    rows = rows_of(results)
    figures = rows["two"]["figures"]
    assert figures["examples_per_s"]["values"] == [901.0, 902.0]
    wanted = {"user_cosine", "centroid_cosine", "cluster_nmi", "cluster_nmi_random", "slots_valid"}
    assert wanted | {"dead_slots", "slot_use", "cluster_balance", "eval_s"} <= set(figures)
    assert "train_s" not in rows["two/source"]["figures"]
    assert "user_cosine" not in rows["both"]["figures"]


def test_floors_are_kept_and_read_again(world, monkeypatch):
    config, runs, results = world
    monkeypatch.setattr(
        "research.experiment.reference.read_training_log", lambda *_: pytest.fail("computed again")
    )
    again = build_results(config, [runs])
    assert again["datasets"] == results["datasets"]


def test_rows_with_other_seeds_are_compared_on_the_seeds_that_both_have(tmp_path):
    config = fake_config(tmp_path, unions={})
    runs = fake_dataset(tmp_path, config)
    shutil.rmtree(runs.runs["two", 1])
    rows = rows_of(build_results(config, [runs]))
    assert rows["two"]["seeds"] == [2] and rows["one"]["seeds"] == [1, 2]
    values = [recall(runs.runs[model, 2] / "default.npz", runs, 10) for model in ("two", "one")]
    found = rows["two"]["versus"]["recall@10"]["difference"]
    assert found == pytest.approx(values[0] - values[1])


def test_rows_that_cannot_be_shown_say_why(tmp_path):
    config = fake_config(tmp_path, seeds=[1])
    runs = fake_dataset(tmp_path, config)
    shutil.rmtree(runs.runs["two", 1])
    found = build_results(config, [runs])["datasets"]["toy"]
    assert [row["row"] for row in found["rows"]] == ["one"]
    assert set(found["missing"]) == {"two", "two/source", "both", "seeds"}
    assert "more seeds" in found["missing"]["seeds"]
    assert found["rows"][0]["figures"]["recall@10"]["std"] == 0.0


def test_a_stat_skips_what_a_seed_does_not_have():
    assert stat([1.0, None, 3.0]) == {
        "mean": 2.0,
        "std": pytest.approx(math.sqrt(2)),
        "values": [1.0, None, 3.0],
    }
    assert stat([None]) == {"mean": None, "std": 0.0, "values": [None]}


def test_a_pair_that_is_named_is_compared_beside_the_baseline(tmp_path):
    config = fake_config(tmp_path, compare={"both": "two"})
    rows = rows_of(build_results(config, [fake_dataset(tmp_path, config)]))
    found = rows["both"]["versus_other"]["recall@50"]
    figures = [rows[name]["figures"]["recall@50"]["mean"] for name in ("both", "two")]
    assert found["baseline"] == "two"
    assert found["difference"] == pytest.approx(figures[0] - figures[1])
    assert found["low"] <= found["difference"] <= found["high"]
    assert "versus_other" not in rows["one"]
