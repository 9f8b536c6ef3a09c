"""How the ids of one person are found in tables, protobufs and text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.user_ids import IdKey, key_of
from core.errors import DataError
from trainer import features


class Finding(NamedTuple):
    """A place that holds something of the person.

    Attributes:
      kind: `bundle`, `candidates`, `artifact`, `dead letters`, `request log`, or `unclear` (ids
        hashed with another key), `look` (what is not changed, for example a text with the id).
      path: file or folder.
      what: in words.
    """

    kind: str
    path: str
    what: str


@dataclass(frozen=True)
class Person:
    """A user by the plain id and, where a key is at hand, the hashed one."""

    user_id: str
    key: IdKey | None = None

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids under which the user may be stored."""
        return (
            (self.user_id,) if self.key is None else (self.user_id, self.key.hashed(self.user_id))
        )

    def rows(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Returns `[rows]` bool, true where a column of ids (or lists of one id) names the user."""
        kind = column.type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            offsets = [_firsts(chunk) for chunk in column.chunks]
            column = pa.chunked_array(offsets, kind.value_type)
        wanted = pa.array([text.encode() for text in self.ids], pa.binary())
        found = pc.is_in(column.cast(pa.binary()), value_set=wanted)
        return pc.fill_null(found, False)

    def other_keys(self, column: pa.ChunkedArray) -> int:
        """Returns how many ids of a column are hashed with a key that is not at hand."""
        own = None if self.key is None else self.key.fingerprint
        keys = {
            id_: key_of(id_) for id_ in column.cast(pa.string()).drop_null().unique().to_pylist()
        }
        return sum(key is not None and key != own for key in keys.values())

    def in_protobuf(self, content: bytes) -> bool:
        """Returns whether the user is a text of a serialised message: its length, then itself."""
        return any(_length(text.encode()) + text.encode() in content for text in self.ids)

    def in_text(self, text: str) -> bool:
        """Returns whether an id stands in a text, not as a part of a longer word."""
        return self._words.search(text) is not None

    @cached_property
    def _words(self) -> re.Pattern[str]:
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, self.ids))})(?!\w)")


def read_users(path: Path) -> pa.ChunkedArray | None:
    """Returns the column `user_id` of a Parquet file, None where it has none.

    Raises:
      DataError: the file cannot be read.
    """
    try:
        if features.USER_ID not in pq.read_schema(path).names:
            return None
        return pq.read_table(path, columns=[features.USER_ID])[features.USER_ID]
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}; remove it") from error


def _firsts(lists: pa.Array) -> pa.Array:
    """Returns the first value of each list, null where there is none."""
    some = pc.greater(pc.list_value_length(lists), 0)
    empty = pa.scalar([None], lists.type)
    return pc.list_element(pc.if_else(some, lists, empty), 0)


def _length(text: bytes) -> bytes:
    """Returns the length of a text as protobuf writes it."""
    number, out = len(text), bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
