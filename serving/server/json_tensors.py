"""JSON of the REST API to arrays and back, with TensorFlow Serving's rules and words."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from serving.server.errors import RequestError, invalid
from serving.server.session import DEFAULT_SIGNATURE, Session, SignatureInput
from serving.server.tensors import MAX_ELEMENTS

_ROWS, _COLUMNS = "instances", "inputs"
_B64 = "b64"
#: Outputs whose names end so are written as base64.
_BYTES_SUFFIX = "_bytes"
_RAGGED = "; lists of one input must have one length: pad the shorter ones ('' and 0)"


class TensorRequest(NamedTuple):
    """A parsed predict request.

    Attributes:
      signature: its name, spelled out.
      inputs: by name.
      rows: whether the answer is a list of rows (`predictions`), else of columns (`outputs`).
    """

    signature: str
    inputs: dict[str, np.ndarray]
    rows: bool


def parse_predict(body: bytes, session: Session) -> TensorRequest:
    """Parses the body of a predict request.

    As in TensorFlow Serving's REST API every input must be sent, those with defaults too.

    Args:
      body: JSON with `instances` or `inputs`, and `signature_name`.
      session: of the version that is asked.

    Raises:
      RequestError: what is wrong with it.
    """
    tree = _parse(body)
    signature = tree.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid("'signature_name' key must be a string value.")
    name = signature or DEFAULT_SIGNATURE
    try:
        known = session.inputs(name)
    except RequestError as error:
        raise invalid(
            f'Serving signature name: "{name[:100]}" not found in signature def. {error}'
        ) from error
    if _ROWS in tree and _COLUMNS in tree:
        raise invalid(
            f"Not formatted correctly expecting only one of '{_COLUMNS}' or '{_ROWS}' keys to exist"
        )
    if _ROWS in tree:
        return TensorRequest(name, _of_rows(tree[_ROWS], known), True)
    if _COLUMNS in tree:
        return TensorRequest(name, _of_columns(tree[_COLUMNS], known), False)
    raise invalid(f"Missing '{_COLUMNS}' or '{_ROWS}' key")


def to_json(outputs: Mapping[str, np.ndarray], asked: TensorRequest) -> dict[str, Any]:
    """Returns the answer in the form of the request.

    Raises:
      RequestError: rows were asked for and an output has not one row for each.
    """
    values = {name: _values(name, array) for name, array in outputs.items()}
    if not asked.rows:
        return {"outputs": values if len(values) > 1 else next(iter(values.values()))}
    sizes = {array.shape[0] if array.ndim else -1 for array in outputs.values()}
    if len(sizes) != 1 or -1 in sizes:
        raise invalid(f"the outputs of {asked.signature} are not batched alike: use '{_COLUMNS}'")
    if len(values) == 1:
        return {"predictions": next(iter(values.values()))}
    names = list(values)
    rows = zip(*values.values(), strict=True)
    return {"predictions": [dict(zip(names, row, strict=True)) for row in rows]}


def _parse(body: bytes) -> dict[str, Any]:
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        tree = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(tree, dict):
        raise invalid(f"JSON Value: {_some(tree)} Is not object")
    return tree


def _of_rows(rows: Any, known: Mapping[str, SignatureInput]) -> dict[str, np.ndarray]:
    if not isinstance(rows, list):
        raise invalid(f"Excepting '{_ROWS}' to be an list/array")
    if not rows:
        raise invalid(f"No values in '{_ROWS}' array")
    named = _is_object(rows[0])
    if not named and len(known) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    for place, row in enumerate(rows):
        if _is_object(row) != named:
            wanted, got = ("object", "list") if named else ("value/list", "object")
            raise invalid(f"Expecting {wanted} but got {got} at item {place} of input list")
        if named and row.keys() != known.keys():
            raise invalid(
                f"Failed to process element: {place} of 'instances' list. JSON object: "
                f"{_some(row)} keys must be equal to: {','.join(sorted(known))}"
            )
    if not named:
        name = next(iter(known))
        return {name: _tensor(name, rows, known[name])}
    return {name: _tensor(name, [row[name] for row in rows], known[name]) for name in known}


def _of_columns(columns: Any, known: Mapping[str, SignatureInput]) -> dict[str, np.ndarray]:
    if not _is_object(columns):
        if len(known) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        name = next(iter(known))
        return {name: _tensor(name, columns, known[name])}
    for name in known:
        if name not in columns:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _tensor(name, columns[name], wanted) for name, wanted in known.items()}


def _tensor(name: str, tree: Any, wanted: SignatureInput) -> np.ndarray:
    """Returns nested lists as an array of the signature's dtype."""
    shape = _shape(tree)
    if math.prod(shape) > MAX_ELEMENTS:
        raise invalid(f"input {name} is too large: at most {MAX_ELEMENTS} elements")
    leaves: list[Any] = []
    _collect(name, tree, shape, 0, leaves)
    dtype = np.dtype(wanted.dtype.as_numpy_dtype)
    values = [_leaf(name, leaf, dtype) for leaf in leaves]
    if dtype.kind == "O":
        array = np.empty(len(values), object)
        array[:] = values
    else:
        array = np.array(values, dtype)
    return array.reshape(shape)


