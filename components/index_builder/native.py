"""ScaNN's native index, for side-cars without TensorFlow Serving."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from core.files import staged_directory
from trainer.retrieval.search import ScannParameters, configure_scann

_ASSETS = "scann_assets.pbtxt"
_PATH = re.compile(r'(asset_path:\s*")([^"]*)(")')


def write_native(embeddings: np.ndarray, parameters: ScannParameters, folder: str | Path) -> None:
    """Builds and writes the native index.

    ScaNN writes the absolute path of each of its files; the paths are cut to
    file names, so that the folder can be copied. Read it with `load_native`,
    or from inside the folder with ScaNN's own `load_searcher('.')`.
    """
    from scann.scann_ops.py import scann_ops_pybind

    builder = scann_ops_pybind.builder(embeddings, 100, "dot_product")
    searcher = configure_scann(builder, parameters).build()
    with staged_directory(folder) as staging:
        searcher.serialize(str(staging))
        assets = staging / _ASSETS
        assets.write_text(_rewrite(assets.read_text(), lambda name: name))


def load_native(folder: str | Path) -> Any:
    """Loads what `write_native` wrote, wherever the folder is now."""
    from scann.scann_ops.py import scann_ops_pybind

    root = Path(folder).resolve()
    text = _rewrite((root / _ASSETS).read_text(), lambda name: str(root / name))
    numpy_searcher = scann_ops_pybind.scann_pybind.ScannNumpy(str(root), text)
    return scann_ops_pybind.ScannSearcher(numpy_searcher)


def _rewrite(text: str, place: Any) -> str:
    return _PATH.sub(lambda m: m.group(1) + place(Path(m.group(2)).name) + m.group(3), text)
