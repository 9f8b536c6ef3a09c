"""Adds the model card to what is published."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.bundle.manifest import Manifest
from components.index_builder.layout import INDEX_FILE
from components.pusher.content import EVALUATION, Content
from components.pusher.model_card import MODEL_CARD, model_card
from core.files import read_json


@contextmanager
def with_card(content: Content, manifest: Manifest) -> Iterator[tuple[Content, Manifest]]:
    """Yields content and manifest with the card among their files; it is gone afterwards."""
    text = model_card(manifest, _json(content, EVALUATION), _json(content, INDEX_FILE))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL_CARD
        path.write_text(text, encoding="utf-8")
        carded = content.plus(MODEL_CARD, path)
        yield carded, manifest.model_copy(update={"files": carded.files})


def _json(content: Content, name: str) -> dict[str, Any]:
    """Returns a file of the bundle; empty where there is none or it holds no object."""
    source = content.sources.get(name)
    try:
        tree = {} if source is None else read_json(source)
    except ValueError:
        return {}
    return tree if isinstance(tree, dict) else {}
