"""One SavedModel in a TF1 session, as TensorFlow Serving runs it.

`tf.saved_model.load` is not used: it keeps ScaNN's searcher after the model is
dropped (hundreds of megabytes for every reload), a closed session frees it.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from core.errors import BundleError
from serving.server.errors import Code, RequestError, invalid
from serving.server.tensors import from_proto

DEFAULT_SIGNATURE = "serving_default"
#: Rows of the largest batch that is run.
MAX_BATCH_ROWS = 8192
#: TensorFlow Serving's own limit.
MAX_WARMUP_RECORDS = 1000
WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"


class SignatureInput(NamedTuple):
    """What a signature takes under one name.

    Attributes:
      dtype: TensorFlow's.
      shape: sizes, None for any.
      default: value where the request may leave the input out.
    """

    dtype: tf.DType
    shape: tuple[int | None, ...]
    default: np.ndarray | None


class Session:
    """A loaded SavedModel; `run` may be called by many threads at once."""

    def __init__(self, folder: Path, scann: bool = False) -> None:
        """Loads the model.

        Args:
          folder: of the SavedModel.
          scann: it holds ScaNN's ops, which are registered first.

        Raises:
          BundleError: it cannot be loaded.
        """
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        if scann:
            from trainer.retrieval.search import load_scann_ops

            load_scann_ops()
        self._lock = threading.Lock()
        self._calls: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        try:
            graph = tf.compat.v1.saved_model.loader.load(self._session, ["serve"], str(folder))
        except (tf.errors.OpError, OSError, RuntimeError, ValueError) as error:
            self.close()
            raise BundleError(f"{folder}: cannot be loaded: {first_line(error)}") from error
        self.signatures = {
            name: signature
            for name, signature in graph.signature_def.items()
            if not name.startswith("__")
        }
        self._inputs = {name: _inputs(value) for name, value in self.signatures.items()}

    @property
    def graph(self) -> tf.Graph:
        """What runs."""
        return self._session.graph

    def inputs(self, signature: str) -> dict[str, SignatureInput]:
        """Returns the inputs of a signature ('' means the default one).

        Raises:
          RequestError: there is no such signature.
        """
        name = signature or DEFAULT_SIGNATURE
        if name not in self._inputs:
            known = ", ".join(sorted(self._inputs))
            raise RequestError(
                Code.FAILED_PRECONDITION,
                f'Serving signature key "{name[:100]}" not found. Known: {known}',
            )
        return self._inputs[name]

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        signature: str = "",
        outputs: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """Runs a signature once.

        Args:
          inputs: by name; those with defaults may be left out.
          signature: '' means the default one.
          outputs: names of the outputs that are wanted, all without any.

        Raises:
          RequestError: unknown names, wrong types or shapes, or the graph refuses the values.
        """
        name = signature or DEFAULT_SIGNATURE
        feeds = _feeds(self.inputs(name), inputs)
        wanted = self._wanted(name, outputs)
        call = self._call(name, wanted)
        try:
            values = call(*feeds)
        except tf.errors.OpError as error:
            raise RequestError(Code.of(error.error_code), first_line(error)) from error
        except (ValueError, TypeError, OverflowError) as error:
            raise invalid(f"the inputs do not fit the signature: {first_line(error)}") from error
        except RuntimeError as error:
            raise RequestError(Code.UNAVAILABLE, first_line(error)) from error
        return dict(zip(wanted, values, strict=True))

    def warm_up(self, folder: Path) -> int:
        """Replays the recorded requests beside a SavedModel.

        Args:
          folder: of the SavedModel.

        Returns:
          How many there were; 0 without the file.

        Raises:
          BundleError: the file cannot be read, holds too many records, or one of them fails:
            TensorFlow Serving would not load such a model.
        """
        from tensorflow_serving.apis import prediction_log_pb2

        path = folder / WARMUP_FILE
        if not path.exists():
            return 0
        count = 0
        try:
            for record in tf.compat.v1.io.tf_record_iterator(str(path)):
                count += 1
                if count > MAX_WARMUP_RECORDS:
                    raise BundleError(f"{path}: more than {MAX_WARMUP_RECORDS} warm-up records")
                log = prediction_log_pb2.PredictionLog.FromString(record)
                if log.WhichOneof("log_type") != "predict_log":
                    raise BundleError(f"{path}: record {count} is not a Predict request")
                request = log.predict_log.request
                self.run(
                    {name: from_proto(name, value) for name, value in request.inputs.items()},
                    request.model_spec.signature_name,
                    tuple(request.output_filter),
                )
        except (RequestError, tf.errors.OpError, ValueError) as error:
            raise BundleError(f"{path}: warm-up fails: {first_line(error)}") from error
        except Exception as error:  # protobuf's DecodeError has no public base but Exception
            if isinstance(error, BundleError):
                raise
            raise BundleError(f"{path}: record {count} is not a PredictionLog: {error}") from error
        return count

    def close(self) -> None:
        """Frees the model; nothing may be running."""
        self._session.close()
        self._calls.clear()
        del self._session
        gc.collect()  # the graph lies in reference cycles
        _give_back_memory()

    def _wanted(self, signature: str, outputs: Sequence[str]) -> tuple[str, ...]:
        known = self.signatures[signature].outputs
        for name in outputs:
            if name not in known:
                raise invalid(
                    f"output tensor alias not found in signature: {name[:100]} Outputs expected "
                    f"to be in the set {{{','.join(sorted(known))}}}."
                )
        if len(set(outputs)) != len(outputs):
            raise invalid("duplicate output tensor alias")
        return tuple(sorted(outputs or known))

    def _call(self, signature: str, outputs: tuple[str, ...]) -> Any:
        """Returns the prepared call of a signature with these outputs."""
        key = (signature, outputs)
        with self._lock:
            if key not in self._calls:
                definition = self.signatures[signature]
                if len(self._calls) >= 64:  # of odd output filters; prepared again when needed
                    self._calls.clear()
                self._calls[key] = self._session.make_callable(
                    [definition.outputs[name].name for name in outputs],
                    [definition.inputs[name].name for name in sorted(definition.inputs)],
                )
            return self._calls[key]


def _give_back_memory() -> None:
    """Returns freed memory to the system, where the C library can be told to (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def first_line(error: BaseException) -> str:
    """Returns the message of an error without TensorFlow's account of graph nodes."""
    text = getattr(error, "message", None) or str(error)
    text = text.split("\n\t [[")[0].split("\nDetected at node")[0]
    lines = [line for line in text.split("\n") if line.strip() and "Graph execution" not in line]
    return " ".join(" ".join(lines).split())[:1000]


def _inputs(signature: Any) -> dict[str, SignatureInput]:
    found = {}
    for name, info in signature.inputs.items():
        shape = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
        given = signature.defaults.get(name) if name in signature.defaults else None
        default = None if given is None else tf.make_ndarray(given)
        found[name] = SignatureInput(tf.as_dtype(info.dtype), shape, default)
    return found


def _feeds(
    known: Mapping[str, SignatureInput], given: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """Returns the values in the order of names, defaults filled in."""
    extra = sorted(given.keys() - known.keys())
    missing = [name for name in sorted(known) if name not in given and known[name].default is None]
    if extra or missing:
        raise invalid(
            f"input size does not match signature. Sent extra: {{{','.join(extra)[:500]}}}. "
            f"Missing but required: {{{','.join(missing)}}}."
        )
    return [_fitting(name, known[name], given.get(name)) for name in sorted(known)]


def _fitting(name: str, wanted: SignatureInput, value: np.ndarray | None) -> np.ndarray:
    if value is None:
        if wanted.default is None:
            raise invalid(f"input {name} is missing")
        return wanted.default
    value = np.asarray(value)
    if value.dtype.kind in "SU":
        value = value.astype(object)
    if value.dtype != wanted.dtype.as_numpy_dtype:
        raise invalid(
            f"Expects input {name} to be {wanted.dtype.name} but "
            f"{tf.as_dtype(value.dtype).name} is provided"
        )
    fits = len(value.shape) == len(wanted.shape) and all(
        size is None or size == got for size, got in zip(wanted.shape, value.shape, strict=True)
    )
    if not fits:
        shape = ",".join("?" if size is None else str(size) for size in wanted.shape)
        raise invalid(f"input {name} must have the shape [{shape}], not {list(value.shape)}")
    if value.ndim and value.shape[0] > MAX_BATCH_ROWS:
        raise invalid(f"input {name} has {value.shape[0]} rows; send {MAX_BATCH_ROWS} at most")
    return value