def _shape(tree: Any) -> tuple[int, ...]:
    sizes: list[int] = []
    while isinstance(tree, list) and len(sizes) < 16:
        sizes.append(len(tree))
        if not tree:
            break
        tree = tree[0]
    return tuple(sizes)


def _collect(name: str, tree: Any, shape: Sequence[int], level: int, leaves: list[Any]) -> None:
    if not isinstance(tree, list):
        if level != len(shape):
            raise invalid(
                f"input {name}: JSON Value: {_some(tree)} found at incorrect level: {level + 1} "
                f"in the JSON DOM. Expected at level: {len(shape)}"
            )
        leaves.append(tree)
        return
    if level >= len(shape):
        raise invalid(
            f"input {name}: Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(tree) != shape[level]:
        raise invalid(
            f"input {name}: Encountered list at unexpected size: {len(tree)} at level: {level} "
            f"expected size: {shape[level]}{_RAGGED}"
        )
    for part in tree:
        _collect(name, part, shape, level + 1, leaves)


def _leaf(name: str, value: Any, dtype: np.dtype) -> Any:
    """Returns one JSON value as one of the dtype; nothing is converted silently."""
    if dtype.kind == "O":
        if isinstance(value, str):
            return value.encode("utf-8", "surrogatepass")
        if isinstance(value, dict):
            return _decoded(name, value)
    elif dtype == np.bool_:
        if isinstance(value, bool):
            return value
    elif dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if type(value) is int and limits.min <= value <= limits.max:
            return value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        return _decimal(name, value, dtype)
    kind = "string" if dtype.kind == "O" else dtype.name
    raise invalid(
        f"input {name}: JSON Value: {_some(value)} Type: {_type(value)} is not of expected type: "
        f"{kind}"
    )


def _decimal(name: str, value: float, dtype: np.dtype) -> float:
    if isinstance(value, int) and abs(value) > 2 ** np.finfo(dtype).nmant:
        raise invalid(
            f"input {name}: Cannot convert JSON value: {_some(value)} to {dtype.name} without "
            "loss of precision."
        )
    return float(value)


def _decoded(name: str, value: dict[str, Any]) -> bytes:
    text = value.get(_B64)
    if len(value) != 1 or not isinstance(text, str):
        raise invalid(
            f"input {name}: JSON Value: {_some(value)} not formatted correctly for base64 data"
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(f"input {name}: Unable to base64 decode") from error


def _values(name: str, array: np.ndarray) -> Any:
    """Returns an output as nested lists; strings that are not UTF-8 are written as base64."""
    if array.dtype.kind == "f":
        # The shortest text that is the same float32; NaN and infinities as in TensorFlow Serving.
        values: list[Any] = [float(str(value)) for value in array.ravel()]
    elif array.dtype.kind == "O":
        values = [_text(value, name.endswith(_BYTES_SUFFIX)) for value in array.ravel()]
    else:
        return array.tolist()
    written = np.empty(len(values), object)
    written[:] = values
    return written.reshape(array.shape).tolist()


def _text(value: bytes, as_bytes: bool) -> Any:
    if not as_bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return {_B64: base64.b64encode(value).decode()}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not (value.keys() == {_B64} and isinstance(value[_B64], str))


def _type(value: Any) -> str:
    kinds = {dict: "Object", list: "Array", str: "String", type(None): "Null"}
    if isinstance(value, bool):
        return str(value)
    return kinds.get(type(value), "Number")


def _some(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=True)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 200 else text[:200] + "..."
