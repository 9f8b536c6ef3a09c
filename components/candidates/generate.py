"""The work of CandidateGen without TFX: tables and a bundle in, a day of candidates out."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import apache_beam as beam
import pyarrow.parquet as pq

from components.beam_job import clear_failure
from components.bundle.verify import VerifiedBundle
from components.candidates.config import CandidatesConfig
from components.candidates.parts import USERS, Parts, WritePart
from components.candidates.requests import Moment
from components.candidates.split import UserSplit, latest_event, split_file
from components.example_gen.reading import bucket_numbers
from components.index_builder.layout import INDEX_FILE, SCANN_RETRIEVER
from core.digest import file_sha256, json_digest
from core.errors import ConfigError, DataError, TesseraError
from core.files import read_json, write_json
from core.lock import LOCK_NAME, run_lock
from core.progress import track
from core.storage import ObjectStore, is_remote
from input_tables.contract import ITEMS
from input_tables.layout import TableSet, fingerprint, read_settings

MANIFEST = "_manifest.json"
_SCRATCH = "_scratch"
_LOG = logging.getLogger("tessera")


@dataclass(frozen=True)
class CandidateRequest:
    """What is wanted.

    Attributes:
      tables: whose users.
      time_unit: `seconds` or `order`.
      follows_max: most followed topics.
      now: moment of the requests; None: right after the newest event.
      day: of the partition; '' takes the moment's.
      only: ids of the only users that are wanted; None: all.
    """

    tables: TableSet
    time_unit: Literal["seconds", "order"]
    follows_max: int
    now: int | None = None
    day: str = ""
    only: frozenset[bytes] | None = None


def write_candidates(
    bundle: VerifiedBundle,
    asked: CandidateRequest,
    config: CandidatesConfig,
    make_pipeline: Callable[[], beam.Pipeline],
) -> dict[str, Any]:
    """Writes `<out>/day=YYYY-MM-DD/part-*.parquet` and its manifest.

    The day appears in one step (under a URL: its manifest is uploaded last). What a
    killed run had finished is taken up by the next one with the same question; a day
    that is there with the same question is left alone, with another one replaced.

    Args:
      bundle: who is asked.
      asked: what.
      config: how many candidates, and where they go.
      make_pipeline: makes a Beam pipeline.

    Returns:
      The content of the manifest.

    Raises:
      ConfigError: positions have no day and none is given.
      DataError: a table cannot be read.
      BundleError: the SavedModel does not answer.
    """
    if not config.out:
        raise ConfigError("candidates.out: say where the candidates go, a folder or a URL")
    if asked.time_unit == "order" and not asked.day:
        raise ConfigError("these tables have positions, no time: give the day of the candidates")
    out = _local(config.out)
    question = _question(bundle, asked, config)
    staging = out / f".candidates-{json_digest(question)}"
    staging.mkdir(parents=True, exist_ok=True)
    with run_lock(staging):
        parts = _prepared(bundle, asked, config, staging, make_pipeline)
        day = asked.day or _day(parts.moment.now or 0)
        there = _there(config.out, day, question)
        if there is not None:
            shutil.rmtree(staging)
            return there
        with clear_failure("candidates"), track("candidates"), make_pipeline() as pipeline:
            _ = (
                pipeline
                | "Buckets" >> beam.Create(list(range(parts.buckets)), reshuffle=False)
                | "SpreadBuckets" >> beam.Reshuffle()
                | "Answer" >> beam.ParDo(WritePart(parts))
            )
        manifest = _manifest(bundle, parts, day, question)
        _publish(staging, out / f"day={day}", manifest, config.out)
    _LOG.info("%s users, %s rows: %s/day=%s", manifest["users"], manifest["rows"], config.out, day)
    return manifest


def _prepared(
    bundle: VerifiedBundle,
    asked: CandidateRequest,
    config: CandidatesConfig,
    staging: Path,
    make_pipeline: Callable[[], beam.Pipeline],
) -> Parts:
    """Cuts the tables into buckets of users, or takes up what was cut."""
    scratch = str(staging / _SCRATCH)
    _, buckets = bucket_numbers(asked.tables, config.bucket_rows)
    settings = read_settings(asked.tables, asked.time_unit, features=bundle.manifest.features)
    plan = UserSplit(scratch, buckets, settings, asked.only)
    files = list(enumerate(file for file in asked.tables.files if file.table != ITEMS))
    with clear_failure("users"), track("users"), make_pipeline() as pipeline:
        _ = (
            pipeline
            | "Files" >> beam.Create(files, reshuffle=False)
            | "SpreadFiles" >> beam.Reshuffle()
            | "Split" >> beam.Map(split_file, plan)
        )
    now = asked.now
    if now is None and asked.time_unit != "order":
        now = latest_event(scratch) + 1
    served = read_json(bundle.path / INDEX_FILE)["serve"]
    scann = served == SCANN_RETRIEVER
    return Parts(
        scratch=scratch,
        folder=str(staging),
        buckets=buckets,
        moment=Moment(now, config.history_max_items, asked.follows_max),
        model=str(bundle.path / served if scann else bundle.path),
        scann=scann,
        num_results=config.num_results,
        batch_size=config.batch_size,
        features=bool(bundle.manifest.features),
    )


def _question(
    bundle: VerifiedBundle, asked: CandidateRequest, config: CandidatesConfig
) -> dict[str, Any]:
    """Returns what decides about every byte of the candidates."""
    only = None
    if asked.only is not None:
        only = hashlib.sha256(b"\n".join(sorted(asked.only))).hexdigest()
    return {
        "bundle": bundle.manifest.manifest_digest,
        "tables": fingerprint(asked.tables),
        "config": config.model_dump(exclude={"out"}),
        "now": asked.now,
        "day": asked.day,
        "follows_max": asked.follows_max,
        "only": only,
    }


def _manifest(
    bundle: VerifiedBundle, parts: Parts, day: str, question: dict[str, Any]
) -> dict[str, Any]:
    files, users, rows = {}, 0, 0
    for bucket in range(parts.buckets):
        path = parts.path(bucket)
        if not path.exists():
            raise TesseraError(f"{path}: was not written by the workers; they must reach {path}")
        about = pq.read_metadata(str(path))
        users, rows = users + int(about.metadata[USERS]), rows + about.num_rows
        files[path.name] = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
    return {
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "day": day,
        "now": parts.moment.now,
        "users": users,
        "rows": rows,
        "question": question,
        "files": files,
    }


def _publish(staging: Path, final: Path, manifest: dict[str, Any], out: str) -> None:
    """Lets the day appear; nothing half-written is ever visible."""
    shutil.rmtree(staging / _SCRATCH)
    for leftover in staging.glob(".part-*"):
        leftover.unlink()
    write_json(staging / MANIFEST, manifest)
    if is_remote(out):
        store = ObjectStore(f"{out.rstrip('/')}/{final.name}", DataError)
        store.delete([MANIFEST])  # of other candidates, which are replaced
        for name in [*manifest["files"], MANIFEST]:  # the manifest last
            store.upload(staging / name, name)
        store.delete(store.list().keys() - manifest["files"].keys() - {MANIFEST})
        shutil.rmtree(staging)
        return
    (staging / LOCK_NAME).unlink()
    old = final.with_name(f".old-{uuid.uuid4().hex}")
    if final.exists():
        os.rename(final, old)
    os.rename(staging, final)
    shutil.rmtree(old, ignore_errors=True)


def _there(out: str, day: str, question: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the manifest of a day that already answers the question."""
    if is_remote(out):
        text = ObjectStore(f"{out.rstrip('/')}/day={day}", DataError).read_if_there(MANIFEST)
        found = None if text is None else json.loads(text)
    else:
        path = Path(out) / f"day={day}" / MANIFEST
        found = read_json(path) if path.exists() else None
    return found if found is not None and found.get("question") == question else None


def _local(out: str) -> Path:
    """Returns where work is done: the folder itself, or one that stands for the URL."""
    if not is_remote(out):
        return Path(os.path.abspath(out))
    return Path(tempfile.gettempdir()) / f"tessera-candidates-{json_digest(out)}"


def _day(now: int) -> str:
    """Returns the day of the last second before a moment."""
    return dt.datetime.fromtimestamp(now - 1, dt.timezone.utc).date().isoformat()
