"""Runs the pipeline on this machine: LocalDagRunner, Beam's FnApiRunner, SQLite metadata."""

from __future__ import annotations

import contextlib
import datetime as dt
import gc
import logging
import os
import signal
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from components.beam_job import job_error
from core.errors import StoppedError, TesseraError
from core.lock import make_folder, run_lock
from core.storage import absolute
from pipeline.config import RunConfig
from pipeline.local.console import RunLog, run_output
from pipeline.local.metadata_file import require_usable
from pipeline.refresh.resolve import Refresh, resolve_refresh
from pipeline.schema_files import read_schemas

if TYPE_CHECKING:
    from pipeline.lineage import NodeState

_LOGGER = logging.getLogger("tessera.run")


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
      run_id: sortable id, also the name of the run's folder.
      run_dir: folder with `report.json`, `report.html` and `run.log`.
      report: content of `report.json`.
      error: what stopped the run, None when every component completed.
    """

    run_id: str
    run_dir: Path
    report: dict[str, Any]
    error: Exception | None

    @property
    def exit_code(self) -> int:
        """0 pushed or already pushed, 1 failed or refused, 2 data or configuration wrong."""
        if isinstance(self.error, TesseraError):
            return self.error.exit_code
        serves = (self.report.get("serving") or {}).get("validated") is not False
        # A day that is run again may end without a push; a refresh that does was overtaken.
        refresh = (self.report.get("config") or {}).get("pipeline") == "refresh"
        done = self.report.get("status") == "pushed" or not refresh
        return 0 if self.error is None and self.report.get("blessed") and serves and done else 1


def run_local(config: RunConfig, *, use_cache: bool = True, verbose: bool = False) -> RunResult:
    """Runs every component once and writes the run's report.

    A refresh is planned with the version that is published now, before anything runs.

    Args:
      config: the validated configuration.
      use_cache: reuse outputs of components whose inputs, parameters and code are unchanged.
      verbose: show all log records on the terminal too.

    Returns:
      The result; errors of components are in it, not raised.

    Raises:
      BundleError: a refresh finds no published version that it could use.
      ConfigError: the work folder cannot be written.
      TesseraError: another run works in it, or its metadata cannot be used.
    """
    work_dir = Path(config.work_dir).resolve()
    refresh = resolve_refresh(config) if config.pipeline == "refresh" else None
    make_folder(work_dir, work_dir)
    with run_lock(work_dir):
        require_usable(work_dir / "metadata.db")
        return _run_locked(
            config if refresh is None else refresh.config, refresh, work_dir, use_cache, verbose
        )


def _run_locked(
    config: RunConfig, refresh: Refresh | None, work_dir: Path, use_cache: bool, verbose: bool
) -> RunResult:
    run_id = f"{dt.datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
    run_dir = work_dir / "runs" / run_id
    make_folder(run_dir, work_dir)
    since_ms = int(time.time() * 1000)
    error: Exception | None = None
    with run_output(run_dir / "run.log", verbose) as run_log:
        _print_start(run_log, config, refresh, run_id)

        def report_stop(signal_number: int, frame: object) -> None:
            # Not by raising: inside a destructor of TensorFlow an exception is swallowed.
            stopped = _stopped(run_log)
            _write_report(config, work_dir, run_dir, run_id, since_ms, run_log, stopped)
            run_log.end_spinner()
            run_log.console.print(
                f"tessera: {stopped}\nreport  {run_dir / 'report.html'}", markup=False
            )
            os._exit(128 + signal_number)

        try:
            with _on_sigterm(report_stop):
                _run_pipeline(config, work_dir, use_cache, False, refresh)
            _require_every_node(work_dir, since_ms, run_log)
        except KeyboardInterrupt:
            error = _stopped(run_log)
            _LOGGER.error("%s", error)
        except Exception as caught:
            error = _root_cause(caught, run_log.current)
            _LOGGER.error("run failed in %s\n%s", run_log.current, traceback.format_exc())
        report = _write_report(config, work_dir, run_dir, run_id, since_ms, run_log, error)
    return RunResult(run_id=run_id, run_dir=run_dir, report=report, error=error)


def _print_start(run_log: RunLog, config: RunConfig, refresh: Refresh | None, run_id: str) -> None:
    what = "run" if refresh is None else f"refresh of version {refresh.parent.version}, run"
    run_log.console.print(f"[bold]{config.name}[/] {what} {run_id}", highlight=False)
    if refresh is not None and refresh.ignored:
        _LOGGER.warning(
            "a refresh keeps the published model; not followed: %s", ", ".join(refresh.ignored)
        )


def _stopped(run_log: RunLog) -> StoppedError:
    return StoppedError(
        f"stopped in {run_log.current or 'the first component'}; run the same command "
        "again: finished components are reused and a training resumes"
    )


@contextlib.contextmanager
def _on_sigterm(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handles SIGTERM inside the block; a training writes its checkpoint before it is handed on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_data_local(config: RunConfig, *, verbose: bool = False) -> dict[str, NodeState]:
    """Runs the chain as far as Transform, in the work folder and cache of `run_local`.

    Args:
      config: the validated configuration.
      verbose: show all log records on the terminal too.

    Returns:
      node id -> its state, with the folders of its outputs.

    Raises:
      StoppedError: the user stopped it.
      TesseraError: another run works in the folder, a component failed.
    """
    from pipeline.lineage import read_run

    work_dir = Path(config.work_dir).resolve()
    make_folder(work_dir, work_dir)
    since_ms = int(time.time() * 1000)
    with run_lock(work_dir), run_output(work_dir / "data.log", verbose) as run_log:
        require_usable(work_dir / "metadata.db")
        try:
            _run_pipeline(config, work_dir, use_cache=True, data_only=True)
            _require_every_node(work_dir, since_ms, run_log)
        except KeyboardInterrupt:
            raise _stopped(run_log) from None
        except Exception as caught:
            _LOGGER.error("failed in %s\n%s", run_log.current, traceback.format_exc())
            raise _root_cause(caught, run_log.current) from caught
        return read_run(work_dir / "metadata.db", since_ms)


def _run_pipeline(
    config: RunConfig,
    work_dir: Path,
    use_cache: bool,
    data_only: bool = False,
    refresh: Refresh | None = None,
) -> None:
    # TFX takes seconds to import: only once the configuration is known to be good.
    from tfx.orchestration import metadata
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.pipeline import Pipeline

    from pipeline.beam.placement import pipeline_args, place
    from pipeline.dag import build_components, build_data_components

    paths = local_paths(config, work_dir)
    if refresh is not None:
        from pipeline.refresh.dag import build_refresh_components

        components = build_refresh_components(refresh, paths)
    else:
        components = (build_data_components if data_only else build_components)(config, paths)
    place(components, config.beam)
    pipeline = Pipeline(
        pipeline_name=config.name if refresh is None else f"{config.name}-refresh",
        pipeline_root=str(work_dir / "artifacts"),
        components=components,
        enable_cache=use_cache,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(
            str(work_dir / "metadata.db")
        ),
        beam_pipeline_args=pipeline_args(config.beam),
    )
    # TFX's million objects stay: the collector need not look through them, nor Arrow, which asks
    # for the referrers of a frame before each block of CSV (its way around bpo-42248).
    gc.freeze()
    LocalDagRunner().run(pipeline)


def local_paths(config: RunConfig, work_dir: Path) -> Any:
    """Returns the `pipeline.dag.Paths` of a local run.

    Raises:
      ConfigError: a schema is missing.
    """
    from pipeline.dag import Paths, checkpoint_digest

    schema, corpus_schema = read_schemas(config)
    span = config.data.run_date.isoformat() if config.data.run_date else "single"
    kept = f"refresh-{span}" if config.pipeline == "refresh" else span
    return Paths(
        data_root=absolute(config.data.root),
        serving_dir=absolute(config.serving_dir),
        schema=schema,
        corpus_schema=corpus_schema,
        checkpoint_dir=str(work_dir / "checkpoints" / f"{span}-{checkpoint_digest(config)}"),
        dead_letter_dir=str(work_dir / "dead_letters" / kept),
    )


def _require_every_node(work_dir: Path, since_ms: int, run_log: RunLog) -> None:
    """LocalDagRunner returns normally when a node was skipped; that is an error here."""
    from pipeline.lineage import read_run

    nodes = read_run(work_dir / "metadata.db", since_ms)
    missing = [name for name in run_log.nodes if name not in nodes or not nodes[name].done]
    if missing or not nodes:
        raise TesseraError(
            f"component(s) without a completed execution: {', '.join(missing) or 'all'}; "
            "see the run's log"
        )


def _root_cause(error: Exception, step: str) -> Exception:
    """Returns the first Tessera error in the chain of causes, else the error itself.

    A job of `step` that failed on Beam's workers is one too, also where TFX ran it.
    """
    cause: BaseException | None = error
    while cause is not None:
        found = cause if isinstance(cause, TesseraError) else job_error(cause, step)
        if found is not None:
            return found
        cause = cause.__cause__ or cause.__context__
    return error


def _write_report(
    config: RunConfig,
    work_dir: Path,
    run_dir: Path,
    run_id: str,
    since_ms: int,
    run_log: RunLog,
    error: Exception | None,
) -> dict[str, Any]:
    from pipeline.lineage import read_run
    from pipeline.report.collect import collect_report
    from pipeline.report.inputs import report_inputs
    from pipeline.report.render import write_report

    nodes = read_run(work_dir / "metadata.db", since_ms)
    timings = {name: node.seconds for name, node in run_log.nodes.items()}
    report = collect_report(report_inputs(config, run_id, nodes, timings, error))
    write_report(report, run_dir)
    return report
