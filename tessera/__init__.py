"""Tessera from Python: ask a published bundle, or a server of one.

    import tessera

    with tessera.load("serving/demo") as model:               # a folder, s3://... or gs://...
        rows = model.recommend({"history": ["i7", "i3"], "follows": ["art"]}, n=20)
        rows.to_pandas()

    with tessera.Client("http://localhost:8501", model="demo") as model:   # or host:port, gRPC
        model.similar(["i7"], n=10).to_list()

Both have `recommend`, `similar`, `score` and `encode`. Neither imports TFX; the client does not
import TensorFlow either and installs alone (`tessera-retrieval[client]`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tessera.client import Client
from tessera.model import Model
from tessera.rows import Rows
from tessera.user import User

if TYPE_CHECKING:
    from tessera.bundle import Bundle, load

__all__ = ["Bundle", "Client", "Model", "Rows", "User", "load"]


def __getattr__(name: str) -> Any:
    """Imports what needs TensorFlow's side of the project when it is first used (PEP 562)."""
    if name in ("Bundle", "load"):
        from tessera import bundle

        return getattr(bundle, name)
    raise AttributeError(f"module 'tessera' has no attribute {name!r}")
