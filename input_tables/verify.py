"""Finds damaged Parquet files before they can crash the process that reads them."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa

from input_tables import newer_parquet
from input_tables.contract import COLUMNS, Table
from input_tables.newer_parquet import MEND, is_newer

_PROBE = Path(__file__).with_name("parquet_probe.py")
#: Without a sign of life for so long a file counts as unreadable.
_SILENCE_SECONDS = 60.0
_BATCH_ROWS = 65_536


def damaged_parquet(
    files: Sequence[tuple[Table, str]], groups: Sequence[int] | None = None
) -> dict[str, str]:
    """Reads every file once in a child process.

    Args:
      files: (table, path) of Parquet files.
      groups: row groups that are read; None: all, [] the footer alone.

    Returns:
      What is wrong, by path; files that can be read are left out.
    """
    problems: dict[str, str] = {}
    waiting = list(files)
    while waiting:
        done = _probe(waiting, problems, groups)
        waiting = waiting[done:]
    return problems


def _probe(
    files: list[tuple[Table, str]], problems: dict[str, str], groups: Sequence[int] | None
) -> int:
    """Probes files until the child dies; returns how many are settled."""
    child = subprocess.Popen(
        [sys.executable, str(_PROBE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        for number, (table, path) in enumerate(files):
            columns = [column.name for column in COLUMNS[table]]
            request: dict[str, object] = {"path": path, "columns": columns, "groups": groups}
            answer = _ask(child, request)
            if answer == "ok":
                continue
            if answer.startswith("error "):
                said = answer.removeprefix("error ")
                if problem := _newer(path, columns) if is_newer(said) else said:
                    problems[path] = problem
                continue
            problems[path] = answer
            return number + 1
        return len(files)
    finally:
        child.kill()
        child.communicate()


def _newer(path: str, columns: list[str]) -> str:
    """Returns what keeps DuckDB from reading a file that is newer than Arrow, '' for nothing."""
    import duckdb

    try:
        there = [name for name in columns if name in newer_parquet.schema(path).names]
        for _ in newer_parquet.batches(path, there, _BATCH_ROWS):
            pass
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        return f"{MEND}. DuckDB says: {' '.join(str(error).split())[:200]}"
    return ""


def _ask(child: subprocess.Popen[bytes], request: dict[str, object]) -> str:
    stdin, stdout = _pipe(child.stdin), _pipe(child.stdout)
    try:
        stdin.write(json.dumps(request).encode() + b"\n")
        stdin.flush()
    except BrokenPipeError:
        return "the reader crashed on it; the file is damaged"
    received = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        while selector.select(_SILENCE_SECONDS):
            chunk = os.read(stdout.fileno(), 1 << 16)
            if not chunk:
                return "the reader crashed on it; the file is damaged"
            received += chunk
            lines = received.split(b"\n")
            answers = [line for line in lines[:-1] if line != b"."]
            if answers:
                return answers[0].decode("utf-8", "replace")
            received = lines[-1]
    return f"the reader gave no sign for {_SILENCE_SECONDS:g} s; the file is damaged"


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("the probe was started without pipes")
    return stream
