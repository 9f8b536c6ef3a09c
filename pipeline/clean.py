"""Retention of a work folder's artifacts: what newer runs, the cache and a model need stays."""

from __future__ import annotations

import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import ConfigError, TesseraError
from core.lock import run_lock
from pipeline.forget.work_dir import ARTIFACTS, METADATA, artifact_folders, remove_artifact

#: `last_known_state` of ML Metadata's executions that completed or were answered by the cache.
_DONE = (3, 5)
_OUTPUT = (2, 4)
_DAY_MS = 86_400_000


class Kept(NamedTuple):
    """What stays.

    Attributes:
      runs: so many of the newest runs, at least 1.
      days: also runs that began within so many days; None: age does not matter.
    """

    runs: int
    days: float | None = None


class Old(NamedTuple):
    """An artifact that nothing needs."""

    path: Path
    bytes: int


@dataclass(frozen=True)
class _Metadata:
    """ML Metadata's tables, as far as they say who needs what.

    Attributes:
      began: run -> Unix time in milliseconds.
      runs_of: execution -> its runs.
      nodes: node (with its pipeline) -> its executions that completed, by age.
      outputs: execution -> artifacts that it made or took from the cache.
      used: execution -> all its artifacts.
      ends: artifact -> `<component>/<output>/<execution>`.
      blessed: pipeline -> executions that blessed a model, by age.
    """

    began: dict[int, int]
    runs_of: dict[int, set[int]]
    nodes: dict[int, list[int]]
    outputs: dict[int, set[int]]
    used: dict[int, set[int]]
    ends: dict[int, tuple[str, ...]]
    blessed: dict[int, list[int]]

    def artifacts_of_runs(self, runs: set[int]) -> set[int]:
        """Returns all artifacts of some runs."""
        executions = (number for number, own in self.runs_of.items() if own & runs)
        return set().union(*(self.used[number] for number in executions))


def clean(work_dir: Path, kept: Kept, now_ms: int, dry_run: bool) -> list[Old]:
    """Removes artifacts that no kept run, no cached answer and no newest blessed model needs.

    Kept are the artifacts of the newest runs and of young ones, what each component made or
    took last (the next run's cache), and, for each pipeline, those of the newest run that blessed
    a model. Folders that the metadata does not know are left alone, and so are reports and
    checkpoints. A run that asks for a removed artifact makes it again.

    Args:
      work_dir: of the runs.
      kept: what stays.
      now_ms: Unix time in milliseconds.
      dry_run: remove nothing.

    Returns:
      What was, or would be, removed.

    Raises:
      ConfigError: this is no work folder.
      TesseraError: a run works in it, or its metadata cannot be read.
    """
    if not (work_dir / METADATA).is_file() or not (work_dir / ARTIFACTS).is_dir():
        raise ConfigError(
            f"{work_dir}: no work folder of runs (it needs {METADATA} and {ARTIFACTS}/)"
        )
    with run_lock(work_dir):
        metadata = _read(work_dir / METADATA)
        needed = _needed(metadata, kept, now_ms)
        stays = {metadata.ends[number] for number in needed if number in metadata.ends}
        known = set(metadata.ends.values())
        old = [
            Old(folder, _size(folder))
            for folder in artifact_folders(work_dir)
            if folder.parts[-3:] in known and folder.parts[-3:] not in stays
        ]
        if not dry_run:
            for leftover in (work_dir / ARTIFACTS).glob(".removed-*"):
                shutil.rmtree(leftover)
            for one in old:
                remove_artifact(one.path, work_dir)
    return old


def _needed(metadata: _Metadata, kept: Kept, now_ms: int) -> set[int]:
    newest = sorted(metadata.began, key=lambda run: (metadata.began[run], run), reverse=True)
    runs = set(newest[: max(1, kept.runs)])
    if kept.days is not None:
        since = now_ms - kept.days * _DAY_MS
        runs |= {run for run, began in metadata.began.items() if began >= since}
    for executions in metadata.blessed.values():
        runs |= metadata.runs_of[executions[-1]]
    cached = [metadata.outputs[executions[-1]] for executions in metadata.nodes.values()]
    return metadata.artifacts_of_runs(runs).union(*cached)


def _read(path: Path) -> _Metadata:
    try:
        with closing(sqlite3.connect(f"file:{path.resolve()}?mode=ro", uri=True)) as connection:
            ask = connection.execute
            contexts = ask(
                "SELECT Context.id, Type.name, create_time_since_epoch FROM Context "
                "JOIN Type ON type_id = Type.id"
            ).fetchall()
            members = ask("SELECT context_id, execution_id FROM Association").fetchall()
            states = ask("SELECT id, last_known_state FROM Execution ORDER BY id").fetchall()
            events = ask("SELECT artifact_id, execution_id, type FROM Event").fetchall()
            uris = ask("SELECT id, uri FROM Artifact WHERE uri IS NOT NULL").fetchall()
            blessings = ask(
                "SELECT Artifact.id FROM Artifact JOIN Type ON type_id = Type.id JOIN "
                "ArtifactProperty ON artifact_id = Artifact.id WHERE int_value = 1 AND "
                "Type.name = 'components.Blessing' AND ArtifactProperty.name = 'blessed'"
            ).fetchall()
    except sqlite3.DatabaseError as error:
        raise TesseraError(f"{path}: cannot be read ({error}); nothing was removed") from error
    return _metadata(contexts, members, states, events, uris, {number for (number,) in blessings})


def _metadata(
    contexts: Iterable[Any],
    members: Iterable[Any],
    states: Iterable[Any],
    events: Iterable[Any],
    uris: Iterable[Any],
    blessings: set[int],
) -> _Metadata:
    kinds = {number: kind for number, kind, _ in contexts}
    own: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for context, execution in members:
        own[kinds[context]][execution].add(context)
    outputs: dict[int, set[int]] = defaultdict(set)
    used: dict[int, set[int]] = defaultdict(set)
    for artifact, execution, kind in events:
        used[execution].add(artifact)
        if kind in _OUTPUT:
            outputs[execution].add(artifact)
    nodes: dict[int, list[int]] = defaultdict(list)
    blessed: dict[int, list[int]] = defaultdict(list)
    for execution, state in states:
        if state in _DONE:
            for node in own["node"][execution]:
                nodes[node].append(execution)
            if outputs[execution] & blessings:
                for pipeline in own["pipeline"][execution]:
                    blessed[pipeline].append(execution)
    return _Metadata(
        began={number: began for number, kind, began in contexts if kind == "pipeline_run"},
        runs_of=own["pipeline_run"],
        nodes=nodes,
        outputs=outputs,
        used=used,
        ends={number: Path(uri).parts[-3:] for number, uri in uris},
        blessed=blessed,
    )


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
