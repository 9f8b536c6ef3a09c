"""One user out of a work folder: artifacts that hold the user, dead letters, logs to look at."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.compute as pc

from core.errors import ConfigError
from core.files import staged_file
from core.lock import run_lock
from pipeline.forget.person import Finding, Person, read_users

ARTIFACTS, METADATA = "artifacts", "metadata.db"
#: Protobufs whose texts may be ids: the most frequent values, and warm-up requests.
_PROTOBUFS = ("FeatureStats.pb", "tf_serving_warmup_requests")
_LETTERS = "*.jsonl"
_REMOVED_TEXT = "[removed]"
_INPUT, _OUTPUT = (1, 3), (2, 4)
_DOOMED = ".removed-"


def forget_in_work_dir(work_dir: Path, person: Person, dry_run: bool) -> list[Finding]:
    """Removes artifacts that hold a user, and the user's text from dead letters.

    An artifact whose folder is gone is no longer answered from the cache, so the next run
    makes it again. Examples that were made of removed ones (transformed: no ids, but rows of
    the user) go as well. A dead letter keeps file, row and reason, so that counts stay right.

    Raises:
      ConfigError: this is no work folder.
      DataError: a Parquet file cannot be read.
      TesseraError: a run works in it.
    """
    if not (work_dir / ARTIFACTS).is_dir():
        raise ConfigError(f"{work_dir}: no work folder of a run (it has no {ARTIFACTS}/)")
    with run_lock(work_dir):
        if not dry_run:
            for leftover in (work_dir / ARTIFACTS).glob(f"{_DOOMED}*"):
                shutil.rmtree(leftover)
        holding = {
            folder: why for folder in artifact_folders(work_dir) if (why := _why(folder, person))
        }
        for folder in _made_of(work_dir, set(holding)):
            holding.setdefault(folder, "made of examples that hold the user")
        found = []
        for folder, why in sorted(holding.items()):
            kind = "unclear" if why.startswith("unclear") else "artifact"
            found.append(Finding(kind, str(folder), why))
            if kind == "artifact" and not dry_run:
                remove_artifact(folder, work_dir)
        found += _dead_letters(work_dir, person, dry_run)
        return [*found, *_to_look_at(work_dir, person)]


def artifact_folders(work_dir: Path) -> list[Path]:
    """Returns `artifacts/<component>/<output>/<execution>` of every artifact, sorted."""
    folders = (work_dir / ARTIFACTS).glob("[!.]*/[!.]*/*")
    return sorted(path for path in folders if path.is_dir())


def remove_artifact(folder: Path, work_dir: Path) -> None:
    """Takes an artifact away in one step, then deletes its files."""
    doomed = work_dir / ARTIFACTS / f"{_DOOMED}{uuid.uuid4().hex}"
    os.rename(folder, doomed)
    shutil.rmtree(doomed)


def _why(folder: Path, person: Person) -> str:
    """Returns what an artifact holds of the user, '' for nothing."""
    unclear = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            users = read_users(path)
            rows = 0 if users is None else pc.sum(person.rows(users)).as_py()
            if rows:
                return f"{rows} rows of {path.relative_to(folder)}"
            if users is not None and path.name == "requests.parquet":
                unclear += person.other_keys(users)
        elif path.name in _PROTOBUFS and person.in_protobuf(path.read_bytes()):
            return f"named in {path.relative_to(folder)}"
    return f"unclear: {unclear} ids hashed with another key" if unclear else ""


def _made_of(work_dir: Path, folders: set[Path]) -> set[Path]:
    """Returns the examples that were made, directly or not, of artifacts in these folders."""
    database = work_dir / METADATA
    if not database.is_file():
        return set()
    with closing(sqlite3.connect(f"file:{database.resolve()}?mode=ro", uri=True)) as connection:
        examples = connection.execute(
            "SELECT Artifact.id, uri FROM Artifact JOIN Type ON type_id = Type.id "
            "WHERE Type.name = 'Examples'"
        ).fetchall()
        events = connection.execute("SELECT artifact_id, execution_id, type FROM Event").fetchall()
    # By the ends of their paths: the work folder may have moved since.
    ends = {number: Path(uri).parts[-3:] for number, uri in examples}
    holding = {folder.parts[-3:] for folder in folders}
    doomed = {number for number, end in ends.items() if end in holding}
    while True:
        readers = {run for number, run, kind in events if kind in _INPUT and number in doomed}
        made = {n for n, run, kind in events if kind in _OUTPUT and run in readers and n in ends}
        if made <= doomed:
            break
        doomed |= made
    made_of = {ends[number] for number in doomed}
    return {folder for folder in artifact_folders(work_dir) if folder.parts[-3:] in made_of}


def _dead_letters(work_dir: Path, person: Person, dry_run: bool) -> Iterator[Finding]:
    kept = (work_dir / "dead_letters").rglob(_LETTERS)
    of_artifacts = (work_dir / ARTIFACTS).rglob(f"dead_letter/{_LETTERS}")
    for path in sorted([*kept, *of_artifacts]):
        lines, hits = [], 0
        for line in path.read_text(encoding="utf-8").splitlines():
            letter = json.loads(line)
            if person.in_text(letter["text"]):
                letter["text"], hits = _REMOVED_TEXT, hits + 1
                line = json.dumps(letter, ensure_ascii=False)
            lines.append(line)
        if not hits:
            continue
        yield Finding("dead letters", str(path), f"text of {hits} rows")
        if not dry_run:
            with staged_file(path) as staging:
                staging.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _to_look_at(work_dir: Path, person: Person) -> Iterator[Finding]:
    """Yields logs and reports in which the id stands: they may cite rows of the tables."""
    runs = [
        path for path in (work_dir / "runs").rglob("*") if path.suffix in (".log", ".json", ".html")
    ]
    for path in sorted([*runs, *work_dir.glob("*.log")]):
        if person.in_text(path.read_text(encoding="utf-8", errors="replace")):
            yield Finding(
                "look", str(path), "the id stands in it; remove the file if it is the user's"
            )
