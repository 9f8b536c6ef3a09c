"""Forked interpreters behave as fresh ones, and TensorFlow works in them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests import forkserver

CLEAN = """
import json, sys, threading
from tensorflow.python.eager import context
made = context._context is not None and context._context._initialized
own = ("core", "input_tables", "trainer", "components", "serving", "pipeline", "cli", "research",
       "kubeflow_pipelines", "schemas")
print(json.dumps({"tensorflow_ran": made, "threads": threading.active_count(),
                  "imported": sorted(set(own) & {n.split(".")[0] for n in sys.modules})}))
"""
TRAINS = """
import json, sys
import tensorflow as tf, tf_keras
tf_keras.utils.set_random_seed(3)
model = tf_keras.Sequential([tf_keras.layers.Dense(8, "relu"), tf_keras.layers.Dense(1)])
model.compile("adam", "mse")
data = tf.data.Dataset.range(256).map(lambda n: (tf.cast([n % 7, n % 5], tf.float32), n % 3))
model.fit(data.batch(32).prefetch(2), epochs=2, verbose=0)
model.save(sys.argv[1])
loaded = tf.saved_model.load(sys.argv[1])
print(json.dumps(loaded(tf.constant([[1.0, 2.0]]), training=False).numpy().tolist()))
"""


def python(*words, fresh=False, **more):
    program = sys.executable if fresh else forkserver.interpreter()
    more = {"capture_output": True, "text": True, "check": False, "timeout": 300} | more
    return subprocess.run([program, *words], **more)


def test_before_the_fork_nothing_of_ours_is_imported_and_tensorflow_has_not_run():
    done = python("-c", CLEAN)
    assert json.loads(done.stdout) == {"tensorflow_ran": False, "threads": 1, "imported": []}


@pytest.mark.nightly  # a minute: TensorFlow is imported by a fresh process as well
def test_tensorflow_trains_saves_and_loads_after_the_fork_as_in_a_fresh_process(tmp_path):
    forked = python("-c", TRAINS, str(tmp_path / "forked"))
    fresh = python("-c", TRAINS, str(tmp_path / "fresh"), fresh=True)
    assert forked.returncode == fresh.returncode == 0, forked.stderr
    assert json.loads(forked.stdout) == json.loads(fresh.stdout)


def test_words_folder_environment_streams_and_code_are_those_of_a_fresh_process(tmp_path):
    (tmp_path / "told.py").write_text(
        "import os, sys\n"
        "print(__name__, sys.argv, os.getcwd(), os.environ['SAID'], sys.stdin.read())\n"
        "print('to stderr', file=sys.stderr)\n"
        "sys.exit(7)\n"
    )
    for words in (["-m", "told", "a b", "--c"], ["told.py", "--x"]):
        forked, fresh = (
            python(
                *words, fresh=fresh, cwd=tmp_path, input="given", env={**os.environ, "SAID": "é"}
            )
            for fresh in (False, True)
        )
        assert forked.stdout.replace(f"{tmp_path}/", "") == fresh.stdout.replace(f"{tmp_path}/", "")
        assert (forked.returncode, forked.stderr) == (fresh.returncode, fresh.stderr)
        assert forked.returncode == 7 and "given" in forked.stdout


def test_an_exception_ends_with_a_traceback_and_code_1():
    done = python("-c", "raise ValueError('odd')")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ValueError: odd"


def test_two_forks_draw_different_random_numbers():
    code = "import random, numpy; print(random.random(), numpy.random.random())"
    assert set(python("-c", code).stdout.split()).isdisjoint(python("-c", code).stdout.split())


def test_a_signal_reaches_the_process_and_its_death_by_one_is_told():
    code = (
        "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: exit(3))\n"
        # Python handles a signal that comes just before a call after it, so none is long.
        "print('up', flush=True)\nfor _ in range(600): time.sleep(0.1)"
    )
    with subprocess.Popen([forkserver.interpreter(), "-c", code], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 3
    done = python("-c", "import os; os.kill(os.getpid(), 9)")
    assert done.returncode == -signal.SIGKILL


def test_a_signal_before_the_process_is_known_is_passed_on(tmp_path):
    address, program = str(tmp_path / "socket"), tmp_path / "python"
    program.write_text(forkserver._INTERPRETER.format(python=sys.executable, address=address))
    program.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        with (
            subprocess.Popen([program, "-c", "pass"]) as asks,
            subprocess.Popen(["sleep", "60"]) as child,
        ):
            link = listener.accept()[0]
            asks.send_signal(signal.SIGTERM)
            link.sendall(f"{child.pid}\n".encode())
            assert child.wait(60) == -signal.SIGTERM
            asks.send_signal(signal.SIGTERM)  # nobody is left who could take it
            link.sendall(b"7\n")
            assert asks.wait(60) == 7


def has_ended(pid):
    """Whether there is no such process, or only the entry that its parent has not read yet."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until_ended(pid):
    deadline = time.monotonic() + 300
    while not has_ended(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


SLEEPS = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


def test_who_kills_the_interpreter_kills_the_process():
    words = [forkserver.interpreter(), "-c", SLEEPS]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as child:
        pid = int(child.stdout.readline())
        child.kill()
    wait_until_ended(pid)


def test_who_is_killed_before_an_answer_came_leaves_no_process_either():
    """On a busy machine the process speaks before the line that names it is written."""
    call = json.dumps([["-c", SLEEPS], os.getcwd(), dict(os.environ)]).encode()
    out, told = os.pipe()
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(os.path.join(os.path.dirname(forkserver.interpreter()), "socket"))
        socket.send_fds(link, [len(call).to_bytes(8, "big")], [0, told, 2])
        link.sendall(call)
    os.close(told)
    with open(out) as lines:
        said = lines.readline()  # nothing where it was killed before it could speak
    if said:
        wait_until_ended(int(said))
