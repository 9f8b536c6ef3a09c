"""The worker is a small script here: what matters is how its process is followed."""

import textwrap

import pytest

from core.errors import TrainingError
from research.tuning.trial_runner import TrialRunner

SCRIPT = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
job = json.loads((folder / "job.json").read_text())
with open(folder.parent / "starts", "a") as starts:
    starts.write("x")
def say(*values):
    for value in values:
        print(json.dumps({"value": value}), flush=True)
def end(*values):
    (folder / "result.json").write_text(json.dumps({"values": values}))
"""


def runner(tmp_path, body):
    script = tmp_path / "worker.py"
    script.write_text(SCRIPT + textwrap.dedent(body))
    root = tmp_path / "trials"
    root.mkdir(exist_ok=True)
    return TrialRunner(
        root, lambda model, settings: {"model": model, "settings": dict(settings)}, (str(script),)
    )


def starts(tmp_path):
    return len((tmp_path / "trials/starts").read_text())


FINE = """
say(0.1)
print("noise of a library", {"label": "training"})
say(0.2, 0.15)
end(0.1, 0.2, 0.15)
"""


def test_every_epoch_is_told_once(tmp_path):
    assert list(runner(tmp_path, FINE)("dcm", {})) == [0.1, 0.2, 0.15]


def test_a_value_is_the_same_while_it_trains_and_from_the_result(tmp_path):
    train = runner(tmp_path, "say(0.31866464018821716)\nend(0.3186646433990895)")
    assert list(train("dcm", {})) == list(train("dcm", {})) == [0.318665]


def test_a_finished_trial_is_answered_from_its_folder(tmp_path):
    train = runner(tmp_path, FINE)
    first = list(train("dcm", {"a": 1}))
    assert list(train("dcm", {"a": 1})) == first and starts(tmp_path) == 1
    assert list(train("dcm", {"a": 2})) == first and starts(tmp_path) == 2


def test_a_pruned_training_is_ended_and_leaves_nothing(tmp_path):
    train = runner(tmp_path, "say(0.1)\ntime.sleep(60)")
    epochs = train("dcm", {})
    assert next(epochs) == 0.1
    epochs.close()
    assert [path.name for path in (tmp_path / "trials").iterdir()] == ["starts"]


def test_a_failed_training_names_its_last_words_and_its_log(tmp_path):
    train = runner(tmp_path, 'say(0.1)\nsys.exit("the loss became nan")')
    with pytest.raises(TrainingError, match=r"code 1: the loss became nan; full log: .*train.log"):
        list(train("dcm", {}))
    assert starts(tmp_path) == 1


def test_a_killed_worker_is_a_failed_training(tmp_path):
    train = runner(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(TrainingError, match="code -9: it said nothing"):
        list(train("dcm", {}))


def test_a_search_that_is_stopped_keeps_the_folder_of_the_trial(tmp_path):
    epochs = runner(tmp_path, "say(0.1)\ntime.sleep(60)")("dcm", {})
    assert next(epochs) == 0.1
    with pytest.raises(KeyboardInterrupt):
        epochs.throw(KeyboardInterrupt)
    assert len([path for path in (tmp_path / "trials").iterdir() if path.is_dir()]) == 1
