"""Which trainings an experiment needs, and what makes two of them the same."""

import pytest

from research.experiment.config import load_experiment
from research.experiment.digests import source_digest
from research.experiment.jobs import Job, plan
from research.experiment.prepare import Prepared
from tests.research.experiment.experiment_yaml import write_experiment

PREPARED = Prepared("/e", "/t", "/g", "content")


def jobs(folder, prepared=PREPARED, run=None, **changes):
    config = load_experiment(write_experiment(folder, run, **changes))
    return list(plan(config, "generated", prepared))


def test_every_model_is_trained_with_every_seed_and_seeds_go_round_last(tmp_path):
    planned = [(job.seed, job.model) for job in jobs(tmp_path)]
    assert planned == [(1, "two_tower"), (1, "dcm"), (2, "two_tower"), (2, "dcm")]


def test_all_trainings_and_runs_have_folders_of_their_own(tmp_path):
    planned = jobs(tmp_path)
    assert len({job.run_dir for job in planned}) == len({job.training_dir for job in planned}) == 4


@pytest.mark.parametrize(
    ("changes", "same_training", "same_run"),
    [
        ({"title": "Other words", "minutes": 3, "name": "other"}, True, True),
        ({"baseline": "dcm"}, True, True),
        ({"models": {"dcm": {"note": "a note"}}}, True, True),
        ({"variants": {"score": {"retrieval": {"topic_filter": False}}}}, True, False),
        ({"models": {"dcm": {"variants": []}}}, True, False),
        ({"datasets": {"generated": {"max_examples": 100}}}, True, False),
        ({"models": {"dcm": {"set": {"retrieval": {"merge": "score"}}}}}, True, False),
        ({"models": {"dcm": {"set": {"model": {"num_interests": 2}}}}}, False, False),
        ({"models": {"dcm": {"set": {"trainer": {"epochs": 1}}}}}, False, False),
        ({"models": {"two_tower": {"set": {"model": {"embedding_dim": 4}}}}}, True, True),
    ],
)
def test_a_run_is_known_by_what_decides_its_result(tmp_path, changes, same_training, same_run):
    before, after = jobs(tmp_path)[1], jobs(tmp_path, **changes)[1]
    assert (before.model, after.model) == ("dcm", "dcm")
    assert (before.training_dir == after.training_dir) is same_training
    assert (before.run_dir == after.run_dir) is same_run


def test_other_data_is_another_training_wherever_it_lies(tmp_path):
    moved = Prepared("/e2", "/t2", "/g2", "content")
    changed = Prepared("/e", "/t", "/g", "other content")
    before = jobs(tmp_path)[0]
    assert jobs(tmp_path, moved)[0].run_dir == before.run_dir
    assert jobs(tmp_path, changed)[0].training_dir != before.training_dir


def test_the_first_seed_has_no_items_of_another_seed(tmp_path):
    first, _, second, _ = jobs(tmp_path)
    assert set(first.variants) == {"default"}
    assert second.variants["foreign"].items_from == first.run_dir
    assert second.variants["default"].items_from is None


def test_what_never_makes_a_target_feeds_no_interest(tmp_path):
    assert jobs(tmp_path)[0].settings.model.negative_actions == ("hide",)


def test_a_job_reads_back_as_it_was_written(tmp_path):
    job = jobs(tmp_path)[2]
    assert Job.from_json(job.canonical_json()) == job
    assert not job.finished


def test_words_and_layout_of_the_code_do_not_make_a_training_stale(tmp_path):
    plain, worded, other = (tmp_path / name / "m.py" for name in "abc")
    for path in (plain, worded, other):
        path.parent.mkdir()
    plain.write_text("def f(x):\n    return x + 1\n")
    worded.write_text('"""Doc."""\n\n# why\ndef f(x):\n    """Doc."""\n    return (x + 1)\n')
    other.write_text("def f(x):\n    return x + 2\n")
    assert source_digest([plain]) == source_digest([worded])
    assert source_digest([plain]) != source_digest([other])
