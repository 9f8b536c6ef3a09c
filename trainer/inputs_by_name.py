"""Functions whose inputs are only known when they are made: requests with features."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf


def with_inputs(
    body: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]],
    specs: Mapping[str, tf.TensorSpec],
    defaults: Mapping[str, tf.Tensor] | None = None,
) -> Any:
    """Returns a `tf.function` that has the inputs as parameters, as one written out would.

    Args:
      body: takes the inputs by name.
      specs: shapes and types by name, in order; those with a default last.
      defaults: what stands for an input that is left out; it becomes part of a SavedModel.
    """
    names, left_out = list(specs), defaults or {}

    def call(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        return body(dict(zip(names, values, strict=True)))

    kind, none = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    # TensorFlow reads the parameters of a function off its signature.
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, kind, default=left_out.get(name, none)) for name in names]
    )
    return tf.function(call, autograph=False, input_signature=list(specs.values()))
