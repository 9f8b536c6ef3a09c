"""Warm start: rows follow their vocabulary token, dense layers where shapes agree."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from core.errors import TrainingError
from core.files import read_json, staged_file, write_json
from trainer.model import RetrievalModel

_WEIGHTS = "weights.npz"
_CONFIG = "model_config.json"
_VOCABULARY = "vocabulary"
#: Tables whose rows belong to tokens, by the end of the variable's name.
_TABLES = {
    "item_id/embeddings": "items",
    "item_topic/embeddings": "topics",
    "action/embeddings": "actions",
}


def save_warm_start(
    model: RetrievalModel, folder: str, history: Sequence[Mapping[str, Any]]
) -> None:
    """Writes what a later training can start from.

    Args:
      model: the trained model.
      folder: `<serving_model_dir>/warm_start`; made if needed.
      history: one dictionary per epoch, written as `history.json`.
    """
    root = Path(folder)
    (root / _VOCABULARY).mkdir(parents=True, exist_ok=True)
    with staged_file(root / _WEIGHTS) as staging:
        buffer = io.BytesIO()
        np.savez(
            buffer, **{name: variable.numpy() for name, variable in named_weights(model).items()}
        )
        staging.write_bytes(buffer.getvalue())
    write_json(root / _CONFIG, model.config.model_dump(mode="json"))
    write_json(root / "history.json", list(history))
    for kind, tokens in _tokens(model).items():
        (root / _VOCABULARY / f"{kind}.txt").write_bytes(b"".join(t + b"\n" for t in tokens))


def load_warm_start(model: RetrievalModel, folder: str) -> dict[str, int]:
    """Takes over the weights of an earlier training.

    Tables are matched token by token, so a vocabulary may have grown, shrunk or changed
    its order; unknown-bucket rows are taken over where both have as many. Other weights
    are taken over where name and shape agree.

    Args:
      model: a built model; changed in place.
      folder: what `save_warm_start` wrote.

    Returns:
      Number of taken-over rows per token table, and `weights`, of other weights.

    Raises:
      TrainingError: another embedding dimension, or the files cannot be read.
    """
    root, now_tokens = Path(folder), _tokens(model)
    try:
        config = read_json(root / _CONFIG)
        with np.load(root / _WEIGHTS, allow_pickle=False) as archive:
            saved = {name: archive[name] for name in archive.files}
        tokens = {
            kind: _read_tokens(root / _VOCABULARY / f"{kind}.txt")
            for kind in now_tokens
            # A feature may be newer than the baseline.
            if kind in _TABLES.values() or (root / _VOCABULARY / f"{kind}.txt").is_file()
        }
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(
            f"warm start: {folder} cannot be read ({error}); set trainer.warm_start=false to "
            "train from scratch"
        ) from error
    before, now = config.get("embedding_dim"), model.config.embedding_dim
    if before != now:
        raise TrainingError(
            f"warm start: the baseline has model.embedding_dim={before}, this run has {now}; "
            "use the same value or set trainer.warm_start=false"
        )
    taken = {"weights": 0, **dict.fromkeys(_TABLES.values(), 0)}
    for name, variable in named_weights(model).items():
        kind = next((k for suffix, k in _TABLES.items() if name.endswith(suffix)), None)
        own = name.split("/")[-2] if "/" in name else name
        kind = own if kind is None and own in now_tokens else kind
        if name not in saved or (kind is not None and kind not in tokens):
            continue
        if kind is None:
            if saved[name].shape == tuple(variable.shape):
                variable.assign(saved[name])
                taken["weights"] += 1
            continue
        table, rows = remap_rows(variable.numpy(), now_tokens[kind], saved[name], tokens[kind])
        variable.assign(table)
        taken[kind] = rows
    return taken


def _tokens(model: RetrievalModel) -> dict[str, list[bytes]]:
    """Returns the tokens of every table whose rows belong to some, by kind."""
    found = {kind: getattr(model.vocabularies, kind) for kind in sorted(set(_TABLES.values()))}
    for columns in model.vocabularies.features.values():
        found |= {c.weights: c.tokens for c in columns if c.tokens is not None}
    return found


def remap_rows(
    table: np.ndarray, tokens: Sequence[bytes], old_table: np.ndarray, old_tokens: Sequence[bytes]
) -> tuple[np.ndarray, int]:
    """Copies the rows of tokens that both vocabularies hold.

    Args:
      table: [1 + len(tokens) + buckets, dim] float32, the new table.
      tokens: tokens of rows 1, 2, ...
      old_table: [1 + len(old_tokens) + old buckets, dim] float32.
      old_tokens: tokens of its rows 1, 2, ...

    Returns:
      The new table and the number of copied token rows.
    """
    old_row = {token: row for row, token in enumerate(old_tokens, start=1)}
    pairs = [(r, old_row[t]) for r, t in enumerate(tokens, start=1) if t in old_row]
    result = table.copy()
    if pairs:
        new_rows, old_rows = np.array(pairs).T
        result[new_rows] = old_table[old_rows]
    buckets, old_buckets = len(table) - 1 - len(tokens), len(old_table) - 1 - len(old_tokens)
    if buckets == old_buckets and buckets > 0:
        result[-buckets:] = old_table[-buckets:]
    return result, len(pairs)


def named_weights(model: RetrievalModel) -> dict[str, tf.Variable]:
    """Returns the trainable weights by name.

    Raises:
      TrainingError: two weights have the same name.
    """
    named: dict[str, tf.Variable] = {}
    for variable in model.trainable_weights:
        name = variable.name.removesuffix(":0")
        if name in named:
            raise TrainingError(f"two weights are called {name!r}: give their layers names")
        named[name] = variable
    return named


def _read_tokens(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1]
