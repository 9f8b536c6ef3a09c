"""The topic that a target was retrieved for: logged, or derived from follows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.example_gen.arrays import run_starts
from components.example_gen.events import Events
from components.example_gen.follows import Follows, InForce


def source_topics(
    events: Events, row: np.ndarray, follows: Follows, followed: InForce
) -> tuple[pa.Array, np.ndarray]:
    """Returns each target's source topic and whether it was derived.

    Where none was logged, the first followed topic (newest first) that the target
    carries stands in.

    Args:
      events: ordered events.
      row: `[targets]` int64 rows of the targets.
      follows: prepared follows.
      followed: topics in force for each target.

    Returns:
      `[targets]` binary, null where there is none; and `[targets]` int64: 0 logged,
      1 derived, -1 none.
    """
    logged = events.source_topic[row]
    is_logged = logged < len(events.source_topics)
    origin = np.where(is_logged, 0, -1)
    derived = _derived(events.topics, events.item[row], follows.topics, followed)
    use = ~is_logged & (derived >= 0)
    origin[use] = 1
    values = pa.concat_arrays([events.source_topics, follows.topics])
    code = np.where(use, derived + len(events.source_topics), logged)
    return values.take(pa.array(code, mask=origin < 0)), origin


def _derived(
    item_topics: pa.Array, item: np.ndarray, topics: pa.Array, followed: InForce
) -> np.ndarray:
    """Returns the code `[targets]` of the first followed topic among the item's, or -1."""
    found = np.full(len(item), -1, np.int64)
    if not len(followed.topic):
        return found
    distinct, position = np.unique(item, return_inverse=True)
    lists = item_topics.take(pa.array(distinct))
    lengths = np.diff(np.asarray(lists.offsets))
    carried = np.repeat(np.arange(len(distinct)), lengths)
    stride = len(topics)
    codes = _codes_of(lists.flatten(), topics)
    known = codes >= 0
    keys = np.unique(carried[known] * stride + codes[known])
    if not len(keys):
        return found
    target = np.repeat(np.arange(len(item)), followed.lengths)
    wanted = position[target] * stride + followed.topic
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    hit = np.flatnonzero(keys[place] == wanted)
    first = hit[run_starts(target[hit])]
    found[target[first]] = followed.topic[first]
    return found


def _codes_of(values: pa.Array, topics: pa.Array) -> np.ndarray:
    """Returns the index of each value in `topics`, -1 where it is not there."""
    index = pc.index_in(values, value_set=topics)
    return np.asarray(index.fill_null(-1)).astype(np.int64)
