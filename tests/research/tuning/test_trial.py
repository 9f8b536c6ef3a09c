import json
import os
import signal
import subprocess
import sys
import time

import pytest

from trainer.callbacks import TensorBoardLog


def test_epochs_are_read_while_the_training_writes_them(tmp_path):
    from research.tuning.trial import EpochWatcher

    log_dir, out = tmp_path / "log", tmp_path / "epochs.json"
    log_dir.mkdir()
    watcher = EpochWatcher(log_dir, 50, out)
    assert watcher.look() == [] and not out.exists()
    log = TensorBoardLog(str(log_dir))
    log.write(1, {"epoch": 1, "val_recall@50": 0.25, "val_recall@10": 0.9, "loss": 1.0})
    assert watcher.look() == [0.25]
    log.write(2, {"epoch": 2, "val_recall@50": 0.5})
    assert watcher.look() == [0.25, 0.5]
    log.close()
    assert json.loads(out.read_text())["values"] == pytest.approx([0.25, 0.5])


def test_a_resumed_training_adds_to_the_epochs_of_the_one_before(tmp_path):
    from research.tuning.trial import EpochWatcher

    log_dir = tmp_path / "log"
    log_dir.mkdir()
    for epoch, value in ((1, 0.25), (2, 0.5)):
        log = TensorBoardLog(str(log_dir))
        log.write(epoch, {"val_recall@50": value})
        log.close()
        time.sleep(1.1)  # event files are ordered by the second of their start
    assert EpochWatcher(log_dir, 50, tmp_path / "epochs.json").look() == [0.25, 0.5]


ORPHAN = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", '''
import pathlib, sys, time
from research.tuning.trial import EpochWatcher
folder = pathlib.Path(sys.argv[1])
EpochWatcher(folder, 50, folder / "epochs.json").start()
print("ready", flush=True)
time.sleep(120)
''', sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
os._exit(0)
"""


def test_a_training_ends_when_the_search_that_follows_it_is_gone(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ORPHAN, str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    pid = int(done.stdout)
    for _ in range(100):
        time.sleep(0.1)
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the training outlived its search")
