"""Process environment that TensorFlow and TFX must find before they are imported."""

from __future__ import annotations

import os
import warnings

_DEFAULTS = {
    # TensorFlow Recommenders needs Keras 2; Beam workers inherit this.
    "TF_USE_LEGACY_KERAS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONWARNINGS": "ignore",
    # The pure-Python protobuf of some set-ups is an order of magnitude slower.
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "cpp",
}


def prepare(*, hide_accelerators: bool = True) -> None:
    """Sets what is not set yet; call before the first import of TensorFlow.

    Args:
      hide_accelerators: False where a task may have asked for some.
    """
    if hide_accelerators:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore")
