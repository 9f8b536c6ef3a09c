"""How far the features of a log are from those of the training, as TFDV measures it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer import features

_LISTS = (features.HISTORY_ITEM_ID, features.HISTORY_ACTION, features.FOLLOWED_TOPIC)
#: Compared by the largest difference in the share of one value (L-infinity distance). Lengths
#: are among them, in steps of 0, 1, 2-3, 4-7, ...: the bins of a histogram fall between whole
#: numbers, differently on each side, and two halves of the same requests seem far apart.
WORDS = (*_LISTS, "history_length", "follows_length")
#: Compared by the Jensen-Shannon divergence of their histograms.
NUMBERS = ("newest_age",)
FEATURES = (*WORDS, *NUMBERS)
#: TFDV only tells what it measured where there is a bound; this one is judged by nobody.
_ANY = 1e-9


def drift(
    reference: pa.Table, requests: pa.Table, in_seconds: bool = True
) -> dict[str, float | None]:
    """Returns the distance of each feature, between 0 and 1.

    None stands for a feature without values on one side.

    Args:
      reference: requests of the training, columns `trainer.features.USER_FEATURES`.
      requests: those of a log.
      in_seconds: whether times are seconds; ages of positions say nothing and are left out.
    """
    import tensorflow_data_validation as tfdv
    from tensorflow_metadata.proto.v0 import schema_pb2

    sides = [_columns(table, in_seconds) for table in (reference, requests)]
    there = [name for name in FEATURES if all(_filled(side[name]) for side in sides)]
    found: dict[str, float | None] = dict.fromkeys(FEATURES)
    if not there:
        return found
    schema = schema_pb2.Schema()
    for name in there:
        kind = schema_pb2.BYTES if name in WORDS else schema_pb2.FLOAT
        comparator = schema.feature.add(name=name, type=kind).drift_comparator
        bound = comparator.infinity_norm if name in WORDS else comparator.jensen_shannon_divergence
        bound.threshold = _ANY
    before, after = (
        tfdv.generate_statistics_from_dataframe(pa.table({n: s[n] for n in there}).to_pandas())
        for s in sides
    )
    anomalies = tfdv.validate_statistics(after, schema, previous_statistics=before)
    for info in anomalies.drift_skew_info:
        for measured in info.drift_measurements:
            found[info.path.step[0]] = float(measured.value)
    return found


def _columns(requests: pa.Table, in_seconds: bool) -> dict[str, pa.Array]:
    """Returns each feature, one value or list per request; an age is in log(1 + seconds)."""
    columns = {name: requests[name].combine_chunks() for name in _LISTS}
    return {
        **columns,
        "history_length": _steps(columns[features.HISTORY_ITEM_ID]),
        "follows_length": _steps(columns[features.FOLLOWED_TOPIC]),
        "newest_age": _ages(requests) if in_seconds else pa.nulls(len(requests), pa.float64()),
    }


def _steps(lists: pa.Array) -> pa.Array:
    """Returns the number of binary digits of each length, as text."""
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    return pa.array(np.ceil(np.log2(lengths + 1)).astype(np.int64)).cast(pa.string())


def _ages(requests: pa.Table) -> pa.Array:
    times = requests[features.HISTORY_TIMESTAMP].combine_chunks()
    lengths = pc.list_value_length(times).fill_null(0).to_numpy()
    now = requests[features.TIMESTAMP].to_numpy()
    newest = np.zeros(len(now), np.int64)
    starts = np.cumsum(lengths) - lengths
    newest[lengths > 0] = times.flatten().to_numpy(zero_copy_only=False)[starts[lengths > 0]]
    return pa.array(np.log1p(np.maximum(now - newest, 0)), mask=lengths == 0)


def _filled(column: pa.Array) -> bool:
    values = column.flatten() if pa.types.is_list(column.type) else column
    return len(values) > values.null_count
