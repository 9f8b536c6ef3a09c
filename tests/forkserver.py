"""Python processes for tests that have TFX, TensorFlow and Beam imported when they start.

TFX takes ten seconds and more to import. One server per test run imports it, once, when the
first process is asked for; each process that starts with `interpreter()` instead of
`sys.executable` is forked from there, and so are the workers of pytest-xdist (tests/conftest.py).
That interpreter is a small program: it hands its words, directory, environment and streams to the
server, passes signals on and ends as the forked process ends; when it is killed, so is the forked
process.

Nothing of this project is imported before the fork, and no TensorFlow operation has run
(tests/test_forkserver.py), so the code runs as it does in a process of its own.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
VARIABLE = "TESSERA_TEST_PYTHON"
#: What starts Python anew; in a forked process `sys.executable` forks another one.
PYTHON = os.path.join(sys.prefix, "bin", "python")
#: What takes long to import and only defines names when it is.
PRELOADED = (
    "pyarrow.parquet", "scipy.sparse", "tensorflow", "tf_keras", "apache_beam", "tfx.v1",
    "tensorflow_transform.beam", "tensorflow_data_validation", "tfx.components.transform.executor",
    "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
)  # fmt: skip
_INTERPRETER = """#!{python} -IS
import array, json, os, select, signal, socket, sys
words = sys.argv[1:]
if words[:1] == ["-u"]:
    del words[0]
if not words or words[0] not in ("-m", "-c") and words[0].startswith("-"):
    os.execv({python!r}, [{python!r}, *words])
child, early = None, []
def passed_on(number, frame):
    try:
        early.append(number) if child is None else os.kill(child, number)
    except ProcessLookupError:
        pass  # it has ended; how is told below
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, passed_on)
link = socket.socket(socket.AF_UNIX)
link.connect({address!r})
def answer():
    line = b""
    while not line.endswith(b"\\n"):
        # Python handles a signal between two calls: one that comes just before a call that waits
        # is handled after it.
        while not select.select([link], [], [], 0.2)[0]:
            pass
        more = link.recv(1)
        if not more:
            break
        line += more
    return int(line)
call = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
streams = array.array("i", [0, 1, 2])
link.sendmsg([len(call).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
link.sendall(call)
child = answer()
for number in early:
    passed_on(number, None)
code = answer()
if code < 0:
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def interpreter() -> str:
    """Returns the path of a `python` whose processes are forked from the server."""
    return os.environ[VARIABLE]


def start() -> Callable[[], None]:
    """Starts the server, which imports nothing before it is asked, and returns what ends it."""
    folder = tempfile.TemporaryDirectory(prefix="forks-")
    address, program = os.path.join(folder.name, "socket"), os.path.join(folder.name, "python")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    Path(program).write_text(_INTERPRETER.format(python=sys.executable, address=address))
    os.chmod(program, 0o755)
    for name in ("python3", "python3.10"):
        os.symlink(program, os.path.join(folder.name, name))
    alive, held = os.pipe()  # the server ends when this process does, however that ends
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.forkserver", str(listener.fileno()), str(alive), program],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(listener.fileno(), alive),
        start_new_session=True,
    )
    os.close(alive)
    listener.close()
    os.environ[VARIABLE] = program

    def end() -> None:
        del os.environ[VARIABLE]
        os.close(held)
        server.wait()
        folder.cleanup()

    return end


def _serve(listener: socket.socket, alive: int, program: str) -> None:
    """Forks a process per connection until the process that started the server is gone."""
    if alive in select.select([listener, alive], [], [])[0]:
        return
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # nothing of this is collected in a forked process, so its pages stay shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that watch
    while alive not in (ready := select.select([listener, alive], [], [])[0]):
        link = ready[0].accept()[0]
        if not os.fork():
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _watch(link, alive, program)
        link.close()


def _watch(link: socket.socket, alive: int, program: str) -> None:
    """Forks the process that one connection asks for and tells how it ended."""
    words, folder, environment, streams = _call(link)
    child = os.fork()
    if not child:
        link.close()
        os.close(alive)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        _become(words, folder, environment, program)
    for stream in streams:
        os.close(stream)
    # Whoever asked may be killed before either line is written: the process must end all the same.
    with contextlib.suppress(OSError):
        link.sendall(f"{child}\n".encode())
    ended = os.pidfd_open(child)
    if ended not in select.select([ended, link, alive], [], [])[0]:
        with contextlib.suppress(ProcessLookupError):  # it may not lead a group yet
            os.killpg(child, signal.SIGKILL)
        signal.pidfd_send_signal(ended, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        link.sendall(f"{code}\n".encode())
    os._exit(0)


def _call(link: socket.socket) -> tuple[list[str], str, dict[str, str], list[int]]:
    size, control, _, _ = link.recvmsg(8, socket.CMSG_LEN(3 * array.array("i").itemsize))
    streams = array.array("i")
    streams.frombytes(control[0][2])
    with link.makefile("rb") as stream:
        words, folder, environment = json.loads(stream.read(int.from_bytes(size, "big")))
    return words, folder, environment, list(streams)


def _become(words: list[str], folder: str, environment: dict[str, str], program: str) -> None:
    """Goes on as `python WORDS` would in that folder and environment, to its end."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.executable = program
    random.seed()
    sys.modules["numpy"].random.seed()
    extra = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:1] = ["" if words[0] == "-c" else folder, *extra]
    code: object = 0
    try:
        _run(words)
    except SystemExit as ended:
        code = ended.code
        if code is not None and not isinstance(code, int):
            sys.stderr.write(f"{code}\n")
            code = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    # As the interpreter ends, but for the seconds that it takes to delete every module.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(code or 0) & 255)


def _run(words: list[str]) -> None:
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(words[1], "<string>", "exec"), module.__dict__)
    else:
        sys.argv, sys.path[0] = words, str(Path(words[0]).resolve().parent)
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), sys.argv[3])
