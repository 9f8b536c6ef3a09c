"""What a person sees of a run: one line per component, a bar for long work.

Everything else (TensorFlow, TFX, Beam, absl) goes to the run's log file; while a
run is on, the process's own stdout and stderr are that file.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from core.progress import set_reporter
from core.secrets import RedactingFormatter

_NODE_EVENT = re.compile(r"Component (\S+) is (running|finished)\.")
_CACHED = re.compile(r"A cached execution \d+ is used")


class _RichBar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self.task = task

    def advance(self, amount: int = 1, **fields: object) -> None:
        shown = "  ".join(f"{k} {_short(v)}" for k, v in fields.items())
        self._progress.update(self.task, advance=amount, fields_text=shown)


class RichReporter:
    """Draws `core.progress` bars on a terminal; silent when there is none."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("    {task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[fields_text]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def start(self, label: str, total: int | None) -> _RichBar:
        """Starts one bar."""
        if not self._progress.live.is_started:
            self._progress.start()
        return _RichBar(self._progress, self._progress.add_task(label, total=total, fields_text=""))

    def stop(self, bar: object) -> None:
        """Removes one bar; the display closes with the last one."""
        if isinstance(bar, _RichBar):
            self._progress.remove_task(bar.task)
        if not self._progress.tasks:
            self._progress.stop()


@dataclass
class NodeRecord:
    """What was seen of one component."""

    started: float
    seconds: float = 0.0
    summary: str = ""
    cached: bool = False


@dataclass
class RunLog(logging.Handler):
    """Follows TFX's own log lines and the `tessera` logger.

    Attributes:
      console: where component lines are printed.
      reporter: draws a spinner while a component runs.
      nodes: component id -> record, in order of execution.
    """

    console: Console
    reporter: RichReporter
    nodes: dict[str, NodeRecord] = field(default_factory=dict)

    def __post_init__(self) -> None:
        logging.Handler.__init__(self, logging.INFO)
        self._current = ""
        self._bar: _RichBar | None = None

    __hash__ = object.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        """Handles one log record."""
        message = record.getMessage()
        if record.name == "tessera":
            if record.levelno >= logging.WARNING:
                self.console.print(f"  [yellow]![/] {escape(message)}", highlight=False)
            elif self._current:
                self.nodes[self._current].summary = message
            return
        if self._current and _CACHED.search(message):
            self.nodes[self._current].cached = True
        match = _NODE_EVENT.search(message)
        if match is None:
            return
        name, event = match.groups()
        if event == "running":
            self._current = name
            self.nodes[name] = NodeRecord(started=time.monotonic())
            self._bar = self.reporter.start(name, None)
        elif name in self.nodes:
            self._finish(name)

    def _finish(self, name: str) -> None:
        self.end_spinner()
        node = self.nodes[name]
        node.seconds = time.monotonic() - node.started
        summary = "reused from an earlier run" if node.cached else node.summary
        self.console.print(
            f"  [green]✓[/] {name:<20} {node.seconds:8.1f} s   [dim]{escape(summary)}[/]",
            highlight=False,
        )

    def end_spinner(self) -> None:
        """Stops the spinner of the running component, if there is one."""
        if self._bar is not None:
            self.reporter.stop(self._bar)
            self._bar = None

    @property
    def current(self) -> str:
        """The component that runs, or ran last."""
        return self._current


@contextlib.contextmanager
def run_output(log_path: Path, verbose: bool) -> Iterator[RunLog]:
    """Sends the process's output to `log_path` and yields the console's view.

    File descriptors 1 and 2 point to the log file inside the block, so that
    messages of C++ libraries do not reach the terminal either.

    Args:
      log_path: the run's log file; its folder is made.
      verbose: also show log records on the terminal.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved_out, saved_err = os.dup(1), os.dup(2)
    terminal = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8")
    console = Console(file=terminal, soft_wrap=True)
    reporter = RichReporter(console)
    run_log = RunLog(console, reporter)
    with open(log_path, "a", buffering=1, encoding="utf-8") as log_file:
        handlers = _install(log_file, run_log, terminal if verbose else None)
        os.dup2(log_file.fileno(), 1)
        os.dup2(log_file.fileno(), 2)
        faulthandler.enable(file=log_file)
        set_reporter(reporter)
        try:
            yield run_log
        finally:
            set_reporter(None)
            run_log.end_spinner()
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(saved_out, 1)
            os.dup2(saved_err, 2)
            faulthandler.disable()
            for handler in handlers:
                logging.getLogger().removeHandler(handler)
            _quiet()
            for descriptor in (saved_out, saved_err):
                os.close(descriptor)
            terminal.close()


def _install(log_file: TextIO, run_log: RunLog, terminal: TextIO | None) -> list[logging.Handler]:
    """Puts the handlers on the root logger; absl's own stderr handler is removed."""
    from absl import logging as absl_logging

    absl_logging.use_absl_handler()
    # Through absl itself: TensorFlow Transform restores the verbosity that absl knows of.
    absl_logging.set_verbosity(absl_logging.INFO)
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    streams = [logging.StreamHandler(log_file)]
    if terminal is not None:
        streams.append(logging.StreamHandler(terminal))
    formatter = RedactingFormatter("%(asctime)s %(levelname).1s %(name)s: %(message)s")
    for stream in streams:
        stream.setFormatter(formatter)
    handlers: list[logging.Handler] = [*streams, run_log]
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    for name in ("absl", "tensorflow"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.INFO)
    return handlers


def _quiet() -> None:
    """Leaves only warnings to whoever logs after a run in the same process."""
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.WARNING)
    for name in (None, "tensorflow"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4f}"
    return str(value)
