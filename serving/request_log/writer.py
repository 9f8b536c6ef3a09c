"""Writes the request log: Parquet parts by the hour, each of them in one step."""

from __future__ import annotations

import logging
import os
import queue
import random
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.user_ids import IdKey
from core.files import staged_file
from serving.request_log.record import OUTPUTS, SCHEMA, is_logged, records

_log = logging.getLogger("tessera")
#: Rows that may wait for the writer; what comes above is dropped and counted.
_MOST_WAITING_ROWS = 20_000
_PART_ROWS = 10_000


class _Entry(NamedTuple):
    time_s: float
    version: int
    signature: str
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    rows: int


class RequestLog:
    """A log that requests are handed to; a thread of its own writes it.

    `record` may be called from any number of threads and holds up none of them.
    """

    def __init__(
        self, folder: Path, rate: float = 1.0, user_key: IdKey | None = None, flush_s: float = 60.0
    ) -> None:
        """Starts the thread.

        Args:
          folder: parts go to `<folder>/hour=YYYY-MM-DDTHH/part-*.parquet` (UTC).
          rate: share of the requests that is logged, 0 to 1.
          user_key: see `record.records`.
          flush_s: seconds after which a part is written though it is not full.

        Raises:
          OSError: the folder cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._rate, self._user_key, self._flush_s = folder, rate, user_key, flush_s
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        #: Rows that were not written, for want of room or of a disk.
        self.dropped = 0
        self._thread = threading.Thread(target=self._write, name="request-log", daemon=True)
        self._thread.start()

    def record(
        self,
        version: int,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Mapping[str, np.ndarray],
    ) -> None:
        """Takes one answered request; those that recommend nothing are left out."""
        if not is_logged(inputs, outputs) or random.random() >= self._rate:
            return
        kept = {name: outputs[name] for name in OUTPUTS}
        rows = len(kept["item_id"])
        with self._lock:
            if self._waiting + rows > _MOST_WAITING_ROWS:
                self.dropped += rows
                return
            self._waiting += rows
        self._queue.put(_Entry(time.time(), version, signature, dict(inputs), kept, rows))

    def close(self) -> None:
        """Writes what is waiting and ends the thread."""
        self._queue.put(None)
        self._thread.join()
        if self.dropped:
            _log.warning("request log: %d rows were dropped", self.dropped)

    def _write(self) -> None:
        tables: list[pa.Table] = []
        due = time.monotonic() + self._flush_s
        while True:
            try:
                entry = self._queue.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                entry = None
                ended = False
            else:
                ended = entry is None
            if entry is not None:
                tables.extend(self._rows_of(entry))
            full = sum(table.num_rows for table in tables) >= _PART_ROWS
            if ended or full or time.monotonic() >= due:
                self._flush(tables)
                tables = []
                due = time.monotonic() + self._flush_s
            if ended:
                return

    def _rows_of(self, entry: _Entry) -> list[pa.Table]:
        with self._lock:
            self._waiting -= entry.rows
        try:
            return [records(*entry[:-1], user_key=self._user_key)]
        except Exception:
            # The answer is out by now; a log that cannot take it must not end the thread.
            _log.exception("request log: a request could not be recorded")
            self.dropped += entry.rows
            return []

    def _flush(self, tables: list[pa.Table]) -> None:
        if not tables:
            return
        rows = pa.concat_tables([SCHEMA.empty_table(), *tables])
        hours = pc.divide(rows["time"].cast(pa.int64()), 3_600_000)
        for hour in pc.unique(hours).to_pylist():
            part = rows.filter(pc.equal(hours, hour))
            try:
                self._write_part(part, hour)
            except OSError as error:
                self.dropped += part.num_rows
                _log.warning("request log: %d rows are lost: %s", part.num_rows, error)

    def _write_part(self, part: pa.Table, hour: int) -> None:
        name = datetime.fromtimestamp(hour * 3600, timezone.utc).strftime("hour=%Y-%m-%dT%H")
        part_name = f"part-{time.time_ns()}-{os.getpid()}-{uuid.uuid4().hex[:6]}.parquet"
        with staged_file(self._folder / name / part_name) as staging:
            pq.write_table(part, staging, compression="zstd")
