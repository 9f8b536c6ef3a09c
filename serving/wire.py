"""The messages of TensorFlow Serving's API that a client needs, without TensorFlow.

`tensorflow-serving-api` imports TensorFlow (seconds, and some 400 MB). On the wire only field
numbers and types count, so the few messages are declared here, in a descriptor pool of their own
that does not meet TensorFlow's. Sources of the numbers: `tensorflow_serving/apis/{predict,model,
get_model_status}.proto`, `tensorflow/core/framework/{tensor,tensor_shape,types}.proto`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "tessera.wire"
_Field = descriptor_pb2.FieldDescriptorProto


class _F(NamedTuple):
    """A field: number, type (a scalar's number or a message's name), and whether it repeats."""

    number: int
    kind: int | str
    many: bool = False


_INT64, _INT32, _BOOL, _STRING, _BYTES = (
    _Field.TYPE_INT64, _Field.TYPE_INT32, _Field.TYPE_BOOL, _Field.TYPE_STRING, _Field.TYPE_BYTES
)  # fmt: skip
_FLOAT, _DOUBLE = _Field.TYPE_FLOAT, _Field.TYPE_DOUBLE
_MESSAGES: Mapping[str, Mapping[str, _F]] = {
    "Dim": {"size": _F(1, _INT64)},
    "Shape": {"dim": _F(2, "Dim", True), "unknown_rank": _F(3, _BOOL)},
    "Tensor": {
        "dtype": _F(1, _INT32),  # an enum's number
        "tensor_shape": _F(2, "Shape"),
        "tensor_content": _F(4, _BYTES),
        "float_val": _F(5, _FLOAT, True),
        "double_val": _F(6, _DOUBLE, True),
        "int_val": _F(7, _INT32, True),
        "string_val": _F(8, _BYTES, True),
        "int64_val": _F(10, _INT64, True),
        "bool_val": _F(11, _BOOL, True),
    },
    "Int64Value": {"value": _F(1, _INT64)},
    "ModelSpec": {
        "name": _F(1, _STRING),
        "version": _F(2, "Int64Value"),
        "signature_name": _F(3, _STRING),
        "version_label": _F(4, _STRING),
    },
    # A map is on the wire what a repeated pair of key (1) and value (2) is.
    "Named": {"key": _F(1, _STRING), "value": _F(2, "Tensor")},
    "PredictRequest": {"model_spec": _F(1, "ModelSpec"), "inputs": _F(2, "Named", True)},
    "PredictResponse": {"outputs": _F(1, "Named", True), "model_spec": _F(2, "ModelSpec")},
    "StatusRequest": {"model_spec": _F(1, "ModelSpec")},
    "StatusProto": {"error_code": _F(1, _INT32), "error_message": _F(2, _STRING)},
    "VersionStatus": {
        "version": _F(1, _INT64),
        "state": _F(2, _INT32),  # an enum's number
        "status": _F(3, "StatusProto"),
    },
    "StatusResponse": {"model_version_status": _F(1, "VersionStatus", True)},
}
#: `ModelVersionStatus.State`.
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
#: `DataType` -> NumPy's dtype and the field that holds the values.
_TYPES: Mapping[int, tuple[Any, str]] = {
    1: (np.float32, "float_val"),
    2: (np.float64, "double_val"),
    3: (np.int32, "int_val"),
    7: (object, "string_val"),
    9: (np.int64, "int64_val"),
    10: (np.bool_, "bool_val"),
}
_NUMBERS = {np.dtype(kind): number for number, (kind, _) in _TYPES.items()}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="tessera/wire.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for key, (number, kind, many) in fields.items():
            label = _Field.LABEL_REPEATED if many else _Field.LABEL_OPTIONAL
            field = message.field.add(name=key, number=number, label=label)
            if isinstance(kind, str):
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: _class(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}


def _class(descriptor: Any) -> Any:
    newer = getattr(message_factory, "GetMessageClass", None)  # protobuf 4.22 and later
    return newer(descriptor) if newer else message_factory.MessageFactory().GetPrototype(descriptor)


_MADE = _classes()
PredictRequest: Any = _MADE["PredictRequest"]
PredictResponse: Any = _MADE["PredictResponse"]
StatusRequest: Any = _MADE["StatusRequest"]
StatusResponse: Any = _MADE["StatusResponse"]


def put(field: Any, tensors: Mapping[str, np.ndarray]) -> None:
    """Adds named tensors to a request."""
    for name, value in tensors.items():
        pair = field.add(key=name)
        number = _NUMBERS[value.dtype]
        pair.value.dtype = number
        for size in value.shape:
            pair.value.tensor_shape.dim.add(size=size)
        getattr(pair.value, _TYPES[number][1]).extend(value.ravel().tolist())


def taken(field: Sequence[Any]) -> dict[str, np.ndarray]:
    """Returns the named tensors of an answer; strings are bytes in object arrays."""
    return {pair.key: _array(pair.value) for pair in field}


def _array(proto: Any) -> np.ndarray:
    if proto.dtype not in _TYPES:
        raise ValueError(f"the server answered with a tensor of data type {proto.dtype}")
    kind, field = _TYPES[proto.dtype]
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, kind).reshape(shape)
    values = list(getattr(proto, field))
    count = math.prod(shape)
    if len(values) < count:  # the last value stands for the rest
        values += [values[-1] if values else (b"" if kind is object else 0)] * (count - len(values))
    array = np.empty(count, kind)
    array[:] = values
    return array.reshape(shape)
