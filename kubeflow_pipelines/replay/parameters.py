"""The parameters of a run: what the caller gives, completed by defaults."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from core.errors import ConfigError

_KINDS: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


def resolve_parameters(spec: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the value of every parameter of a pipeline.

    Args:
      spec: the pipeline specification.
      given: what the caller names.

    Raises:
      ConfigError: a parameter is unknown, missing or of another type; lists every problem.
    """
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    problems, values = [], {}
    for name in sorted(given.keys() - declared.keys()):
        near = difflib.get_close_matches(name, declared, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        problems.append(f"parameter {name!r} is not known{hint}")
    for name, definition in declared.items():
        value = given.get(name, definition.get("defaultValue"))
        kind = definition["parameterType"]
        if value is None:
            problems.append(f"parameter {name!r} must be given ({kind.lower()})")
        elif not _fits(value, kind):
            problems.append(f"parameter {name!r} must be a {kind.lower()}, got {value!r}")
        else:
            values[name] = value
    if problems:
        raise ConfigError(f"{spec['pipelineInfo']['name']}: " + "; ".join(problems))
    return values


def _fits(value: Any, kind: str) -> bool:
    if isinstance(value, bool) and kind != "BOOLEAN":
        return False
    return isinstance(value, _KINDS.get(kind, (object,)))
