"""Reads request logs: the parts of `tessera serve`, and TensorFlow Serving's `PredictionLog`s."""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.user_ids import IdKey
from core.errors import DataError
from core.storage import ObjectStore, is_remote
from serving.request_log.record import SCHEMA, is_logged, records
from trainer import features

#: Folder of the parts of an hour, UTC.
_HOUR = re.compile(r"(?:^|/)hour=([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2})/")


@dataclass(frozen=True)
class LogWindow:
    """Which requests are read: those answered in [since, until), seconds since 1970."""

    since: float | None = None
    until: float | None = None

    def may_hold(self, name: str) -> bool:
        """Returns whether a file may hold such requests, as far as its folder's hour says."""
        found = _HOUR.search(name)
        if found is None:
            return True
        hour = datetime.strptime(found.group(1), "%Y-%m-%dT%H").replace(tzinfo=timezone.utc)
        start = hour.timestamp()
        return (self.until is None or start < self.until) and (
            self.since is None or start + 3600 > self.since
        )

    def mask(self, time: pa.ChunkedArray) -> pa.ChunkedArray:
        """Returns which of some times (`timestamp[ms]`) lie inside."""
        ms = time.cast(pa.int64())
        first = -(2**62) if self.since is None else round(self.since * 1000)
        end = 2**62 if self.until is None else round(self.until * 1000)
        return pc.and_(pc.greater_equal(ms, first), pc.less(ms, end))


@dataclass(frozen=True)
class RequestLog:
    """A log, or an even sample of it.

    Attributes:
      rows: of `record.SCHEMA`.
      total: requests in the window, sampled or not.
      skipped: records of a TensorFlow Serving that name no answer with items.
    """

    rows: pa.Table
    total: int
    skipped: int = 0


@dataclass
class _Reservoir:
    """An even sample of at most `limit` rows of a stream, the same one every time."""

    limit: int
    seen: int = 0
    kept: list[pa.Table] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(0)

    def add(self, row: pa.Table) -> None:
        self.seen += 1
        if len(self.kept) < self.limit:
            self.kept.append(row)
        elif (place := self._random.randrange(self.seen)) < self.limit:
            self.kept[place] = row


@contextmanager
def local_log(place: Path | str, window: LogWindow = LogWindow()) -> Iterator[Path]:
    """Yields the folder of a log; of one under a URL the hours of the window are copied.

    Args:
      place: folder or URL.
      window: which requests will be read.

    Raises:
      DataError: the store cannot be read, holds no file of the window, or the disk is full.
    """
    if not is_remote(place):
        yield Path(place)
        return
    store = ObjectStore(str(place), DataError)
    files = {name: size for name, size in store.list().items() if window.may_hold(name)}
    if not files:
        raise DataError(f"{store.url}: no request was logged here in this window")
    with tempfile.TemporaryDirectory(prefix="tessera-log-") as folder:
        store.download_all(files, Path(folder))
        yield Path(folder)


def read_log(
    folder: Path,
    window: LogWindow = LogWindow(),
    limit: int = 100_000,
    user_key: IdKey | None = None,
) -> RequestLog:
    """Reads a folder of Parquet parts, or else of TFRecord files with `PredictionLog` protos.

    Args:
      folder: files may lie at any depth; hidden ones are left out.
      window: which requests.
      limit: most rows; a larger log is sampled evenly.
      user_key: hashes the users whom TensorFlow Serving logs by their ids.

    Raises:
      DataError: no such folder, no file in it, or one that is no log.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; tessera serve --log-requests writes one")
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith((".", "_"))
    ]
    parts = [path for path in files if path.suffix == ".parquet"]
    if parts:
        return _of_parts(parts, window, limit)
    if files:
        return _of_records(files, window, limit, user_key)
    raise DataError(f"{folder}: no request was logged here")


def _of_parts(parts: list[Path], window: LogWindow, limit: int) -> RequestLog:
    """Reads the parts one by one and keeps an even share of each."""
    sizes = {path: _size(path, window) for path in parts}
    total = sum(sizes.values())
    rng = np.random.default_rng(0)
    chosen = np.ones(total, bool)
    if total > limit:
        chosen[:] = False
        chosen[rng.choice(total, limit, replace=False)] = True
    tables, start = [SCHEMA.empty_table()], 0
    for path, size in sizes.items():
        mask = chosen[start : start + size]
        start += size
        if mask.any():
            rows = _part(path, SCHEMA.names)
            tables.append(rows.filter(window.mask(rows["time"])).filter(pa.array(mask)))
    return RequestLog(pa.concat_tables(tables), total)


def _size(path: Path, window: LogWindow) -> int:
    return int(pc.sum(window.mask(_part(path, ["time"])["time"])).as_py() or 0)


def _part(path: Path, columns: list[str]) -> pa.Table:
    try:
        table = pq.ParquetFile(path).read(columns)
        missing = [name for name in columns if name not in table.column_names]
        if missing:
            raise DataError(f"{path}: no part of a request log: no column {', '.join(missing)}")
        wanted = pa.schema([SCHEMA.field(name) for name in columns])
        return table.select(columns).cast(wanted)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as a part of a request log: {error}") from error


def _of_records(
    files: list[Path], window: LogWindow, limit: int, user_key: IdKey | None
) -> RequestLog:
    sample, skipped = _Reservoir(limit), 0
    for log in _prediction_logs(files):
        rows = _rows(log, user_key)
        if rows is None:
            skipped += 1
            continue
        rows = rows.filter(window.mask(rows["time"]))
        for number in range(rows.num_rows):
            sample.add(rows.slice(number, 1))
    table = pa.concat_tables([SCHEMA.empty_table(), *sample.kept]).combine_chunks()
    return RequestLog(table, sample.seen, skipped)


def _prediction_logs(files: list[Path]) -> Iterator[Any]:
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    for path in files:
        try:
            for text in tf.data.TFRecordDataset([str(path)]).as_numpy_iterator():
                yield prediction_log_pb2.PredictionLog.FromString(text)
        except (tf.errors.OpError, DecodeError) as error:
            raise DataError(
                f"{path}: neither a Parquet part nor a TFRecord file of PredictionLog protos "
                f"({str(error).splitlines()[0]})"
            ) from error


def _rows(log: Any, user_key: IdKey | None) -> pa.Table | None:
    """Returns the rows of one record; None where it holds no answer with items."""
    from serving.server.errors import RequestError
    from serving.server.tensors import from_proto

    request, response = log.predict_log.request, log.predict_log.response
    if not is_logged(request.inputs, response.outputs):
        return None
    try:
        inputs = {name: from_proto(name, value) for name, value in request.inputs.items()}
        outputs = {name: from_proto(name, value) for name, value in response.outputs.items()}
        # A server that does not say when it answered: the request says for when it asked.
        moment = log.log_metadata.timestamp_secs or int(inputs[features.TIMESTAMP].flat[0])
        spec = response.model_spec
        return records(
            moment, spec.version.value, spec.signature_name, inputs, outputs, user_key, True
        )
    except (RequestError, KeyError, IndexError, ValueError):
        return None
