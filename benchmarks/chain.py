"""The local pipeline with every step in a process of its own: CPU, peak memory and disk.

    python -m benchmarks.chain '{"rows": 60000, "items": 60000, "users": 4000}' FOLDER

TFX and TensorFlow are imported once; each step runs in a fork of that process, as in a pod that
has imported them, and the kernel counts its CPU seconds and its peak memory (of its
largest process). `import_cpu_s` is what every pod pays before it begins.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

#: What the entry point of a task imports.
PRELOADED = (
    "pyarrow.parquet", "scipy.sparse", "tensorflow", "tf_keras", "apache_beam", "tfx.v1",
    "tensorflow_transform.beam", "tensorflow_data_validation", "tfx.components.transform.executor",
    "tfx.orchestration.portable.launcher",
)  # fmt: skip
#: Requests that serving is measured on, one at a time.
_REQUESTS = 200
_PROBE_STEPS = 600_000
SERVING = "serving"
COUNTS = "counts.json"
RESULT = "result.json"


def configuration(case: dict[str, Any], folder: Path) -> Any:
    """Returns the `RunConfig` of a case; no bound on quality, so that a short training passes."""
    from pipeline.config import RunConfig, validate_tree

    tree = {
        "name": "scale",
        "work_dir": str(folder / "work"),
        "serving_dir": str(folder / "pushed"),
        "data": {"root": str(folder / "tables")},
        "examples": {
            "split": {"strategy": "time", "eval_days": 3, "validation_days": 2},
            "negative_actions": ["hide"],
        },
        "transform": {"history_max_items": case.get("history", 50)},
        "model": {"num_interests": case.get("interests", 4)},
        "trainer": {
            "epochs": case.get("epochs", 1),
            "batch_size": case.get("batch", 256),
            "validation_max_examples": case.get("validated", 1000),
        },
        "index": {"recall_target": 0.8},
        "gate": {"drift_policy": "off"},
        "evaluator": {
            "max_examples": case.get("evaluated", 1000),
            "thresholds": {"recall@100": {"min": 0.0}},
            "must_beat_floors": [],
        },
    }
    return validate_tree(RunConfig, tree, "benchmarks/chain.py")


def generate(case: dict[str, Any], folder: Path) -> None:
    """Writes the tables of a case; what is known of the truth is left out, as in real ones."""
    from core.files import write_json
    from input_tables.generate import GeneratorConfig, write_generated

    config = GeneratorConfig(
        users=case["users"], items=case["items"], topics=200, engagements=case["rows"]
    )
    counts = write_generated(config, folder / "tables")
    shutil.rmtree(folder / "tables" / "truth")
    write_json(folder / COUNTS, counts)


def probe() -> float:
    """Returns CPU seconds of a fixed piece of work: how slow other programs make this machine."""
    used, found = time.process_time(), {}
    for number in range(_PROBE_STEPS):
        found[number % 5_000] = str(number)
    sorted(found.values())
    return time.process_time() - used


def _fork(work: Callable[..., object], *arguments: Any) -> int:
    """Starts work in a fork, which exits with 1 and a traceback where it fails; returns its id."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work(*arguments)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def forked(work: Callable[..., object], arguments: Sequence[Any]) -> dict[str, float]:
    """Runs work in a fork of this process and returns what the kernel counted.

    Raises:
      SystemExit: it failed; its traceback is on stderr.
    """
    before = probe()
    started = time.monotonic()
    child = _fork(work, *arguments)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"a step failed: {os.waitstatus_to_exitcode(status)}")
    wall = time.monotonic() - started
    return {
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "probe_s": (before + probe()) / 2,
        "wall_s": wall,
        "memory_gb": usage.ru_maxrss * 1024 / 1e9,
    }


def launch(arguments: dict[str, Any], connection: Any) -> None:
    """Runs one step: driver, executor and publisher, as `LocalDagRunner` does."""
    from tfx.orchestration import metadata
    from tfx.orchestration.portable.launcher import Launcher

    Launcher(mlmd_connection=metadata.Metadata(connection), **arguments).launch()


