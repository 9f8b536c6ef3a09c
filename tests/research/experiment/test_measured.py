"""One run's variant, measured from the files that it left."""

import json

import numpy as np
import pytest

from research.experiment.measured import history_topics, measure_run, measure_union, slot_figures
from research.experiment.population import make_population
from research.experiment.reference import Reference
from research.experiment.slices import population_slices
from tests.research.experiment.fake_runs import fake_config, fake_dataset


@pytest.fixture
def world(tmp_path):
    runs = fake_dataset(tmp_path, fake_config(tmp_path), count=50)
    population = make_population(runs.examples, runs.items, np.zeros(50, bool))
    return runs, Reference(population, {}, {}, {}), population_slices(population)


def rewrite(path, **changes):
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez_compressed(path, **(arrays | changes))
    return arrays | changes


def test_history_topics_are_the_newest_items_in_order(world):
    population = world[1].population
    found = history_topics(population, 30, 4)
    for example in range(30):
        begin, end = population.history_start[example : example + 2]
        want = [int(population.primary[i]) for i in population.history[begin:end][:4]]
        assert found[example].tolist() == want + [-1] * (4 - len(want))


@pytest.mark.fault(32)
def test_the_slot_that_scores_a_target_highest_is_its_best(world):
    """Slot 1 of every user is the target's own vector, so slot 0 is dead."""
    runs, reference, slices = world
    folder = runs.runs["one", 1]
    target = np.maximum(reference.population.target[:40], 0)
    vectors = np.eye(40, dtype=np.float32)
    rewrite(folder / "items.npz", embeddings=vectors)
    embeddings = np.zeros((40, 3, 40), np.float16)
    embeddings[:, 1] = vectors[target]
    embeddings[:, 2] = 5 * vectors[target]  # explicit: does not count
    rewrite(folder / "slots.npz", embeddings=embeddings)
    figures = measure_run(folder, "default", reference, slices, False).figures
    assert figures["dead_slots"] == 1.0 and figures["slot_use"] == pytest.approx(0.0)
    assert figures["slots_total"] == 2


def test_without_item_vectors_the_slot_that_found_the_target_is_its_best(world):
    runs, reference, slices = world
    folder = runs.runs["one", 1]
    (folder / "items.npz").unlink()
    target = reference.population.target
    with np.load(folder / "default.npz") as stored:
        lists, slot, kind = stored["lists"], stored["slot"], stored["kind"]
    hit = (lists == target[:, None]) & (kind == 0)
    use = np.bincount(slot[hit], minlength=2) / hit.sum()
    figures = measure_run(folder, "default", reference, slices, False).figures
    assert figures["dead_slots"] == float((use < 0.01).sum())


def test_conditions_count_where_they_are_valid(world):
    runs, reference, slices = world
    folder = runs.runs["one", 1]
    conditions = np.zeros((3, 2, 4), np.float16)
    conditions[:, 0, 0] = conditions[0, 1, 0] = conditions[1, 1, 1] = 1
    valid = np.array([[True, True], [True, True], [True, False]])
    rewrite(folder / "slots.npz", conditions=conditions, condition_valid=valid)
    figures = measure_run(folder, "default", reference, slices, False).figures
    assert figures["centroid_cosine"] == pytest.approx(0.5)


def test_only_implicit_slots_are_compared_with_each_other(world):
    runs, reference, slices = world
    folder = runs.runs["one", 1]
    embeddings = np.zeros((40, 3, 8), np.float16)
    embeddings[:, 0, 0] = embeddings[:, 1, 1] = embeddings[:, 2, 0] = 1
    rewrite(folder / "slots.npz", embeddings=embeddings)
    figures = measure_run(folder, "default", reference, slices, False).figures
    assert figures["user_cosine"] == pytest.approx(0.0) and figures["slots_valid"] == 2.0


