"""Whether a SavedModel's signatures are those that are promised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from core.errors import BundleError
from trainer import features
from trainer.retrieval import signature

_USER = {name: (spec.dtype, spec.shape.rank) for name, spec in signature.USER_SPECS.items()}
_OPTIONS = {name: (spec.dtype, spec.shape.rank) for name, spec in signature.OPTION_SPECS.items()}
_ITEMS = {name: (spec.dtype, spec.shape.rank) for name, spec in signature.ITEM_SPECS.items()}
_RETRIEVED = {
    "item_id": (tf.string, 2),
    "score": (tf.float32, 2),
    "slot": (tf.int32, 2),
    "slot_kind": (tf.int32, 2),
    "slot_topic": (tf.string, 2),
    "found_by": (tf.int64, 2),
    "count": (tf.int32, 1),
    "user_id": (tf.string, 1),
    "history_slot": (tf.int32, 2),
    "slot_mass": (tf.float32, 2),
    "slot_valid": (tf.bool, 2),
}
_EMBEDDED = {
    "embeddings": (tf.float32, 3),
    "slot_valid": (tf.bool, 2),
    "mass": (tf.float32, 2),
    "slot_kind": (tf.int32, 2),
    "slot_topic": (tf.string, 2),
    "history_slot": (tf.int32, 2),
}
_SIMILAR = {
    "item_id": (tf.string, 2),
    "score": (tf.float32, 2),
    "count": (tf.int32, 1),
    "known": (tf.bool, 1),
}
_SCORED = {
    "known": (tf.bool, 2),
    "score": (tf.float32, 2),
    "slot": (tf.int32, 2),
    "slot_kind": (tf.int32, 2),
    "slot_topic": (tf.string, 2),
    "implicit_score": (tf.float32, 2),
    "explicit_score": (tf.float32, 2),
    "has_implicit": (tf.bool, 1),
    "has_explicit": (tf.bool, 1),
}
_NUM_RESULTS = {signature.NUM_RESULTS: _OPTIONS[signature.NUM_RESULTS]}

#: Signature -> inputs and outputs, each name -> (dtype, rank); every dimension is open but
#: those that the model fixes in its outputs.
PROMISED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "serving_default": ({**_USER, **_OPTIONS}, _RETRIEVED),
    signature.RETRIEVE: ({**_USER, **_OPTIONS}, _RETRIEVED),
    signature.RETRIEVE_EXAMPLES: ({signature.EXAMPLES: (tf.string, 1)}, _RETRIEVED),
    signature.EMBED_USER: (_USER, _EMBEDDED),
    signature.EMBED_ITEMS: (_ITEMS, {"embeddings": (tf.float32, 2)}),
    signature.SIMILAR_ITEMS: ({**_ITEMS, **_NUM_RESULTS}, _SIMILAR),
    signature.SCORE_ITEMS: ({**_USER, "item_id": (tf.string, 2)}, _SCORED),
}
_FILTERS = {name: (tf.string, 2) for name in signature.FILTER_SPECS}
#: What is promised as well where `retrieval.filters` names columns.
PROMISED_FILTERED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    signature.RETRIEVE_FILTERED: ({**_USER, **_OPTIONS, **_FILTERS}, _RETRIEVED),
    signature.SIMILAR_FILTERED: ({**_ITEMS, **_NUM_RESULTS, **_FILTERS}, _SIMILAR),
}


def broken_promises(saved_model: Path, filtered: bool = False) -> list[str]:
    """Returns how the signatures differ from what is promised, in words.

    Args:
      saved_model: folder of the SavedModel.
      filtered: whether requests may be filtered.

    Raises:
      BundleError: there is no readable SavedModel.
    """
    definitions = _definitions(saved_model)
    problems = []
    promised = {**PROMISED, **PROMISED_FILTERED} if filtered else PROMISED
    if features.USER_VALUES in definitions[signature.EMBED_USER].inputs:
        promised = {name: (_featured(given), out) for name, (given, out) in promised.items()}
    for name, (inputs, outputs) in promised.items():
        if name not in definitions:
            problems.append(f"no signature `{name}`")
            continue
        definition = definitions[name]
        problems += _compare(f"{name} input", definition.inputs, inputs, open_shape=True)
        problems += _compare(f"{name} output", definition.outputs, outputs, open_shape=False)
        optional = {**_OPTIONS, **_FILTERS, **dict.fromkeys(features.VALUE_FEATURES)}
        problems += _defaults(name, definition, [k for k in inputs if k in optional])
    return problems


def _featured(inputs: dict[str, Any]) -> dict[str, Any]:
    """Returns the inputs of a signature of a model with features."""
    texts = (tf.string, 2)
    if features.TIMESTAMP in inputs:
        return {**inputs, features.USER_VALUES: texts}
    return {**inputs, features.ITEM_VALUES: texts} if features.ITEM_TOPICS in inputs else inputs


def _definitions(saved_model: Path) -> Any:
    path = saved_model / "saved_model.pb"
    try:
        proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
        return proto.meta_graphs[0].signature_def
    except (OSError, DecodeError, IndexError) as error:
        raise BundleError(f"{path.name} cannot be read: {error}") from error


def _compare(where: str, found: Any, promised: dict[str, Any], open_shape: bool) -> list[str]:
    """Compares the tensors of a SignatureDef with what is promised of them."""
    problems = [f"{where} `{name}` is missing" for name in promised if name not in found]
    problems += [
        f"{where} `{name}` is not promised" for name in sorted(found) if name not in promised
    ]
    for name, (dtype, rank) in promised.items():
        if name not in found:
            continue
        info = found[name]
        has = tf.dtypes.as_dtype(info.dtype)
        if has != dtype:
            problems.append(f"{where} `{name}` is {has.name}, promised {dtype.name}")
        if info.tensor_shape.unknown_rank and not open_shape:
            continue  # only known when it runs, and looked at then
        shape = [dimension.size for dimension in info.tensor_shape.dim]
        fixed = shape if open_shape else shape[:1]
        if len(shape) != rank or any(size != -1 for size in fixed):
            problems.append(
                f"{where} `{name}` has shape {shape}, promised {rank} open dimension(s)"
            )
    return problems


def _defaults(name: str, definition: Any, options: list[str]) -> list[str]:
    problems = []
    for option in options:
        if option not in definition.defaults:
            problems.append(f"{name} input `{option}` has no default")
            continue
        value = tf.make_ndarray(definition.defaults[option])
        known = option in signature.OPTION_DEFAULTS
        wanted = [signature.OPTION_DEFAULTS[option]] if known else [[b""]]
        if not np.array_equal(value, wanted):
            problems.append(f"{name} input `{option}` has default {value!r}, promised {wanted!r}")
    return problems
