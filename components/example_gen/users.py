"""What is known of the users of one bucket: the texts `name=value` of their features."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.example_gen.arrays import coded, combined, lists, run_starts
from components.example_gen.columns import USER_SCHEMA

_BETWEEN = pa.scalar(b"\xff", pa.large_binary())


def user_values(tables: Iterable[pa.Table], user_ids: pa.Array) -> pa.LargeListArray:
    """Returns `[users]` lists of texts, none for a user without a row.

    Of several rows of a user the one with the most values stays, then the one whose values sort
    first, whatever the order of the rows.

    Args:
      tables: rows of `USER_SCHEMA`, any order.
      user_ids: distinct users.
    """
    table = pa.concat_tables([USER_SCHEMA.empty_table(), *tables])
    values = combined(table.column("features"))
    user = coded(table.column("user_id"))
    fewer = -np.asarray(pc.list_value_length(values))
    text = coded(pc.binary_join(values, _BETWEEN)).codes
    order = np.lexsort((text, fewer, user.codes))
    first = order[run_starts(user.codes[order])] if len(order) else order
    place = pc.index_in(user_ids, value_set=user.values)
    found = values.take(pa.array(first)).take(place)
    lengths = np.asarray(pc.list_value_length(found).fill_null(0))
    return lists(found.flatten(), lengths)
