"""The worker is a small script here: what matters is how its process is followed."""

import json
import sys
import textwrap

import pytest

from core.errors import TrainingError
from research.tuning.worker import TrialRunner

SCRIPT = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
job = json.loads((folder / "job.json").read_text())
with open(folder.parent / "starts", "a") as starts:
    starts.write("x")
def put(name, values):
    (folder / "part").write_text(json.dumps({"values": values}))
    os.replace(folder / "part", folder / name)
"""


def runner(tmp_path, body):
    script = tmp_path / "worker.py"
    script.write_text(SCRIPT + textwrap.dedent(body))
    root = tmp_path / "trials"
    root.mkdir(exist_ok=True)
    return TrialRunner(
        root,
        lambda model, settings: {"model": model, "settings": dict(settings)},
        (sys.executable, str(script)),
    )


def starts(tmp_path):
    return len((tmp_path / "trials/starts").read_text())


FINE = """
put("epochs.json", [0.1])
time.sleep(0.5)
put("epochs.json", [0.1, 0.2])
put("result.json", [0.1, 0.2, 0.15])
"""


def test_every_epoch_is_told_once(tmp_path):
    assert list(runner(tmp_path, FINE)("dcm", {})) == [0.1, 0.2, 0.15]


def test_a_value_is_the_same_from_the_event_log_and_from_the_result(tmp_path):
    body = """
    put("epochs.json", [0.31866464018821716])
    time.sleep(1.0)
    put("result.json", [0.3186646433990895])
    """
    train = runner(tmp_path, body)
    assert list(train("dcm", {})) == list(train("dcm", {})) == [0.318665]


def test_a_finished_trial_is_answered_from_its_folder(tmp_path):
    train = runner(tmp_path, FINE)
    first = list(train("dcm", {"a": 1}))
    assert list(train("dcm", {"a": 1})) == first and starts(tmp_path) == 1
    assert list(train("dcm", {"a": 2})) == first and starts(tmp_path) == 2


def test_a_pruned_training_is_ended_and_leaves_nothing(tmp_path):
    train = runner(tmp_path, 'put("epochs.json", [0.1])\ntime.sleep(60)')
    epochs = train("dcm", {})
    assert next(epochs) == 0.1
    epochs.close()
    assert [path.name for path in (tmp_path / "trials").iterdir()] == ["starts"]


def test_a_failed_training_names_its_last_words_and_its_log(tmp_path):
    train = runner(tmp_path, 'put("epochs.json", [0.1])\nsys.exit("the loss became nan")')
    with pytest.raises(TrainingError, match=r"code 1: the loss became nan; full log: .*train.log"):
        list(train("dcm", {}))
    assert starts(tmp_path) == 1


def test_a_killed_worker_is_a_failed_training(tmp_path):
    train = runner(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(TrainingError, match="code -9: it said nothing"):
        list(train("dcm", {}))


def test_what_an_interrupted_worker_said_is_not_told_before_the_new_one_says_it(tmp_path):
    train = runner(tmp_path, 'put("result.json", [0.3])')
    assert list(train("dcm", {})) == [0.3]
    (folder,) = [path for path in (tmp_path / "trials").iterdir() if path.is_dir()]
    (folder / "result.json").unlink()
    (folder / "epochs.json").write_text(json.dumps({"values": [0.9, 0.9]}))
    assert list(train("dcm", {})) == [0.3]
