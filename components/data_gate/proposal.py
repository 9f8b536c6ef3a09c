"""Proposes a schema from examples, as a start for a curated one."""

from __future__ import annotations

from itertools import islice

import pyarrow as pa
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.examples_io import read_split
from core.errors import DataError
from trainer import features

#: Batches looked at, of a few thousand examples each.
_BATCHES = 16


def propose_schema(examples_uri: str, split: str) -> str:
    """Returns a schema in text form, inferred from the first examples of a split.

    Features that a model reads as one value keep the shape `[1]`; the others become
    lists of any length.

    Args:
      examples_uri: folder with `Split-<name>/*.parquet`.
      split: which split.

    Raises:
      DataError: the split is missing or empty.
    """
    batches = list(islice(read_split(examples_uri, split), _BATCHES))
    if not batches:
        raise DataError(f"{examples_uri}: split {split!r} holds no examples to propose from")
    frame = pa.Table.from_batches(batches).to_pandas()
    statistics = tfdv.generate_statistics_from_dataframe(frame)
    inferred: schema_pb2.Schema = tfdv.infer_schema(statistics, infer_feature_shape=False)
    single = (features.USER_ID, features.TIMESTAMP, features.ITEM_ID)
    for feature in inferred.feature:
        feature.ClearField("value_count")
        if feature.name in single:
            feature.shape.dim.add(size=1)
        else:
            feature.value_count.min = 0
    return str(text_format.MessageToString(inferred))
