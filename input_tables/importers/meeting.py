"""Ids of two files that ought to be the same, told when they are not."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

#: Share of unknown ids from which they are a warning whatever the cause.
_TOO_MANY = 0.1


def unmet(wanted: pa.Array, known: pa.Array, what: str, where: str) -> str | None:
    """Returns a warning when ids are not found, with one of each side as an example.

    Args:
      wanted: ids that refer to others.
      known: the ids that there are.
      what: what the first ones are called, in the plural.
      where: where the others are.
    """
    asked, there = _unique(wanted), _unique(known)
    missing = asked.filter(pc.invert(pc.is_in(asked, value_set=there)))
    if not len(missing):
        return None
    told = f"{len(missing):,} of {len(asked):,} {what} are not in {where}"
    row = pc.index_in(_normal(missing), value_set=_normal(there))
    near = pc.is_valid(row)
    if pc.any(near).as_py():
        ours = missing.filter(near)[0].as_py()
        theirs = there[row.filter(near)[0].as_py()].as_py()
        return (
            f"{told}; {pc.sum(near).as_py():,} of them are there in another form: "
            f"{ours!r} here, {theirs!r} there"
        )
    if len(missing) < _TOO_MANY * len(asked):
        return None
    shown = f", where ids look like {there[0].as_py()!r}" if len(there) else ", which holds none"
    return f"{told}: for example {missing[0].as_py()!r}{shown}"


def _unique(ids: pa.Array) -> pa.Array:
    unique = ids.unique()
    return unique.combine_chunks() if isinstance(unique, pa.ChunkedArray) else unique


def _normal(ids: pa.Array) -> pa.Array:
    """Returns ids without what programs add, lose or change: `.0`, zeros, quotes, blanks, case."""
    bare = pc.utf8_trim(ids, " \t\u00a0='\"")
    bare = pc.replace_substring_regex(bare, r"^([0-9]+)\.0+$", r"\1")
    return pc.utf8_lower(pc.replace_substring_regex(bare, r"^0+([0-9])", r"\1"))
