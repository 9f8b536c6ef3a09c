"""The experiments of this repository: valid, sharing trainings, and enough for every claim."""

import functools
import shutil
from pathlib import Path

import pytest

from research.experiment.config import load_experiment
from research.experiment.cost import cost_config
from research.paper.future import QUESTIONS
from research.paper.page import CLAIMS, EXPERIMENTS
from research.paper.results import Published
from research.paper.tables import TABLES
from research.paper.verdicts import decide
from tests.research.paper.sample import experiment, stat

FOLDER = Path(__file__).resolve().parents[2] / "conf" / "experiments"
FILES = sorted(FOLDER.glob("*.yaml"))
EVERY_FIGURE = (
    *("recall@10", "recall@100", "ndcg@10", "topic_entropy@50", "coverage@100", "distinct_topics"),
    *("topic_relevance", "topics_covered", "overlap_implicit", "overlap_jaccard"),
    *("user_cosine", "centroid_cosine", "slots_valid", "slots_total", "dead_slots", "slot_use"),
    *("cluster_nmi", "cluster_nmi_random", "examples_per_s", "peak_mb"),
    *("retrieve_p50_ms", "retrieve_p99_ms", "user_tower_p50_ms"),
)
SLICES = {
    "interest": ("head", "torso", "tail"),
    "history_tercile": ("short", "middle", "long"),
    "followed_target": ("source", "no_source"),
    "follows": ("followers", "non_followers"),
}


@functools.cache
def loaded():
    return [load_experiment(path) for path in FILES]


def of_models():
    return [config for config in loaded() if config.kind == "models"]


@functools.cache
def published():
    """Results in which every row of every experiment has every figure."""
    found = {config.name: results(config) for config in of_models()}
    return Published(found | {config.name: costs(config) for config in loaded() if config.cost})


def costs(config):
    times = dict.fromkeys(("embed_user_p50_ms", "retrieve_p50_ms"), 1.0)
    points = [
        {"model": model, "axis": axis, "value": getattr(point, axis), **times}
        for model, axis, point in cost_config(config).rows()
    ]
    return {**experiment(config.name), "points": points}


def results(config):
    figures = {name: stat(0.5, 0.6) for name in EVERY_FIGURE}
    interval = {"difference": 0, "low": 0, "high": 1}
    datasets = {}
    for name in config.datasets:
        baseline = config.baseline_of(name)
        versus = {
            metric: {"baseline": baseline, **interval}
            for metric in ("recall@100", "topic_entropy@50")
        }
        rows = [
            {
                "row": row,
                "n": 100,
                "figures": figures,
                "slices": {
                    part: {value: {"n": 10, "figures": figures} for value in values}
                    for part, values in SLICES.items()
                },
                "versus": {} if row == baseline else versus,
                "slice_versus": {
                    part: {value: {} if row == baseline else versus for value in values}
                    for part, values in SLICES.items()
                },
            }
            for row in (*config.model_rows(name), *config.unions_of(name))
        ]
        floors = {"topic_popularity": {"recall@100": 0.1}}
        datasets[name] = {"rows": rows, "baseline": baseline, "floors_source_topic": floors}
    return experiment(config.name, **datasets)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_is_valid_and_says_what_it_is(path):
    config = load_experiment(path)
    assert config.name == path.stem
    assert config.title
    assert config.minutes > 0
    assert config.search_budget


def test_the_example_of_the_guide_is_valid(tmp_path):
    guide = (FOLDER.parents[1] / "docs" / "experiments.md").read_text(encoding="utf-8")
    example = guide.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "experiments").mkdir()
    path = tmp_path / "experiments" / "my-experiment.yaml"
    path.write_text(example)
    shutil.copytree(FOLDER / "shared", path.parent / "shared")
    shutil.copy(FOLDER.parent / "local.yaml", tmp_path)
    config = load_experiment(path)
    assert config.model_rows("generated") == ("two_tower", "dcm", "dcm/round_robin", "dcm_cr")
    assert config.unions_of("generated") == ("dcm+two_tower",)


def test_the_page_knows_every_experiment():
    assert {config.name for config in loaded()} == set(EXPERIMENTS)


def test_every_hypothesis_is_claimed_by_an_experiment():
    claimed = {claim for config in loaded() for claim in config.claims}
    assert claimed == {claim.id for claim in CLAIMS}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_the_experiments_have_every_row_and_figure_of_a_claim(claim):
    found = decide(claim, published())
    assert found.evidence is not None, found.reason


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_the_experiment_that_a_claim_is_measured_by_names_it(claim):
    claiming = [config.name for config in loaded() if claim.id in config.claims]
    assert any(f"`{name}`" in claim.measure for name in claiming)


@pytest.mark.parametrize(
    ("name", "row", "other"),
    [
        ("paper-implicit", "dcm", "two_tower"),
        ("paper-order", "pfs", "dcm"),
        ("paper-ablation", "k7_both", "k7_neither"),
        ("paper-ablation", "k7_both", "k2_both"),
        ("limits-invalid", "aware_10", "unaware_10"),
        ("limits-invalid", "aware_20", "unaware_20"),
        ("paper-association", "dcm_argmax", "dcm_best_slot"),
        ("paper-explicit", "cr_source_logged/source_topic", "cr_item/source_topic"),
        ("paper-union", "dcm+cr_80_20", "dcm"),
        ("paper-union", "dcm+cr_80_20", "cr"),
        ("paper-serving-merge", "dcm/round_robin", "dcm/equal_budgets"),
    ],
)
def test_the_pair_that_decides_has_a_paired_difference(name, row, other):
    config = load_experiment(FOLDER / f"{name}.yaml")
    for dataset in config.datasets:
        assert config.baseline_of(dataset) in (row, other) or config.compare.get(row) == other


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.text)
def test_the_experiments_answer_the_questions_of_the_future(question):
    sets = published().sets(question.experiment, question.row, question.other)
    assert sets[0].difference(question.row, question.other, "recall@100").paired


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title)
def test_every_row_of_the_papers_tables_is_trained(table):
    part = published().sets(table.experiment)[0]
    assert all(part.has(row) for _, _, row in table.lines)


def test_models_of_equal_settings_train_once_whatever_the_experiment():
    """Fails when a file gives a data set settings of its own; `joint` is about others."""
    seen = {}
    for config in of_models():
        for dataset in () if config.name == "joint" else config.datasets:
            seen.setdefault(dataset, set()).add(config.data_config(dataset).model_dump_json())
    assert {dataset: len(values) for dataset, values in seen.items()} == dict.fromkeys(seen, 1)


def test_every_model_of_a_data_set_trains_for_the_same_number_of_steps():
    keys = ("batch_size", "epochs", "steps_per_epoch", "learning_rate", "early_stopping_patience")
    for config in of_models():
        for dataset in config.datasets:
            trainers = [
                config.run_config(dataset, model, 1).trainer.model_dump(include=set(keys))
                for model in config.models_of(dataset)
            ]
            assert all(trainer == trainers[0] for trainer in trainers), config.name
