"""New, changed and withdrawn items beside an index that stays as it is.

A retriever with `retrieval.delta` reads a small file when it is loaded, an asset of its
SavedModel: items that are searched exactly, and rows of the index that are no longer brought.
Rows of the delta follow those of the index. To publish another catalogue, only that file is
written anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import tensorflow as tf

from core.errors import ExportError
from trainer.retrieval.block_search import BlockSearch
from trainer.retrieval.filters import Attributes, marked
from trainer.retrieval.search import take_rows
from trainer.retrieval.slices import SliceSearch

#: Name of the file among the assets of a SavedModel.
DELTA_ASSET = "delta"
#: Strings are found by a hash of 62 bits: a table cannot be filled anew when a model is loaded
#: twice in one process.
_HASH = 1 << 62

Columns = Mapping[str, Literal["text", "number"]]


class Texts(NamedTuple):
    """Texts that items carry, without a Python list for each of the items.

    Attributes:
      values: `[any]` texts of all items, one behind the other.
      lengths: `[items]` int64, how many of them each item has.
    """

    values: Sequence[bytes] | np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, lists: Sequence[Sequence[bytes]]) -> Texts:
        """Returns the texts of a list for each item."""
        lengths = np.fromiter(map(len, lists), np.int64, len(lists))
        return cls([text for each in lists for text in each], lengths)


class DeltaItems(NamedTuple):
    """What a delta changes.

    Attributes:
      ids: new and changed items, distinct.
      topics: of each of them.
      vectors: `[changed, dim]` float32, finite.
      gone: `[any]` int32 rows of the index that are withdrawn or changed.
      attributes: of the changed items; None without filters.
    """

    ids: Sequence[bytes]
    topics: Texts
    vectors: np.ndarray
    gone: np.ndarray
    attributes: Attributes | None = None


def no_items(dim: int, columns: Columns) -> DeltaItems:
    """Returns a delta that changes nothing."""
    texts: dict[str, list[list[bytes]]] = {
        name: [] for name, kind in columns.items() if kind == "text"
    }
    numbers = {name: np.zeros(0) for name, kind in columns.items() if kind == "number"}
    vectors, gone = np.zeros((0, dim), np.float32), np.zeros(0, np.int32)
    return DeltaItems([], Texts.of([]), vectors, gone, Attributes(texts, numbers))


def write_delta(items: DeltaItems, columns: Columns, path: Path) -> None:
    """Writes the file that `Delta` reads.

    Args:
      items: the changes.
      columns: what requests filter by, as the retriever was made with.
      path: of the file.

    Raises:
      ExportError: two strings have one hash (about once in 10^8 deltas).
    """
    parts = [serialized for part in _parts(items, columns) for serialized in part]
    tensors = [tf.io.serialize_tensor(tf.convert_to_tensor(part)).numpy() for part in parts]
    path.write_bytes(tf.io.serialize_tensor(tf.constant(tensors, tf.string)).numpy())


def _parts(items: DeltaItems, columns: Columns) -> Iterator[tuple[np.ndarray | tf.Tensor, ...]]:
    """Yields the tensors in the order in which `Delta.load` reads them."""
    yield (
        tf.constant(list(items.ids), tf.string, [len(items.ids)]),
        np.asarray(items.vectors, np.float32),
        np.asarray(items.gone, np.int32),
    )
    yield _grouped(Texts(items.ids, np.ones(len(items.ids), np.int64)))
    yield _grouped(items.topics)
    given = items.attributes or Attributes({}, {})
    for name, kind in columns.items():
        if kind == "text":
            yield _grouped(Texts.of(given.texts[name]))
        else:
            yield (np.asarray(given.numbers[name], np.float64),)


def _grouped(texts: Texts) -> tuple[np.ndarray, ...]:
    """Returns hashes of the distinct texts, rising, and the rows that carry each once."""
    values = np.asarray(texts.values, object)
    row = np.repeat(np.arange(len(texts.lengths)), texts.lengths)
    there = values != b""
    values, row = values[there], row[there]
    hashes = tf.strings.to_hash_bucket_fast(tf.constant(values, tf.string, [len(values)]), _HASH)
    keys, code = np.unique(hashes.numpy(), return_inverse=True)
    if len(keys) != len(set(values.tolist())):
        raise ExportError(
            "two strings of the delta have the same hash: run the ordinary refresh instead"
        )
    items = max(1, len(texts.lengths))
    code, row = np.divmod(np.unique(code * items + row), items)
    starts = np.concatenate([[0], np.cumsum(np.bincount(code, minlength=len(keys)))])
    return keys.astype(np.int64), starts.astype(np.int32), row.astype(np.int32)


class Groups(tf.Module):
    """Rows of the delta by a string that they carry."""

    def __init__(self) -> None:
        """Makes empty groups."""
        super().__init__(name="groups")
        self.keys, self.starts, self.rows = _room(tf.int64), _room(tf.int32), _room(tf.int32)

    def variables_in_order(self) -> list[tf.Variable]:
        """Returns what `_grouped` gives values for."""
        return [self.keys, self.starts, self.rows]

    def group(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the number of each string's group, int32 of the same shape; -1 for none."""
        hashes = tf.strings.to_hash_bucket_fast(values, _HASH)
        keys = tf.convert_to_tensor(self.keys)
        place = tf.searchsorted(keys, tf.reshape(hashes, [-1]))
        place = tf.reshape(place, tf.shape(values))
        # A key more, that no hash equals: an empty list has groups to compare with as well.
        same = tf.equal(tf.gather(tf.pad(keys, [[0, 1]], constant_values=-1), place), hashes)
        return tf.where(same, place, -tf.ones_like(place))

    def mask(self, values: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Returns which rows carry any of some strings, `[items]` bool."""
        group = self.group(values)
        group = tf.boolean_mask(group, group >= 0)
        starts = tf.convert_to_tensor(self.starts)
        places = tf.ragged.range(tf.gather(starts, group), tf.gather(starts, group + 1))
        return marked(take_rows(self.rows, places.flat_values), items)


class _Filled(tf.saved_model.experimental.TrackableResource):
    """Has the file read whenever the SavedModel is loaded; the resource itself is never used."""

    def __init__(self, delta: Delta) -> None:
        super().__init__()
        self._load = lambda: delta.load(delta.asset.asset_path)

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.VarHandleOp(dtype=tf.bool, shape=[], shared_name="delta-filled")

    def _initialize(self) -> None:
        self._load()

    def _destroy_resource(self) -> None:
        """Leaves the handle alone: other models of the process share it."""


class Delta(tf.Module):
    """What the file says, in variables."""

    def __init__(self, path: str, items: int, dim: int, columns: Columns) -> None:
        """Reads a file.

        Args:
          path: of a file that `write_delta` wrote.
          items: of the index.
          dim: of the vectors.
          columns: what requests filter by: name -> `text` or `number`.
        """
        super().__init__(name="delta")
        self.items = items
        self.ids = _room(tf.string)
        self.vectors = _room(tf.float32, [dim])
        self.gone = _room(tf.int32)
        self.by_id, self.by_topic = Groups(), Groups()
        self.texts = {name: Groups() for name, kind in columns.items() if kind == "text"}
        self.numbers = {name: _room(tf.float64) for name, k in columns.items() if k == "number"}
        self._columns = dict(columns)
        #: Which rows may be brought: those of the index, then those of the delta.
        self.live = _room(tf.bool)
        self.share = tf.Variable(1.0, trainable=False)
        self.exact = BlockSearch(self.vectors)
        self.of_topic = SliceSearch.gathered(self.vectors, self.by_topic.starts, self.by_topic.rows)
        self.asset = tf.saved_model.Asset(path)
        self.load(tf.constant(path))
        self.filled = _Filled(self)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.string, name="path")])
    def load(self, path: tf.Tensor) -> tf.Tensor:
        """Takes over what a file says; returns the number of its items."""
        parts = tf.io.parse_tensor(tf.io.read_file(path), tf.string)
        for number, variable in enumerate(self._in_order()):
            variable.assign(tf.io.parse_tensor(parts[number], variable.dtype))
        gone = marked(tf.convert_to_tensor(self.gone), self.items)
        changed = tf.shape(self.vectors)[0]
        self.live.assign(tf.concat([~gone, tf.fill([changed], True)], axis=0))
        kept = tf.reduce_sum(tf.cast(~gone, tf.float32))
        self.share.assign(tf.maximum(kept, 1.0) / float(self.items))
        return changed

    def _in_order(self) -> Iterator[tf.Variable]:
        yield from (self.ids, self.vectors, self.gone)
        yield from self.by_id.variables_in_order()
        yield from self.by_topic.variables_in_order()
        for name in self._columns:
            if name in self.texts:
                yield from self.texts[name].variables_in_order()
            else:
                yield self.numbers[name]

    def size(self) -> tf.Tensor:
        """Returns the number of new and changed items, scalar int32."""
        return tf.shape(self.vectors)[0]

    def empty(self) -> tf.Tensor:
        """Returns whether nothing differs from the index, scalar bool."""
        return tf.equal(tf.size(self.gone) + self.size(), 0)

    def rows_of(self, item_id: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Returns the rows of items, -1 for unknown and withdrawn ones.

        Args:
          item_id: string of any shape.
          rows: int32 of that shape, rows of the index, -1 for items that it lacks.
        """

        def changed() -> tf.Tensor:
            live = (rows >= 0) & take_rows(self.live, tf.maximum(rows, 0))
            own = tf.where(live, rows, -tf.ones_like(rows))
            group = self.by_id.group(item_id)
            found = tf.gather(tf.pad(self.by_id.rows, [[0, 1]]), tf.maximum(group, 0))
            same = (group >= 0) & tf.equal(self._ids(found), item_id)
            return tf.where(same, self.items + found, own)

        return tf.cond(self.empty(), lambda: rows, changed)

    def ids_of(self, rows: tf.Tensor, ids: tf.Variable) -> tf.Tensor:
        """Returns the ids of rows, all of them 0 or more; `ids` are those of the index."""

        def changed() -> tf.Tensor:
            own = tf.gather(ids, tf.minimum(rows, self.items - 1))
            return tf.where(rows < self.items, own, self._ids(tf.maximum(rows - self.items, 0)))

        return tf.cond(self.empty(), lambda: tf.gather(ids, rows), changed)

    def _ids(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns ids of rows of the delta; '' where it has no items at all."""
        return tf.cond(
            self.size() > 0,
            lambda: take_rows(self.ids, rows),
            lambda: tf.fill(tf.shape(rows), ""),
        )


def _room(dtype: tf.DType, inner: Sequence[int] = ()) -> tf.Variable:
    """Returns a variable for a list of any length."""
    return tf.Variable(
        tf.zeros([0, *inner], dtype), trainable=False, shape=tf.TensorShape([None, *inner])
    )
