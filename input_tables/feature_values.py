"""Values of features: texts of a table's columns to texts `name=value`, and what is odd in them.

The same texts are what examples hold and what a request gives; the transform graph makes numbers
of them (`trainer.feature_values`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import ConfigError
from core.feature_config import FeatureConfig
from input_tables.contract import LIST_SEPARATOR

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
#: What stands between the floats of an embedding, and around all of them.
_BETWEEN_FLOATS = r"[\s,;|\[\](){}\x1f]+"
#: What programs write for a missing value.
_MISSING = pa.array(
    ["", "nan", "NaN", "NAN", "null", "NULL", "None", "none", "\\N", "<NA>", "NaT", "n/a", "N/A"]
)


class Values(NamedTuple):
    """Values of one feature.

    Attributes:
      row: `[values]` int64, rising.
      text: `[values]` string.
      odd: `[rows]` bool: something is given that is no value of this kind; it counts as missing.
    """

    row: np.ndarray
    text: pa.Array
    odd: np.ndarray


def values_of(name: str, feature: FeatureConfig, column: pa.Array | pa.ChunkedArray) -> Values:
    """Returns the values that a column holds.

    Args:
      name: of the feature, for errors.
      feature: what they should be.
      column: `[rows]` binary or whole numbers, null for a missing one.

    Raises:
      ConfigError: Arrow does not understand `feature.pattern`.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    text = array.cast(pa.string())
    if feature.pattern is not None:
        text = _extracted(name, feature.pattern, text)
    rows = np.arange(len(text))
    odd = np.zeros(len(text), bool)
    if feature.kind == "list":
        return _listed(feature, text, rows, odd)
    if feature.kind != "category":
        text = pc.utf8_trim_whitespace(text)
    given = _there(text)
    rows, text = rows[given], text.filter(pa.array(given))
    if feature.kind == "category":
        return Values(rows, text, odd)
    if feature.kind == "embedding":
        text = pc.utf8_trim_whitespace(pc.replace_substring_regex(text, _BETWEEN_FLOATS, " "))
    good = _floats(text, max(feature.size, 1))
    odd[rows[~good]] = True
    return Values(rows[good], text.filter(pa.array(good)), odd)


def packed(
    features: Mapping[str, FeatureConfig], columns: pa.RecordBatch | pa.Table
) -> pa.LargeListArray:
    """Returns `[rows]` lists of texts `name=value` (binary), in the order of the features.

    Args:
      features: by name.
      columns: rows that have the features' columns.

    Raises:
      ConfigError: see `values_of`.
    """
    found = {
        name: values_of(name, feature, columns.column(feature.column or name))
        for name, feature in features.items()
    }
    texts = [pc.binary_join_element_wise(f"{n}=", v.text, "") for n, v in found.items()]
    flat = pa.chunked_array(texts, pa.string()).combine_chunks().cast(pa.large_binary())
    row = np.concatenate([np.zeros(0, np.int64), *[values.row for values in found.values()]])
    order = np.argsort(row, kind="stable")
    offsets = np.zeros(columns.num_rows + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=columns.num_rows), out=offsets[1:])
    return pa.LargeListArray.from_arrays(pa.array(offsets), flat.take(pa.array(order)))


def _extracted(name: str, pattern: str, text: pa.Array) -> pa.Array:
    try:
        found = pc.match_substring_regex(text, pattern)
        value = pc.replace_substring_regex(text, f"(?s)^.*?{pattern}.*$", r"\1")
    except pa.ArrowInvalid as error:
        raise ConfigError(f"features: {name}: pattern {pattern!r}: {error}") from error
    return pc.if_else(found, value, pa.scalar(None, pa.string()))


def _there(text: pa.Array) -> np.ndarray:
    known = pc.and_(pc.is_valid(text), pc.invert(pc.is_in(text, value_set=_MISSING)))
    return _numpy(known)


def _listed(feature: FeatureConfig, text: pa.Array, rows: np.ndarray, odd: np.ndarray) -> Values:
    separated = pc.replace_substring(text, feature.separator, LIST_SEPARATOR)
    lists = pc.split_pattern(separated.fill_null(""), LIST_SEPARATOR)
    row = np.repeat(rows, _numpy(pc.list_value_length(lists)))
    parts = pc.list_flatten(lists)
    there = _there(parts)
    row, parts = row[there], parts.filter(pa.array(there))
    codes = _numpy(parts.dictionary_encode().indices).astype(np.int64)
    first = np.unique(row * (codes.max(initial=0) + 1) + codes, return_index=True)[1]
    first.sort()
    return Values(row[first], parts.take(pa.array(first)), odd)


def _floats(text: pa.Array, size: int) -> np.ndarray:
    """Returns bool `[texts]`: those that are `size` finite floats with one blank between."""
    lists = pc.split_pattern(text, " ")
    good = _numpy(pc.list_value_length(lists)) == size
    parts = pc.list_flatten(lists)
    row = np.repeat(np.arange(len(text)), _numpy(pc.list_value_length(lists)))
    numbers = _numpy(pc.match_substring_regex(parts, _NUMBER))
    if numbers.any():
        values = _numpy(parts.filter(pa.array(numbers)).cast(pa.float64())).astype(np.float32)
        numbers[np.flatnonzero(numbers)[~np.isfinite(values)]] = False
    good[row[~numbers]] = False
    return good


def _numpy(array: pa.Array) -> np.ndarray:
    return array.to_numpy(zero_copy_only=False)
