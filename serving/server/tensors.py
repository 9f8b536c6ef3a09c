"""`TensorProto` to NumPy and back, for what strangers send.

`tf.make_ndarray` trusts the shape that a proto claims; here a proto whose values
do not fit its shape is an error of the request and never a large allocation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from serving.server.errors import invalid

#: Elements of the largest tensor that a request may hold.
MAX_ELEMENTS = 1 << 22

#: dtype -> field of the proto that holds its values.
_FIELDS = {
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int32: "int_val",
    tf.int16: "int_val",
    tf.int8: "int_val",
    tf.uint8: "int_val",
    tf.int64: "int64_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
}


def from_proto(name: str, proto: Any) -> np.ndarray:
    """Returns the tensor of a request.

    A list of values that is shorter than the shape goes on with its last value
    (zeros without any), as TensorFlow reads it.

    Args:
      name: of the input, for errors.
      proto: a `TensorProto`.

    Raises:
      RequestError: unknown dtype, shape without sizes, too large, or values that do not fit.
    """
    dtype = _dtype(name, proto.dtype)
    if proto.tensor_shape.unknown_rank:
        raise invalid(f"tensor parsing error: {name}: its shape is not known")
    shape = tuple(int(dim.size) for dim in proto.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise invalid(f"tensor parsing error: {name}: the shape {list(shape)} has negative sizes")
    count = math.prod(shape)
    if count > MAX_ELEMENTS or len(shape) > 8:
        raise invalid(f"input {name} is too large: {count} elements, at most {MAX_ELEMENTS}")
    if proto.tensor_content:
        return _of_content(name, proto.tensor_content, dtype, shape)
    values = getattr(proto, _FIELDS[dtype])
    if len(values) > count:
        raise invalid(
            f"tensor parsing error: {name}: {len(values)} values for the shape {list(shape)}"
        )
    return _of_values(name, values, dtype, count).reshape(shape)


def to_proto(value: np.ndarray) -> Any:
    """Returns a `TensorProto` whose values lie in its typed field, TensorFlow Serving's default."""
    from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2

    array = np.asarray(value)
    dtype = tf.string if array.dtype.kind in "OSU" else tf.as_dtype(array.dtype)
    shape = tensor_shape_pb2.TensorShapeProto(
        dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in array.shape]
    )
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum, tensor_shape=shape)
    getattr(proto, _FIELDS[dtype]).extend(array.ravel().tolist())
    return proto


def _dtype(name: str, number: int) -> tf.DType:
    try:
        dtype = tf.as_dtype(number)
    except TypeError:
        dtype = None
    if dtype not in _FIELDS:
        raise invalid(f"tensor parsing error: {name}: dtype {number} is not supported")
    return dtype


def _of_content(name: str, content: bytes, dtype: tf.DType, shape: tuple[int, ...]) -> np.ndarray:
    if dtype == tf.string:
        raise invalid(f"tensor parsing error: {name}: strings belong in string_val")
    kind = np.dtype(dtype.as_numpy_dtype)
    if len(content) != kind.itemsize * math.prod(shape):
        raise invalid(
            f"tensor parsing error: {name}: {len(content)} bytes for the shape {list(shape)}"
        )
    return np.frombuffer(content, kind).reshape(shape)


def _of_values(name: str, values: Any, dtype: tf.DType, count: int) -> np.ndarray:
    if dtype == tf.string:
        given: np.ndarray = np.empty(len(values), object)
        given[:] = list(values)
        fill: Any = b""
    else:
        try:
            given = np.array(list(values), np.int64 if dtype.is_integer else None)
            given = given.astype(dtype.as_numpy_dtype)
        except (OverflowError, ValueError) as error:
            raise invalid(f"tensor parsing error: {name}: {error}") from error
        fill = 0
    if len(given) == count:
        return given
    rest = np.full(count - len(given), given[-1] if len(given) else fill, given.dtype)
    return np.concatenate([given, rest])
