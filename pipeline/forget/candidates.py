"""One user out of the candidates of every day."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.digest import file_sha256
from core.errors import DataError
from core.files import read_json, rewritten_directory, staged_file, write_json
from core.lock import run_lock
from pipeline.forget.person import Finding, Person, read_users
from trainer import features

#: As `components.candidates` names them; importing that would import Beam.
_MANIFEST = "_manifest.json"
_UNFINISHED = ".candidates-"
_USERS = b"users"


def forget_in_candidates(out: Path, person: Person, dry_run: bool) -> Iterator[Finding]:
    """Removes a user from each day below `out`; a day changes in one step, manifest and all.

    Candidates that are not finished hold the tables' rows by user; they are removed whole
    and begin anew.

    Raises:
      DataError: there are no candidates, or a file cannot be read.
      TesseraError: candidates are being written.
    """
    days = sorted(path.parent for path in out.glob(f"day=*/{_MANIFEST}"))
    unfinished = sorted(out.glob(f"{_UNFINISHED}*"))
    if (out / _MANIFEST).is_file():
        days = [out]
    if not days and not unfinished:
        raise DataError(f"{out}: no candidates here (day=YYYY-MM-DD/{_MANIFEST})")
    for folder in [*unfinished, *sorted(out.glob(".old-*"))]:
        yield Finding("candidates", str(folder), "not finished, removed whole")
        if not dry_run:
            with run_lock(folder):
                shutil.rmtree(folder)
    for day in days:
        yield from _forget_in_day(day, person, dry_run)


def _forget_in_day(day: Path, person: Person, dry_run: bool) -> Iterator[Finding]:
    manifest = read_json(day / _MANIFEST)
    rows = {}
    for name in manifest["files"]:
        users = read_users(day / name)
        count = 0 if users is None else pc.sum(person.rows(users)).as_py() or 0
        if count:
            rows[name] = count
    if not rows:
        return
    yield Finding("candidates", str(day), f"{sum(rows.values())} rows")
    if dry_run:
        return
    with rewritten_directory(day, day.with_name(f".old-{uuid.uuid4().hex}")) as copy:
        for name in rows:
            _rewrite(copy / name, person)
            path = copy / name
            about = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
            manifest["files"][name] = about
        manifest["rows"] -= sum(rows.values())
        manifest["users"] -= len(rows)
        write_json(copy / _MANIFEST, manifest)


def _rewrite(path: Path, person: Person) -> None:
    """Rewrites a part; the number of users in its metadata falls by one."""
    table = pq.read_table(path, partitioning=None)
    left = table.filter(pc.invert(person.rows(table[features.USER_ID])))
    about = dict(left.schema.metadata or {})
    if _USERS in about:
        about[_USERS] = str(int(about[_USERS]) - 1).encode()
    with staged_file(path) as staging:
        pq.write_table(left.replace_schema_metadata(about), staging, compression="zstd")
