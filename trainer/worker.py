"""`python -m trainer.worker FILE`: one process of a training on several workers.

The Trainer component writes its arguments to a file beside the checkpoints, runs the chief as a
process of its own (TensorFlow joins a cluster only before it has run anything) and waits for it.
Every other worker runs this module with the same file and its own place in TF_CONFIG.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

# Nothing here may import TensorFlow before `main` has set what it must find.
from core.errors import ConfigError, TesseraError, TrainingError
from core.files import read_json, write_json

#: In the folder of the checkpoints: what the workers train.
JOB_FILE = "training.json"
_ERROR_FILE = "chief.error"
_FIELDS = (
    "train_files",
    "transform_graph_path",
    "serving_model_dir",
    "model_run_dir",
    "base_model",
    "custom_config",
)
_PR_SET_PDEATHSIG = 1
_LOG = logging.getLogger("tessera")


def run_chief(fn_args: Any) -> None:
    """Runs the chief of a training and waits for its end.

    Args:
      fn_args: see `run_fn.run_fn`.

    Raises:
      TrainingError: with the words of the chief.
    """
    from trainer.callbacks import StopSignals

    path = Path(os.path.abspath(fn_args.custom_config["checkpoint_dir"])) / JOB_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {name: getattr(fn_args, name) for name in _FIELDS})
    said = path.with_name(_ERROR_FILE)
    said.unlink(missing_ok=True)
    _LOG.info("start every other worker with: python -m trainer.worker %s", path)
    with StopSignals() as signals:
        child = subprocess.Popen(
            [sys.executable, "-m", "trainer.worker", str(path), "--error-file", str(said)],
            # Ctrl-C reaches this process alone, which hands it on once.
            start_new_session=True,
            preexec_fn=_stop_with_parent,
        )
        handed_on = False
        while (code := _ended(child)) is None:
            if signals.received is not None and not handed_on:
                child.send_signal(signals.received)
                handed_on = True
    if signals.received is not None:
        signal.raise_signal(signals.received)
    if code != 0:
        words = said.read_text() if said.exists() else "its log says why"
        raise TrainingError(f"the chief of the training ended with code {code}: {words}")


def _ended(child: subprocess.Popen[bytes]) -> int | None:
    try:
        return child.wait(1.0)
    except subprocess.TimeoutExpired:
        return None


def _stop_with_parent() -> None:
    """No training outlives the process that would collect what it makes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one worker; the chief also exports.

    Args:
      arguments: of the command line.

    Returns:
      The exit code: 0 done, 1 the training failed, 2 the words or the configuration are wrong.
    """
    parsed = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    _LOG.setLevel(logging.INFO)
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        if parsed.index is not None:
            os.environ["TF_CONFIG"] = _as_worker(os.environ.get("TF_CONFIG", ""), parsed.index)
        job = _read(parsed.file, parsed.wait)
        from trainer.run_fn import train

        train(SimpleNamespace(**job))
    except TesseraError as error:
        _LOG.error("%s", error)
        if parsed.error_file is not None:
            parsed.error_file.write_text(str(error))
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer.worker", allow_abbrev=False)
    parser.add_argument("file", type=Path, help="training.json in the folder of the checkpoints")
    parser.add_argument(
        "--index",
        type=int,
        default=os.environ.get("JOB_COMPLETION_INDEX"),
        help="which `worker` of TF_CONFIG this process is; default: JOB_COMPLETION_INDEX of a "
        "Kubernetes Job, else the `task` of TF_CONFIG",
    )
    parser.add_argument(
        "--wait", type=int, default=86_400, help="seconds to wait for the file (default: a day)"
    )
    parser.add_argument("--error-file", type=Path, help="where an error is written to as well")
    return parser


def _as_worker(text: str, index: int) -> str:
    """Returns TF_CONFIG with the task of one worker."""
    try:
        return json.dumps({**json.loads(text), "task": {"type": "worker", "index": index}})
    except (ValueError, TypeError) as error:
        raise ConfigError(f"TF_CONFIG is {text!r}, which is no JSON object ({error})") from error


def _read(path: Path, wait_s: int) -> dict[str, Any]:
    """Reads the arguments once the Trainer has written them."""
    until = time.monotonic() + wait_s
    while not path.is_file():
        if time.monotonic() > until:
            raise TrainingError(
                f"{path} did not come within {wait_s} s: the Trainer writes it where "
                "trainer.distribution is multi_worker; both need the same folder"
            )
        time.sleep(1.0)
    return read_json(path)


def _leave(code: int) -> NoReturn:
    """Ends the process without waiting for threads of a cluster that may be broken."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main())