def run(config: Any, data_only: bool, steps: Connection) -> dict[str, dict[str, float]]:
    """Runs the pipeline and returns what each step cost; failed steps end the program.

    Args:
      config: the `RunConfig`.
      data_only: whether it ends with Transform.
      steps: takes a function with its arguments, gives the figures of its process.
    """
    from tfx.orchestration.portable import launcher

    from pipeline.local.runner import run_data_local, run_local

    found: dict[str, dict[str, float]] = {}

    class Sent:
        """Stands for a step's launcher in this process."""

        def __init__(self, *, mlmd_connection: Any, **arguments: Any) -> None:
            self._sent = (launch, (arguments, mlmd_connection._connection_config))
            self._name = arguments["pipeline_node"].node_info.id

        def launch(self) -> None:
            steps.send(self._sent)
            found[self._name] = steps.recv()

    launcher.Launcher = Sent
    if data_only:
        run_data_local(config)
    elif (result := run_local(config)).error is not None:
        raise SystemExit(f"{result.error}\n{(result.run_dir / 'run.log').read_text()[-2000:]}")
    for name, figures in found.items():
        figures["disk_gb"] = size_of(Path(config.work_dir) / "artifacts" / name) / 1e9
    if not data_only:
        found["Pusher"]["disk_gb"] = size_of(Path(config.serving_dir)) / 1e9
    return found


def size_of(folder: Path) -> int:
    """Returns the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def serve(work_dir: Path) -> None:
    """Loads the retriever that was published and asks it, one request at a time."""
    from components.evaluator.examples import read_eval_examples
    from components.evaluator.items import Items
    from components.evaluator.replay import load_signature, replay_signature
    from components.index_builder.layout import ITEMS_FILE, RETRIEVER, SCANN_RETRIEVER
    from core.files import write_json

    index = next((work_dir / "artifacts" / "IndexBuilder" / "index").iterdir())
    scann = (index / SCANN_RETRIEVER).is_dir()
    folder = index / (SCANN_RETRIEVER if scann else RETRIEVER)
    examples = next((work_dir / "artifacts" / "RetrievalExampleGen" / "examples").iterdir())
    items = Items.read(index / ITEMS_FILE)
    asked = read_eval_examples(str(examples), items, _REQUESTS, 1)
    retrieve = load_signature(folder, scann)
    for _ in range(2):  # the first time warms up
        used = time.process_time()
        replay_signature(retrieve, str(folder), asked, items, 1)
    write_json(work_dir / SERVING, (time.process_time() - used) / len(asked))


def measure(case: dict[str, Any], folder: Path, steps: Connection) -> dict[str, Any]:
    """Generates tables, runs the pipeline, asks what it published; returns all figures."""
    steps.send((generate, (case, folder)))
    generated = steps.recv()
    counts = json.loads((folder / COUNTS).read_text())
    config = configuration(case, folder)
    data_only = bool(case.get("data_only"))
    found = run(config, data_only, steps)
    if not data_only:
        work_dir = Path(config.work_dir)
        steps.send((serve, (work_dir,)))
        found[SERVING] = steps.recv()
        found[SERVING]["request_cpu_s"] = json.loads((work_dir / SERVING).read_text())
        del found[SERVING]["cpu_s"]  # of the loading and of all requests
    return {"case": {**case, "rows": counts["engagements"]}, "generated": generated, "steps": found}


def prepare() -> float:
    """Imports what a step needs and returns the CPU seconds of it; runs no TensorFlow."""
    started = time.process_time()
    for name in PRELOADED:
        importlib.import_module(name)
    return time.process_time() - started


def run_case(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Runs a case, after `prepare`, and returns what each step cost.

    The pipeline's own modules run TensorFlow when they are imported, after which a process
    cannot be forked: a second process builds the pipeline, this one only forks the steps.

    Args:
      case: rows, items, users and what else of `Size` is not the default; with `data_only` the
        run ends with Transform.
      folder: an empty folder to work in.
    """
    steps, ends = Pipe()
    result = folder / RESULT

    def build() -> None:
        steps.close()
        result.write_text(json.dumps(measure(case, folder, ends)))

    builder = _fork(build)
    ends.close()
    while True:
        try:
            work, arguments = steps.recv()
        except EOFError:
            break
        steps.send(forked(work, arguments))
    if os.waitpid(builder, 0)[1]:
        raise SystemExit(f"the case {case} failed")
    return dict(json.loads(result.read_text()))


if __name__ == "__main__":
    imported = prepare()
    found = run_case(json.loads(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps({**found, "import_cpu_s": imported}))
