"""Real requests of the held-out users: a seeded sample of the raw examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.examples_io import count_rows, padded, read_split, split_files
from components.requests import USER_COLUMNS, user_request
from components.user_ids import required_key
from core.errors import DataError
from core.files import staged_file
from trainer import features

#: Splits that requests are taken from; the first one that holds any is used.
SPLITS = (features.EVAL_SPLIT, features.VALIDATION_SPLIT)
_COLUMNS = (features.USER_ID, *USER_COLUMNS)
_STRINGS = (
    features.HISTORY_ITEM_ID,
    features.HISTORY_ACTION,
    features.FOLLOWED_TOPIC,
    features.USER_VALUES,
)


def sample_requests(examples_uri: str, count: int, seed: int) -> tuple[str, pa.Table]:
    """Returns a uniform sample without replacement, in the order of the split.

    Args:
      examples_uri: raw examples.
      count: most requests.
      seed: of the sample.

    Returns:
      The split's name and the raw columns `user_id` and those of a request; `''` and an
      empty table when no split has examples.

    Raises:
      DataError: a file of the split is damaged or lacks a column.
    """
    for split in SPLITS:
        total = _rows(examples_uri, split)
        if total:
            wanted = np.sort(np.random.default_rng(seed).permutation(total)[:count])
            return split, _take(examples_uri, split, wanted)
    return "", pa.table({})


def request_of(table: pa.Table, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Returns some rows of a sample as inputs of `retrieve`, `user_id` among them.

    Args:
      table: what `sample_requests` returned.
      rows: places in it, at least one.

    Returns:
      Arrays by name; see `components.requests.user_request`.
    """
    batch = table.take(pa.array(rows)).combine_chunks().to_batches()[0]
    user_id = padded(batch, features.USER_ID, 1, b"")[:, 0]
    return {**user_request(batch), features.USER_ID: user_id}


def kept_requests(sample: pa.Table, mode: str, item_ids: Sequence[bytes], seed: int) -> pa.Table:
    """Returns a sample as it may be seen in the bundle.

    Args:
      sample: what `sample_requests` returned, at least one row.
      mode: `plain`; `hashed`: other ids; `none`: requests of nobody, as long as the real ones,
        with items of the catalogue drawn by chance, evenly spaced and without followed topics.
      item_ids: of the catalogue, at least one.
      seed: of what is drawn.

    Raises:
      ConfigError: ids must be hashed and there is no key.
    """
    if mode == "plain":
        return sample
    if mode == "hashed":
        plain = _first(sample, features.USER_ID).cast(pa.string())
        hashed = required_key().hashed_all(plain)
        return _with(sample, features.USER_ID, _listed(hashed.cast(pa.large_binary())))
    return _made_up(sample, item_ids, seed)


def _made_up(sample: pa.Table, item_ids: Sequence[bytes], seed: int) -> pa.Table:
    """Returns requests of nobody; see `kept_requests`."""
    draw = np.random.default_rng(seed)
    lists = sample[features.HISTORY_ITEM_ID].combine_chunks()
    lengths = np.asarray(lists.value_lengths().fill_null(0)).astype(np.int64)
    total, rows = int(lengths.sum()), sample.num_rows
    items = pa.array(list(item_ids), pa.large_binary()).take(
        pa.array(draw.integers(len(item_ids), size=total))
    )
    starts = np.concatenate([[0], np.cumsum(lengths)])
    newest_first = np.arange(total) - np.repeat(starts[:-1], lengths)
    offsets = pa.array(starts, pa.int64())
    actions = sample[features.HISTORY_ACTION].combine_chunks().flatten()
    action = actions[:1] if len(actions) else pa.array([b""], pa.large_binary())
    nothing = pa.array(np.zeros(rows + 1, np.int64))
    made_up = {
        features.USER_ID: _listed(pa.chunked_array([pa.array([b""] * rows, pa.large_binary())])),
        features.TIMESTAMP: _listed(pa.chunked_array([pa.array([total + 1] * rows, pa.int64())])),
        features.HISTORY_ITEM_ID: pa.LargeListArray.from_arrays(offsets, items),
        features.HISTORY_TIMESTAMP: pa.LargeListArray.from_arrays(
            offsets, pa.array(total - newest_first, pa.int64())
        ),
        features.HISTORY_ACTION: pa.LargeListArray.from_arrays(
            offsets, action.take(pa.array(np.zeros(total, np.int64)))
        ),
        **dict.fromkeys(
            (features.FOLLOWED_TOPIC, features.USER_VALUES),
            pa.LargeListArray.from_arrays(nothing, pa.array([], pa.large_binary())),
        ),
    }
    return pa.table({name: made_up[name] for name in sample.column_names})


def _with(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def _listed(column: pa.ChunkedArray) -> pa.Array:
    """Returns a column as lists of one value."""
    offsets = pa.array(np.arange(len(column) + 1), pa.int64())
    return pa.LargeListArray.from_arrays(offsets, column.combine_chunks())


def write_requests(table: pa.Table, path: Path) -> None:
    """Writes a sample as plain columns: strings, int64 and lists of them, newest first."""
    columns = {
        features.USER_ID: _first(table, features.USER_ID).cast(pa.string()),
        features.TIMESTAMP: _first(table, features.TIMESTAMP).cast(pa.int64()),
        features.HISTORY_TIMESTAMP: table[features.HISTORY_TIMESTAMP].cast(pa.list_(pa.int64())),
    }
    for name in (name for name in _STRINGS if name in table.column_names):
        columns[name] = table[name].cast(pa.list_(pa.binary())).cast(pa.list_(pa.string()))
    with staged_file(path) as staging:
        pq.write_table(pa.table({name: columns[name] for name in table.column_names}), staging)


def _first(table: pa.Table, column: str) -> pa.ChunkedArray:
    """Returns the only value of each row of a list column."""
    return pa.chunked_array([pa.compute.list_element(table[column].combine_chunks(), 0)])


def _rows(examples_uri: str, split: str) -> int:
    try:
        split_files(examples_uri, split)
    except DataError:
        return 0  # a refresh has no eval split
    return count_rows(examples_uri, split)


def _take(examples_uri: str, split: str, wanted: np.ndarray) -> pa.Table:
    parts: list[pa.Table] = []
    start = 0
    for batch in read_split(examples_uri, split, list(_COLUMNS)):
        inside = wanted[(wanted >= start) & (wanted < start + batch.num_rows)] - start
        start += batch.num_rows
        if len(inside):
            found = [name for name in _COLUMNS if name in batch.schema.names]
            table = pa.Table.from_batches([batch]).select(found)
            parts.append(table.take(pa.array(inside)))
    return pa.concat_tables(parts).combine_chunks()
