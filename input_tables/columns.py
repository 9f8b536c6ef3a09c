"""Checks and conversions of single columns, for `input_tables.rows`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from input_tables.blocks import SENTINEL
from input_tables.contract import (
    LIST_SEPARATOR,
    MAX_ID_BYTES,
    MAX_TITLE_BYTES,
    TOPIC_SEPARATOR,
    Column,
)
from input_tables.faults import Faults

_INT64_MAX = np.iinfo(np.int64).max
#: A whole number, as some programs write it: spaces around, `.0` behind.
_WHOLE_NUMBER = r"^\s*([+-]?)0*([0-9]{1,18})(\.0*)?\s*$"


#: What programs write where an id is missing.
_PLACEHOLDERS = pa.array(
    [
        form(word).encode()
        for word in ("nan", "none", "null", "nat", "n/a", "#n/a", "<na>", "undefined")
        for form in (str.lower, str.upper, str.capitalize)
    ]
    + [b"NaN", b"NaT", b"\\N", b"<na>", b"(null)"],
    pa.binary(),
)
_LONGEST_PLACEHOLDER = 16  # ids rounded by a spreadsheet are no longer
_ROUNDED = r"^\s*[+-]?[0-9]+([.,][0-9]+)?[eE]\+[0-9]+\s*$"


def clean_text(array: pa.Array, column: Column, faults: Faults, sentinel: bool) -> pa.Array:
    """Returns `[rows]` binary; empty values of nullable columns become null."""
    array = as_binary(array)
    lengths = pc.binary_length(array).fill_null(0)
    shortest, longest = _extremes(lengths)
    limit = MAX_ID_BYTES if column.kind == "id" else MAX_TITLE_BYTES
    if shortest == 0:
        empty = pc.equal(lengths, 0)
        if column.nullable:
            array = pc.if_else(empty, pa.scalar(None, pa.binary()), array)
        else:
            faults.flag(_numpy(empty), f"{column.name} is empty")
    if longest > limit:
        long = _numpy(pc.greater(lengths, limit))
        faults.flag(long, f"{column.name} is longer than {limit} bytes")
    if column.kind == "id" and shortest <= _LONGEST_PLACEHOLDER:
        array = _without_placeholders(array, column, faults)
    faults.flag(invalid_utf8(array, sentinel), f"{column.name} is not valid UTF-8")
    return array


def _without_placeholders(array: pa.Array, column: Column, faults: Faults) -> pa.Array:
    """Flags what programs write for a missing id, and ids that a spreadsheet has rounded."""
    missing = pc.is_in(array, value_set=_PLACEHOLDERS)
    if column.nullable:
        array = pc.if_else(missing, pa.scalar(None, pa.binary()), array)
    else:
        reason = f"{column.name} is a placeholder for a missing value (nan, None, null, \\N)"
        faults.flag(_numpy(missing), reason)
    power = pc.match_substring(array, b"E+", ignore_case=True).fill_null(False)
    if pc.any(power).as_py():
        rounded = _numpy(pc.match_substring_regex(array, _ROUNDED).fill_null(False))
        faults.flag(rounded, f"{column.name} is a number that a spreadsheet rounded (1.23457E+12)")
    return array


def parse_time(array: pa.Array, column: Column, faults: Faults, sentinel: bool) -> pa.Array:
    """Returns `[rows]` int64; values that are no whole number are flagged and null."""
    if pa.types.is_integer(array.type):
        if pa.types.is_uint64(array.type):
            large = pc.greater(array, pa.scalar(_INT64_MAX, pa.uint64())).fill_null(False)
            faults.flag(_numpy(large), f"{column.name} is not a whole number of 64 bits")
            array = pc.if_else(large, pa.scalar(0, pa.uint64()), array)
        times = array.cast(pa.int64())
    else:
        times = _parse_text_time(as_binary(array), column, faults, sentinel)
    if times.null_count and not column.nullable:
        faults.flag(_numpy(times.is_null()), f"{column.name} is empty")
    return times


def _parse_text_time(array: pa.Array, column: Column, faults: Faults, sentinel: bool) -> pa.Array:
    if sentinel:
        faults.flag(invalid_utf8(array, True), f"{column.name} is not valid UTF-8")
    text = array.cast(pa.string())
    empty = pc.equal(pc.binary_length(text), 0).fill_null(True)
    text = pc.if_else(empty, pa.scalar(None, pa.string()), text)
    if pc.all(pc.ascii_is_decimal(text)).as_py() is not False:
        longest = pc.max(pc.binary_length(text)).as_py() or 0
        if longest <= 18:
            return text.cast(pa.int64())
    whole = pc.match_substring_regex(text, _WHOLE_NUMBER).fill_null(True)
    faults.flag(~_numpy(whole), f"{column.name} is not a whole number")
    plain = pc.replace_substring_regex(text, _WHOLE_NUMBER, r"\1\2")
    plain = pc.replace_substring_regex(plain, r"^\+", "")
    # A bad row keeps a value, so that it is not reported as empty as well.
    return pc.if_else(whole, plain, pa.scalar("0", pa.string())).cast(pa.int64())


def clean_topics(
    array: pa.Array, name: str, faults: Faults, sentinel: bool, separator: str = TOPIC_SEPARATOR
) -> pa.Array:
    """Returns `[rows]` list<binary> without nulls, empty and repeated topics."""
    rows = len(array)
    if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
        faults.flag(invalid_utf8(array, sentinel), f"{name} is not valid UTF-8")
        array = pc.split_pattern(array.cast(pa.string()), separator)
    lengths = _numpy(pc.list_value_length(array).fill_null(0)).astype(np.int64)
    values = as_binary(pc.list_flatten(array))
    row = np.repeat(np.arange(rows), lengths)
    sizes = _numpy(pc.binary_length(values).fill_null(0))
    if len(sizes) and sizes.max() > MAX_ID_BYTES:
        reason = f"{name} holds a topic longer than {MAX_ID_BYTES} bytes"
        faults.flag(_any_by_row(row, sizes > MAX_ID_BYTES, rows), reason)
    bad = invalid_utf8(values, False)
    if bad is not None:
        faults.flag(_any_by_row(row, bad, rows), f"{name} is not valid UTF-8")
    missing = _numpy(pc.is_in(values, value_set=_PLACEHOLDERS))
    keep = (sizes > 0) & ~missing & _first_in_row(values, row)
    if not keep.all():
        values, row = values.filter(pa.array(keep)), row[keep]
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(np.bincount(row, minlength=rows), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def as_binary(array: pa.Array) -> pa.Array:
    """Returns a string, binary or dictionary array as plain binary."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), pa.binary())
    return array if pa.types.is_binary(array.type) else array.cast(pa.binary())


