"""Tables to one file per input and bucket of users, so that no step holds a table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from components.example_gen.columns import EVENT_SCHEMA, FOLLOW_SCHEMA, USER_SCHEMA, conform
from components.example_gen.partition import partition
from components.example_gen.reading import with_features
from input_tables.contract import ENGAGEMENTS, FOLLOWS, USERS, ReadSettings
from input_tables.layout import TableFile
from input_tables.reading import read_table

_SCHEMAS = {ENGAGEMENTS: EVENT_SCHEMA, FOLLOWS: FOLLOW_SCHEMA, USERS: USER_SCHEMA}
_LATEST = "latest"


class UserSplit(NamedTuple):
    """How tables are cut.

    Attributes:
      scratch: folder of the pieces; workers must reach it.
      buckets: number of buckets of users.
      settings: row checks; rows that break them are left out.
      only: ids of the only users that are wanted; None: all.
    """

    scratch: str
    buckets: int
    settings: ReadSettings
    only: frozenset[bytes] | None


def split_file(numbered: tuple[int, TableFile], plan: UserSplit) -> None:
    """Writes `<scratch>/<number>/<table>-<bucket>.arrow`; a folder that is there is complete."""
    number, file = numbered
    done = Path(plan.scratch) / str(number)
    if done.exists():
        return
    staging = Path(plan.scratch) / f".{number}-{os.getpid()}"
    staging.mkdir(parents=True, exist_ok=True)
    schema, latest = _SCHEMAS[file.table], 0
    wanted = None if plan.only is None else pa.array(sorted(plan.only), pa.large_binary())
    with ExitStack() as stack:
        writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        for batch, _ in read_table(file.path, file.table, plan.settings, name=file.name):
            if file.table == USERS:
                table = with_features(batch, plan.settings.features.users, schema)
            else:
                table = conform(batch, schema)
            if file.table == ENGAGEMENTS and table.num_rows:
                latest = max(latest, pc.max(table.column("timestamp")).as_py())
            if wanted is not None:
                table = table.filter(pc.is_in(table.column("user_id"), value_set=wanted))
            for bucket, rows in partition(table, "user_id", plan.buckets):
                if bucket not in writers:
                    path = staging / f"{file.table}-{bucket:05d}.arrow"
                    writers[bucket] = stack.enter_context(pa.ipc.new_stream(str(path), schema))
                writers[bucket].write_batch(rows)
    (staging / _LATEST).write_text(str(latest))
    os.rename(staging, done)


def latest_event(scratch: str) -> int:
    """Returns the newest time of anybody's engagement, 0 without any."""
    return max((int(p.read_text()) for p in Path(scratch).glob(f"*/{_LATEST}")), default=0)


def pieces(scratch: str, table: str, bucket: int) -> Iterator[pa.Table]:
    """Yields the rows of one bucket, always in the same order."""
    for path in sorted(Path(scratch).glob(f"[0-9]*/{table}-{bucket:05d}.arrow")):
        with pa.OSFile(str(path)) as source:
            for batch in pa.ipc.open_stream(source):
                yield pa.Table.from_batches([batch])