def test_a_run_without_slots_is_measured_all_the_same(world):
    runs, reference, slices = world
    folder = runs.runs["one", 1]
    (folder / "slots.npz").unlink()
    figures = measure_run(folder, "default", reference, slices, False).figures
    assert "user_cosine" not in figures and "recall@10" in figures
    assert slot_figures({}, reference.population, np.zeros(0, np.int64)) == ({}, {})


def test_figures_of_the_run_are_taken_over_when_they_are_numbers_not_measured_here(world):
    runs, reference, slices = world
    folder = runs.runs["one", 1]
    run = json.loads((folder / "run.json").read_text())
    run["figures"] |= {"words": "many", "flag": True, "steps": 12, "slots_valid": 77.0}
    (folder / "run.json").write_text(json.dumps(run))
    figures = measure_run(folder, "default", reference, slices, False).figures
    assert figures["steps"] == 12.0 and not {"words", "flag"} & set(figures)
    assert figures["slots_valid"] == 2.0  # measured on the eval examples, not taken over


def test_a_variant_asked_by_source_wants_the_source_topic(world):
    runs, reference, slices = world
    folder = runs.runs["two", 1]
    with np.load(folder / "source.npz") as stored:
        asked, lists = stored["asked"], stored["lists"]
    population = reference.population
    want = []
    for example, row in zip(asked, lists, strict=True):
        (topic,) = population.source[example].indices
        items = row[row >= 0]
        want.append(np.mean([population.topics[i, topic] for i in items]))
    found = measure_run(folder, "source", reference, slices, True)
    assert found.count == len(asked)
    assert found.figures["topic_relevance"] == pytest.approx(np.mean(want))
    assert np.isnan(np.delete(found.values["recall@10"], asked)).all()


def test_a_union_is_asked_what_all_its_parts_were_asked(world):
    runs, reference, slices = world
    folder = runs.runs["two", 1]
    parts = [folder / "default.npz", folder / "source.npz"]
    found = measure_union(parts, (0.5, 0.5), 20, reference, slices, True)
    with np.load(parts[0]) as first, np.load(parts[1]) as second:
        asked = second["asked"]
        a, b = first["lists"][asked], second["lists"]
    assert found.count == len(asked)
    shares = [
        len({*x[x >= 0]} & {*y[y >= 0]}) / len({*x[x >= 0]}) for x, y in zip(a, b, strict=True)
    ]
    assert found.figures["overlap_implicit"] == pytest.approx(np.mean(shares))


def test_a_union_of_a_run_with_itself_is_that_run(world):
    runs, reference, slices = world
    path = runs.runs["one", 1] / "default.npz"
    union = measure_union([path, path], (0.7, 0.3), 20, reference, slices, False)
    alone = measure_run(path.parent, "default", reference, slices, False)
    assert union.figures["overlap_jaccard"] == 1.0
    for name in ("recall@10", "recall@100", "ndcg@10", "topic_entropy@50", "coverage@100"):
        assert union.figures[name] == pytest.approx(alone.figures[name])
    assert union.figures["hits_second"] == 0.0


def test_what_the_training_noted_of_its_slots_is_not_a_figure_of_the_eval_examples(world):
    runs, reference, slices = world
    folder = runs.runs["one", 1]
    run = json.loads((folder / "run.json").read_text())
    run["figures"] |= {"user_cosine": 0.0, "dead_slots": 0.0, "cluster_balance": 0.0}
    (folder / "run.json").write_text(json.dumps(run))
    with np.load(folder / "slots.npz") as stored:
        one_slot = {"slot_kind": np.ones_like(stored["slot_kind"])}
    one_slot["slot_kind"][:, 0] = 0
    rewrite(folder / "slots.npz", **one_slot)
    figures = measure_run(folder, "default", reference, slices, False).figures
    assert not figures.keys() & {"user_cosine", "dead_slots", "cluster_balance"}
    assert figures["train_s"] == 3.5