def as_text(array: pa.Array) -> pa.Array:
    """Returns single values of any type as text, for instance `true`, `3` and `2.5`."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if isinstance(array, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        return _joined(array)
    text = pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type)
    return as_binary(array if text else array.cast(pa.string()))


def _joined(array: pa.Array) -> pa.Array:
    """Returns lists as one text each, `LIST_SEPARATOR` between their values."""
    lengths = _numpy(pc.list_value_length(array).fill_null(0)).astype(np.int64)
    texts = pc.list_flatten(array).cast(pa.string()).fill_null("")
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    lists = pa.ListArray.from_arrays(pa.array(offsets), texts)
    return as_binary(pc.binary_join(lists, LIST_SEPARATOR))


def invalid_utf8(array: pa.Array, sentinel: bool) -> np.ndarray | None:
    """Returns bool `[rows]` of values that are not UTF-8, or None when all are.

    Args:
      array: binary or string values.
      sentinel: whether `SENTINEL` stands for invalid bytes; the values are
        valid UTF-8 otherwise.
    """
    if sentinel:
        found = pc.match_substring(array.cast(pa.string()), SENTINEL).fill_null(False)
        return _numpy(found)
    try:
        array.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return np.array([not _decodes(value) for value in array.cast(pa.binary()).to_pylist()])
    return None


def _decodes(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _first_in_row(values: pa.Array, row: np.ndarray) -> np.ndarray:
    encoded = values.dictionary_encode()
    codes = _numpy(encoded.indices.fill_null(0)).astype(np.int64)
    keys = row * max(1, len(encoded.dictionary)) + codes
    first = np.zeros(len(keys), bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return first


def _any_by_row(row: np.ndarray, bad: np.ndarray, rows: int) -> np.ndarray:
    return np.bincount(row[bad], minlength=rows).astype(bool)


def _extremes(lengths: pa.Array) -> tuple[int, int]:
    found = pc.min_max(lengths).as_py()
    return (1, 0) if found["min"] is None else (found["min"], found["max"])


def _numpy(array: pa.Array) -> np.ndarray:
    return array.to_numpy(zero_copy_only=False)
