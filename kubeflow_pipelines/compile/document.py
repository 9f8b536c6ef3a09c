"""The compiled file: YAML, one document or two, the same bytes for the same content."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from core.errors import ConfigError


def dump(documents: Sequence[dict[str, Any]]) -> str:
    """Returns the text of a compiled file, headed by the parameters that a run may name."""
    spec = documents[0]
    lines = ["# PIPELINE DEFINITION", f"# Name: {spec['pipelineInfo']['name']}", "# Inputs:"]
    for name, definition in sorted(spec["root"]["inputDefinitions"]["parameters"].items()):
        default = definition.get("defaultValue")
        shown = "required" if default is None else f"default {default!r}"
        lines.append(f"#    {name}: {definition['parameterType'].lower()} [{shown}]")
    # A copy without shared parts: YAML would write those as anchors, which few readers expect.
    plain = json.loads(json.dumps(list(documents)))
    body = yaml.safe_dump_all(plain, sort_keys=True, width=100, allow_unicode=True)
    return "\n".join(lines) + "\n" + body


def load(path: str | Path) -> list[dict[str, Any]]:
    """Reads a compiled file.

    Raises:
      ConfigError: it is missing, or no compiled pipeline.
    """
    try:
        documents = list(yaml.safe_load_all(Path(path).read_bytes()))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file; write it with tessera compile --conf FILE -o {path}"
        ) from None
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    found = [document for document in documents if document]
    if not found or not all(isinstance(document, dict) for document in found):
        raise ConfigError(f"{path}: not a compiled pipeline; write it with tessera compile")
    if "pipelineInfo" not in found[0]:
        raise ConfigError(
            f"{path}: not a compiled pipeline (no pipelineInfo); write it with tessera compile"
        )
    return found
