"""Times and topics of other people's files as the contract wants them."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import DataError
from input_tables.contract import TOPIC_SEPARATOR
from input_tables.importers.table.mapping import LIST, NONE, TimeUnit

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}
_SECONDS_PER_DAY = 86_400
_NUMBER = r"^\s*[+-]?[0-9]{1,18}(\.[0-9]*)?\s*$"
_ISO = (
    r"^\s*[0-9]{4}-?[0-9]{2}-?[0-9]{2}"
    r"([T ][0-9]{2}:?[0-9]{2}(:?[0-9]{2}([.,][0-9]+)?)?)?\s*(Z|UTC|[+-][0-9]{2}:?([0-9]{2})?)?\s*$"
)
EARLIEST = 631_152_000  # 1990: what lies before is mostly another unit
_MOST = 0.5
_QUOTED = r"('[^']*'|\"[^\"]*\")"
_PRINTED = re.compile(rf"\s*\[\s*{_QUOTED}(\s+{_QUOTED})+\s*\]\s*")
_LIST = re.compile(r"\s*\[.*\]\s*", re.DOTALL)
_JOINTS = (",", ";", "/", "\t")


def seconds(values: pa.Array, unit: TimeUnit) -> tuple[pa.Array, np.ndarray]:
    """Returns (seconds since 1970 UTC as int64 `[rows]`, bool `[rows]` of values that are none).

    Empty values are null and not bad. Dates and times without a zone are UTC;
    Arrow's own times and dates need no unit.
    """
    if pa.types.is_timestamp(values.type):
        whole = values.cast(pa.timestamp("s", tz=values.type.tz), safe=False)
        return whole.cast(pa.int64()), _none(values)
    if pa.types.is_date(values.type):
        return values.cast(pa.timestamp("s"), safe=False).cast(pa.int64()), _none(values)
    if pa.types.is_null(values.type):
        return values.cast(pa.int64()), _none(values)
    if pa.types.is_floating(values.type):
        values = _whole_text(values)
    if not pa.types.is_string(values.type):
        values = values.cast(pa.string())
    if unit == "iso":
        return _iso(values)
    return _numbers(values, unit)


def _none(values: pa.Array) -> np.ndarray:
    return np.zeros(len(values), bool)


def _whole_text(values: pa.Array) -> pa.Array:
    """Returns floats as text without a fraction; NaN and infinities are null."""
    floats = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    good = np.isfinite(floats) & (np.abs(floats) < 1e18)
    return pa.array(np.where(good, floats, 0).astype(np.int64), mask=~good).cast(pa.string())


def _numbers(values: pa.Array, unit: TimeUnit) -> tuple[pa.Array, np.ndarray]:
    good = _flags(pc.match_substring_regex(values, _NUMBER))
    whole = pc.replace_substring_regex(values, r"^\s*\+?(-?[0-9]+)(\.[0-9]*)?\s*$", r"\1")
    text = pc.if_else(pa.array(good), whole, pa.scalar("0", pa.string()))
    numbers = text.cast(pa.int64()).to_numpy(zero_copy_only=False)
    if unit == "days":
        good &= np.abs(numbers) < 1 << 40
        numbers = np.where(good, numbers, 0) * _SECONDS_PER_DAY
    else:
        numbers = numbers // _PER_SECOND[unit]
    return pa.array(numbers, pa.int64(), mask=~good), ~good & ~_empty(values)


def _empty(values: pa.Array) -> np.ndarray:
    return np.asarray(
        _flags(pc.equal(pc.utf8_trim_whitespace(values), "")) | _flags(values.is_null())
    )


def _iso(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    encoded = values.dictionary_encode()
    words = encoded.dictionary
    shaped = pc.match_substring_regex(words, _ISO).to_pylist()
    plain = [
        word.strip() if good else None for word, good in zip(words.to_pylist(), shaped, strict=True)
    ]
    times = pd.to_datetime(pd.Series(plain, dtype=object), utc=True, errors="coerce")
    known = times.notna().to_numpy()
    whole = np.where(known, times.astype("int64").to_numpy() // 1_000_000_000, 0)
    codes = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    if not len(words):
        return pa.nulls(len(values), pa.int64()), _none(values)
    good = known[codes] & _flags(values.is_valid())
    return pa.array(whole[codes], pa.int64(), mask=~good), ~good & ~_empty(values)


def check_unit(values: pa.Array, unit: TimeUnit, now: int, where: str, column: str) -> None:
    """Raises DataError where most times of `values` are none in `unit`, with the unit that fits."""
    if not len(values) or pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return
    if _fitting(values, unit, now) >= _MOST:
        return
    shown = next(value for value in values.to_pylist() if value not in (None, ""))
    units: tuple[TimeUnit, ...] = ("s", "ms", "us", "days", "iso")
    fits = [other for other in units if _fitting(values, other, now) >= _MOST]
    mend = f"; it looks like --time-unit {fits[0]}" if fits else "; no --time-unit fits"
    raise DataError(
        f"{where}: {column} {shown!r} is no time between 1990 and now as --time-unit {unit}{mend}"
    )


def _fitting(values: pa.Array, unit: TimeUnit, now: int) -> float:
    found, _ = seconds(values, unit)
    times = found.drop_null().to_numpy()
    asked = len(values) - int(_empty(values.cast(pa.string())).sum())
    if not asked:
        return 1.0
    return float(((times >= EARLIEST) & (times <= now)).sum() / asked)


def topics(values: pa.Array, separator: str | None) -> tuple[pa.Array, np.ndarray]:
    """Returns (list<string> `[rows]`, bool `[rows]` of values that are no list).

    Args:
      values: text, lists of text, or lists of objects with a `name`.
      separator: as `--topics-separator`; None: lists are told by their brackets,
        everything else is separated by `|`.
    """
    if pa.types.is_null(values.type):
        return pa.array([[]] * len(values), pa.list_(pa.string())), _none(values)
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        rows = [_names(row) for row in values.to_pylist()]
        return _lists(rows)
    text = values.cast(pa.string()).fill_null("")
    if separator == NONE:
        rows = [[value.strip()] if value.strip() else [] for value in text.to_pylist()]
        return _lists(rows)
    encoded = text.dictionary_encode()
    words = [_split(word, separator) for word in encoded.dictionary.to_pylist()]
    return _lists([words[code] for code in encoded.indices.to_pylist()])


def _split(text: str, separator: str | None) -> list[str] | None:
    if separator == LIST or (separator is None and _LIST.fullmatch(text)):
        return _parsed(text)
    parts = text.split(separator or TOPIC_SEPARATOR)
    return [part.strip() for part in parts if part.strip()]


def check_joint(values: pa.Array, separator: str | None, where: str, column: str) -> None:
    """Raises DataError where most texts look joined by something that nobody named."""
    if separator in (LIST, NONE) or not pa.types.is_string(values.type):
        return
    filled = values.filter(pc.not_equal(values, ""))
    filled = filled.filter(pc.invert(pc.match_substring_regex(filled, r"^\s*\[")))
    if not len(filled):
        return
    if pc.any(pc.match_substring(filled, separator or TOPIC_SEPARATOR)).as_py():
        return
    for joint in (*_JOINTS, TOPIC_SEPARATOR):
        held = pc.match_substring(filled, joint)
        if _flags(held).mean() >= _MOST:
            shown = filled.filter(held)[0].as_py()
            raise DataError(
                f"{where}: {column} {shown!r} looks like topics joined by {joint!r}: give "
                f"--topics-separator {joint!r}, or {NONE!r} when each value is one topic"
            )


def _parsed(text: str) -> list[str] | None:
    if not text.strip():
        return []
    try:
        return _names(json.loads(text, parse_int=str, parse_float=str))
    except (ValueError, RecursionError):
        pass
    if _PRINTED.fullmatch(text):  # Python would join the strings to one
        return _names_of_array(text)
    try:
        return _names(ast.literal_eval(text.strip()))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _names_of_array(text)


def _names_of_array(text: str) -> list[str] | None:
    """Reads what NumPy prints, `['a' 'b']`, and bare words, `[a, b]`."""
    inner = re.fullmatch(r"\s*\[(.*)\]\s*", text, re.DOTALL)
    if inner is None:
        return None
    quoted = re.findall(r"'([^']*)'|\"([^\"]*)\"", inner.group(1))
    words = [a or b for a, b in quoted] if quoted else inner.group(1).split(",")
    return [word.strip() for word in words if word.strip()]


def _names(value: Any) -> list[str] | None:
    if value is None:
        return []
    if not isinstance(value, (list, tuple, set)):
        return None
    found = []
    for each in value:
        if isinstance(each, dict):
            if not each.get("name"):
                return None
            each = each["name"]
        if isinstance(each, bytes):
            each = each.decode("utf-8", "replace")
        if isinstance(each, (list, tuple, dict, set)) or (each is None and len(value) > 1):
            return None
        if each is not None and str(each).strip():
            found.append(str(each).strip())
    return found


def _lists(rows: list[list[str] | None]) -> tuple[pa.Array, np.ndarray]:
    bad = np.array([row is None for row in rows], bool)
    return pa.array([row or [] for row in rows], pa.list_(pa.string())), bad


def _flags(found: pa.Array) -> np.ndarray:
    return np.asarray(found.fill_null(False).to_numpy(zero_copy_only=False), bool)
