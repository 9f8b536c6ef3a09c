"""The processes of a training on several workers: arguments, waiting, errors."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from core.errors import TrainingError
from trainer import worker

CONFIG = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 0}}


def test_the_index_of_a_kubernetes_job_is_the_place_in_the_cluster(monkeypatch):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    assert worker._parser().parse_args(["training.json"]).index == 1
    task = json.loads(worker._as_worker(json.dumps(CONFIG), 1))["task"]
    assert task == {"type": "worker", "index": 1}


def test_a_file_that_does_not_come_is_named(tmp_path, caplog):
    path = tmp_path / "training.json"
    assert worker.main([str(path), "--wait", "0"]) == 1
    assert f"{path} did not come within 0 s" in caplog.text


def test_a_cluster_that_is_no_json_is_wrong_words(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TF_CONFIG", "worker 1")
    said = tmp_path / "said"
    words = [str(tmp_path / "training.json"), "--index", "1", "--error-file", str(said)]
    assert worker.main(words) == 2
    assert "TF_CONFIG is 'worker 1'" in caplog.text and said.read_text() in caplog.text


def test_the_words_of_the_chief_are_the_error_of_the_trainer(tmp_path, monkeypatch):
    fn_args = SimpleNamespace(**dict.fromkeys(worker._FIELDS, ""))
    fn_args.custom_config = {"checkpoint_dir": str(tmp_path / "checkpoints")}

    class Fails(subprocess.Popen):
        def __init__(self, command, **given):
            code = "import sys; open(sys.argv[-1], 'w').write('too little data'); sys.exit(3)"
            super().__init__([sys.executable, "-c", code, *command[3:]], **given)

    monkeypatch.setattr(worker.subprocess, "Popen", Fails)
    with pytest.raises(TrainingError, match="ended with code 3: too little data"):
        worker.run_chief(fn_args)
    written = json.loads((tmp_path / "checkpoints" / worker.JOB_FILE).read_text())
    assert written.keys() == set(worker._FIELDS)
