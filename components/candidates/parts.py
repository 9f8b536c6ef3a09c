"""One bucket of users to one Parquet file, through the served graph."""

from __future__ import annotations

import os
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.candidates.answer import OUTPUTS, SCHEMA, rows
from components.candidates.requests import Moment, batches, users_of
from components.candidates.split import pieces
from core.errors import BundleError
from input_tables.contract import ENGAGEMENTS, FOLLOWS
from input_tables.contract import USERS as USER_TABLE
from trainer import features

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

#: Key of the file's metadata that holds the number of users of its bucket.
USERS = b"users"


class Parts(NamedTuple):
    """What every part is made with.

    Attributes:
      scratch: folder of the pieces.
      folder: of the parts.
      buckets: number of parts.
      moment: when users ask.
      model: folder of the served SavedModel.
      scann: it holds ScaNN's ops.
      num_results: items per user.
      batch_size: users per call.
      features: the model has features, so that users have pieces of their own table.
    """

    scratch: str
    folder: str
    buckets: int
    moment: Moment
    model: str
    scann: bool
    num_results: int
    batch_size: int
    features: bool = False

    def path(self, bucket: int) -> Path:
        """Returns the file of a bucket."""
        return Path(self.folder) / f"part-{bucket:05d}-of-{self.buckets:05d}.parquet"


class WritePart(beam.DoFn):
    """Answers the users of a bucket; a part that is there is complete and stays."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._retrieve: Any = None

    def process(self, bucket: int) -> None:
        """Writes one part under another name and lets it appear in one step."""
        parts, path = self._parts, self._parts.path(bucket)
        if path.exists():
            return
        users = users_of(
            pieces(parts.scratch, ENGAGEMENTS, bucket),
            pieces(parts.scratch, FOLLOWS, bucket),
            parts.moment,
            pieces(parts.scratch, USER_TABLE, bucket) if parts.features else None,
        )
        staging = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
        schema = SCHEMA.with_metadata({USERS: str(len(users.ids)).encode()})

        def answered(batch: tuple[slice, dict[str, np.ndarray]]) -> pa.Table:
            part, inputs = batch
            return rows(users.ids[part], inputs[features.HISTORY_ITEM_ID], self._ask(inputs))

        self._load()  # before threads ask
        with pq.ParquetWriter(str(staging), schema, compression="zstd") as writer:
            for found in in_order(answered, batches(users, parts.batch_size), _threads()):
                writer.write_table(found)
        os.replace(staging, path)

    def _load(self) -> None:
        from components.evaluator.replay import load_signature

        if self._retrieve is None:
            self._retrieve = load_signature(self._parts.model, self._parts.scann)

    def _ask(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        import tensorflow as tf

        wanted = np.full(len(inputs[features.TIMESTAMP]), self._parts.num_results, np.int32)
        try:
            given = self._retrieve(
                **{name: tf.constant(value) for name, value in inputs.items()}, num_results=wanted
            )
        except (TypeError, ValueError, tf.errors.OpError) as error:
            raise BundleError(
                f"{self._parts.model}: `retrieve` does not answer: {error}"
            ) from error
        return {name: given[name].numpy() for name in OUTPUTS}


def in_order(
    work: Callable[[_Item], _Result], items: Iterable[_Item], threads: int
) -> Iterator[_Result]:
    """Yields the results of `work` in the order of the items.

    As many are worked on as there are threads, and one more waits: results never pile up.
    """
    waiting: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _threads() -> int:
    return len(os.sched_getaffinity(0))
