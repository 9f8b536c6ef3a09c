"""The files and the table of a search."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich import box
from rich.table import Table

from core.files import staged_file
from research.tuning.config import settings_tree
from research.tuning.search import ModelResult, SearchResult


def write_overlays(
    out: Path, conf: Path, result: SearchResult, words: str, overrides: Sequence[str] = ()
) -> list[Path]:
    """Writes what was found as YAML.

    `out` holds `models: {<model>: {set: ...}}` for experiments to extend; beside it lies one
    run configuration per model, `<out without suffix>.<model>.yaml`, that extends `conf`.

    Args:
      out: the file asked for.
      conf: the run configuration that was searched with.
      result: what was found.
      words: the budget, in words.
      overrides: `--set` texts of the search, which the overlays do not repeat.

    Returns:
      All files, `out` first.
    """
    also = f", with --set {' --set '.join(overrides)}" if overrides else ""
    models = {found.model: {"set": _tree(found)} for found in result.models}
    head = f"# Settings found by tessera tune for {conf.name}{also}.\n"
    for found in result.models:
        head += f"# {found.model}: {_sentence(found)}\n"
    _write(out, head, {"search_budget": words, "models": models})
    files = [out]
    for found in result.models:
        path = out.with_name(f"{out.stem}.{found.model}.yaml")
        extends = os.path.relpath(conf.resolve(), path.parent.resolve())
        head = f"# {words}{also}.\n# {_sentence(found)}\n"
        _write(path, head, {"extends": extends, **_tree(found)})
        files.append(path)
    return files


def set_options(found: ModelResult) -> str:
    """Returns the best settings as options of `tessera run`."""
    settings = {"model.name": found.model, **found.best.settings}
    return " ".join(f"--set {key}={_short(value)}" for key, value in settings.items())


def result_table(result: SearchResult, metric: str) -> Table:
    """Returns one row per model."""
    table = Table(title=metric, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model")
    for column in ("current", "best", "gain", "best trial", "done", "pruned", "failed", "s"):
        table.add_column(column, justify="right")
    for found in result.models:
        best, first = found.best.value or 0.0, found.first.value or 0.0
        counts = [str(found.count(state)) for state in ("done", "pruned", "failed")]
        seconds = sum(outcome.seconds for outcome in found.outcomes)
        values = [f"{first:.4f}", f"{best:.4f}", f"{found.gain:+.4f}", str(found.best.number)]
        table.add_row(found.model, *values, *counts, f"{seconds:.0f}")
    return table


def _tree(found: ModelResult) -> dict[str, Any]:
    settings = settings_tree(found.best.settings)
    settings["model"] = {"name": found.model, **settings.get("model", {})}
    return settings


def _sentence(found: ModelResult) -> str:
    best, first = found.best.value or 0.0, found.first.value or 0.0
    return f"validation {best:.4f}, {first:.4f} with the settings before"


def _short(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _write(path: Path, head: str, tree: Mapping[str, Any]) -> None:
    with staged_file(path) as staging:
        staging.write_text(head + yaml.safe_dump(dict(tree), sort_keys=False), encoding="utf-8")
