"""Warm-up requests of TensorFlow Serving: a TFRecord file of `PredictionLog` protos.

TensorFlow Serving replays the file when it loads a version and refuses the version when a
record fails, so records give every input, options too: an older server fills in no
defaults, and a batching one wants the same first dimension everywhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from components.serving_validator.cases import Arrays, serialised
from components.serving_validator.sample import request_of
from core.files import staged_file
from trainer.retrieval import signature

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
#: TensorFlow Serving refuses files with more records.
MOST_RECORDS = 1000
LARGER_BATCH = 16

#: Signature and batch of the records, in turn; the first call of each builds what it needs.
_TURNS = (
    (signature.RETRIEVE, 1),
    (signature.RETRIEVE, LARGER_BATCH),
    ("serving_default", 1),
    (signature.RETRIEVE_EXAMPLES, 1),
    ("serving_default", LARGER_BATCH),
    (signature.RETRIEVE_EXAMPLES, LARGER_BATCH),
)
#: Where requests may be filtered as well.
_FILTERED_TURNS = (
    _TURNS[0],
    (signature.RETRIEVE_FILTERED, 1),
    *_TURNS[1:],
    (signature.RETRIEVE_FILTERED, LARGER_BATCH),
)


def write_warmup(path: Path, sample: pa.Table, count: int, filtered: bool = False) -> None:
    """Writes `count` records made of real requests.

    Args:
      path: of the file.
      sample: real requests, at least one; they are repeated when there are too few.
      count: records, at most `MOST_RECORDS`.
      filtered: whether requests may be filtered.
    """
    turns = _FILTERED_TURNS if filtered else _TURNS
    with staged_file(path) as staging, tf.io.TFRecordWriter(str(staging)) as writer:
        start = 0
        for number in range(min(count, MOST_RECORDS)):
            name, size = turns[number % len(turns)]
            rows = np.arange(start, start + size) % sample.num_rows
            start += size
            writer.write(_record(name, request_of(sample, rows)).SerializeToString())


def _record(name: str, request: Arrays) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    asked = log.predict_log.request
    asked.model_spec.signature_name = name
    if name == signature.RETRIEVE_EXAMPLES:
        inputs = {signature.EXAMPLES: serialised(request)}
    else:
        inputs = _with_options(request)
    if name == signature.RETRIEVE_FILTERED:
        nothing = np.full((len(request[signature.USER_ID]), 1), b"", object)
        inputs = {**inputs, **dict.fromkeys(signature.FILTER_SPECS, nothing)}
    for key, value in inputs.items():
        asked.inputs[key].CopyFrom(tf.make_tensor_proto(value, _dtype(key)))
    return log


def _with_options(request: Arrays) -> Arrays:
    """Returns the inputs with a value per row for every option."""
    rows = len(request[signature.USER_ID])
    options = {
        name: np.full(rows, signature.OPTION_DEFAULTS[name], dtype.as_numpy_dtype)
        for name, dtype in signature.OPTION_DTYPES.items()
    }
    return {**options, **request}


def _dtype(name: str) -> tf.DType:
    specs = {**signature.USER_SPECS, **signature.OPTION_SPECS}
    return specs[name].dtype if name in specs else tf.string
