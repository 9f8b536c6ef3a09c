"""What every container of the compiled pipeline runs.

`python -m kubeflow_pipelines.task.entrypoint`.

TFX's own entry point does not run on open-source Kubeflow Pipelines v2. This one mends what
the backend passes (`kubeflow_pipelines.task.invocation`), calls TFX's, and mends what that wrote.
`kubeflow_pipelines.task.fixes` makes sure that TFX is the one that this was written for.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import shutil
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from core.errors import TesseraError
from core.secrets import RedactingFormatter
from pipeline import environment

#: `remote`: artifacts stay in object storage, for Beam workers on other machines.
ARTIFACTS_VARIABLE = "TESSERA_ARTIFACTS"
#: An artifact without any file would not survive object storage.
KEEP_FILE = ".keep"
_LOG = logging.getLogger("tessera")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one task.

    Args:
      arguments: as compiled, the placeholder replaced; those that are not known here are
        Beam's.

    Returns:
      The exit code: 0 done, 1 the task failed, 2 configuration or data are wrong.
    """
    parsed, beam_args = _parser().parse_known_args(arguments)
    _log_to_stderr()
    try:
        _run(parsed, beam_args)
    except TesseraError as error:
        _LOG.error("%s", error)
        return error.exit_code
    except Exception:
        _LOG.error("%s", traceback.format_exc())
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kubeflow_pipelines.task.entrypoint", allow_abbrev=False
    )
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", default="{}")
    parser.add_argument("--json_serialized_outputs_spec_args", default="{}")
    return parser


def _run(parsed: argparse.Namespace, beam_args: list[str]) -> None:
    # TFX takes seconds to import: only once the arguments are known to be good.
    from kubeflow_pipelines.task import fixes
    from kubeflow_pipelines.task.invocation import prepare, restored
    from kubeflow_pipelines.task.markers import remove_directory_markers
    from kubeflow_pipelines.task.shared import SHARED_VARIABLE, on_shared_volume
    from kubeflow_pipelines.task.shown import show
    from kubeflow_pipelines.task.uris import launcher_root

    fixes.check()
    remote, root = os.environ.get(ARTIFACTS_VARIABLE) == "remote", launcher_root()
    invocation = prepare(
        parsed.json_serialized_invocation_args,
        parsed.json_serialized_inputs_spec_args,
        parsed.json_serialized_outputs_spec_args,
        root,
        remote,
    )
    _clear(invocation.output_file, invocation.outputs.values())
    with on_shared_volume(invocation, os.environ.get(SHARED_VARIABLE)) as placed:
        _execute(parsed, beam_args, placed.executor_input)
        for path in placed.outputs.values():
            if path in placed.uris:
                _keep(Path(path))
            elif remote:
                remove_directory_markers(path)
        written = Path(placed.output_file)
        shown = show(placed, root)
        written.write_text(restored(written.read_text(), placed.uris, shown))


def _execute(parsed: argparse.Namespace, beam_args: list[str], executor_input: object) -> None:
    from google.protobuf import json_format
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

    gc.freeze()  # see `pipeline.local.runner`
    arguments = argparse.Namespace(
        executor_class_path=parsed.executor_class_path,
        json_serialized_invocation_args=json_format.MessageToJson(executor_input),
        json_serialized_inputs_spec_args=parsed.json_serialized_inputs_spec_args,
    )
    kubeflow_v2_run_executor._run_executor(arguments, beam_args)


def _clear(output_file: str, paths: Iterable[str]) -> None:
    """Removes what an earlier attempt left.

    TFX takes an existing output file for the answer of a driver, and older backends name the
    same file for every task; half-made outputs must not be uploaded with the new ones.
    """
    Path(output_file).unlink(missing_ok=True)
    Path(output_file).parent.mkdir(parents=True, exist_ok=True)
    for path in paths:
        if "://" not in path:
            shutil.rmtree(path, ignore_errors=True)
            Path(path).mkdir(parents=True, exist_ok=True)


def _keep(folder: Path) -> None:
    if not any(path.is_file() for path in folder.rglob("*")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / KEEP_FILE).touch()


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _LOG.setLevel(logging.INFO)


def leave(code: int) -> NoReturn:
    """Ends the process without running destructors.

    Object-storage clients inside TensorFlow abort the interpreter's exit ("pure virtual method
    called"), which would turn a finished task into a failed one.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    # Kubeflow shows a task the accelerators that it asks for, and no others.
    environment.prepare(hide_accelerators=False)
    try:
        _code = main()
    except SystemExit as ended:  # of the argument parser
        _code = ended.code if isinstance(ended.code, int) else 2
    leave(_code)
