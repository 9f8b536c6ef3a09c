"""Digests that name a training and what it was asked: equal digest, equal result."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
#: Parts of the trainer that do not decide a model's weights.
_NOT_TRAINING = ("trainer/retrieval", "trainer/export.py", "trainer/run_fn.py")
#: What decides the answers of a trained model.
_ASKING = (
    "trainer/retrieval",
    "trainer/export.py",
    "components/examples_io.py",
    "components/evaluator/examples.py",
    "components/evaluator/items.py",
    "components/evaluator/replay.py",
    "components/requests.py",
    "components/index_builder/catalogue.py",
    "research/experiment/evaluate.py",
    "research/experiment/timing.py",
)


@cache
def training_code() -> str:
    """Returns the digest of the code that decides a model's weights."""
    excluded = {path for place in _NOT_TRAINING for path in _sources(place)}
    return source_digest(path for path in _sources("trainer") if path not in excluded)


@cache
def asking_code() -> str:
    """Returns the digest of the code that decides what a trained model answers."""
    return source_digest(path for place in _ASKING for path in _sources(place))


def source_digest(paths: Iterable[Path]) -> str:
    """Returns a 16-digit digest of Python files that words and layout do not change.

    Hours of training must not be thrown away for a comment: docstrings, comments and
    formatting are not part of it.

    Args:
      paths: Python files.
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                _drop_docstring(node)
        digest.update(path.name.encode())
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def _drop_docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> None:
    if ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:]


def _sources(place: str) -> list[Path]:
    path = _ROOT / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))
