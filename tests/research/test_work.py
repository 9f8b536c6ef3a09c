"""What a worker process tells, and when it ends."""

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np

from research.child import Child
from research.work import Pipe


def test_progress_is_lines_of_json_a_few_times_a_second():
    stream = io.StringIO()
    bar = Pipe(stream).start("training", 1000)
    for _ in range(1000):
        bar.advance(1, loss=np.float32(0.5))
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert said[0] == {"label": "training", "done": 0, "total": 1000}
    assert len(said) < 10


def test_nobody_listening_does_not_stop_the_work():
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    Pipe(Closed()).start("training", 1).advance(1)


def test_a_worker_ends_when_its_parent_is_gone():
    script = (
        "import time\nfrom research.work import stop_with_the_parent\n"
        "stop_with_the_parent()\nprint('ready', flush=True)\ntime.sleep(600)"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdout.readline() == b"ready\n"
    worker.stdin.close()
    assert worker.wait(300) == -signal.SIGTERM
    worker.stdout.close()


CHILD = """
import sys
from core.errors import TrainingError
from research.work import work

def task(pipe):
    print("not for the parent")
    pipe.say(value=0.5)
    {end}

work(task)
"""


def child(tmp_path, end):
    """Runs a task; returns its lines, its exit code and the end of its log."""
    script = tmp_path / "child.py"
    script.write_text(CHILD.replace("{end}", end))
    with Child(str(script), log=tmp_path / "log") as process:
        lines = list(process.lines())
        code = process.wait()
    return lines, code, process.last_lines(3)


def test_a_task_that_ends_well_leaves_only_its_lines(tmp_path):
    assert child(tmp_path, "return")[:2] == ([{"value": 0.5}], 0)
    assert "not for the parent" in (tmp_path / "log").read_text()


def test_a_task_that_fails_says_why_in_its_last_line(tmp_path):
    lines, code, last = child(tmp_path, "raise TrainingError('the loss became nan')")
    assert (lines, code, last) == ([{"value": 0.5}], 1, ["tessera: the loss became nan"])
    assert "Traceback" in (tmp_path / "log").read_text()
    assert child(tmp_path, "1 / 0")[1] == 1


ORPHAN = """
import os, pathlib, sys
from research.child import Child
child = Child("-c", sys.argv[1], log=pathlib.Path(sys.argv[2])).__enter__()
next(child.lines())
print(child._process.pid, flush=True)
os._exit(0)
"""
SLEEPER = """
import time
from research.work import work
work(lambda pipe: (pipe.say(a=1), time.sleep(90)))
"""


def test_a_child_ends_when_its_parent_is_killed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ORPHAN), SLEEPER, str(tmp_path / "log")],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    for _ in range(300):
        time.sleep(0.1)
        try:
            os.kill(int(done.stdout), 0)
        except ProcessLookupError:
            return
    os.kill(int(done.stdout), signal.SIGKILL)
    raise AssertionError("the child outlived its parent")
