"""A compiled pipeline, as far as submitting it needs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.digest import file_sha256
from core.errors import ConfigError
from kubeflow_pipelines.compile.document import load
from kubeflow_pipelines.parameters import RUN_DATE, SCHEMA_VERSION

_DIGEST_LENGTH = 16


@dataclass(frozen=True)
class Input:
    """One input parameter of a pipeline."""

    kind: str
    default: Any
    required: bool


@dataclass(frozen=True)
class Compiled:
    """A file that `tessera compile` has written.

    Attributes:
      path: of the file.
      name: of the pipeline.
      digest: SHA-256 of the file.
      inputs: name -> input parameter.
    """

    path: Path
    name: str
    digest: str
    inputs: dict[str, Input]

    @property
    def version_name(self) -> str:
        """Names a version by its content: equal files have equal names."""
        return f"sha256-{self.digest[:_DIGEST_LENGTH]}"

    def default(self, name: str) -> str:
        """Returns the default of an input as text, '' when there is none."""
        entry = self.inputs.get(name)
        return "" if entry is None or entry.default is None else str(entry.default)

    def parameters(
        self, given: Mapping[str, str | None], assignments: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Returns the parameters of a run, each with the type that the file declares.

        Args:
          given: name -> value; None: not given.
          assignments: `name=value` texts.

        Raises:
          ConfigError: an unknown parameter, a value of another type, or a required one
            (other than the run date) that is not given.
        """
        found = {name: value for name, value in given.items() if value is not None}
        for text in assignments:
            name, separator, value = text.partition("=")
            if not separator or not name:
                raise ConfigError(f"--param {text!r}: expected name=value")
            if name == RUN_DATE:
                raise ConfigError(f"--param {text!r}: give the day with --run-date")
            found[name] = value
        typed = {name: self._typed(name, value) for name, value in found.items()}
        missing = [
            name
            for name, entry in self.inputs.items()
            if entry.required and name not in typed and name != RUN_DATE
        ]
        if missing:
            raise ConfigError(
                f"{self.path}: the pipeline needs {', '.join(missing)}: give --param {missing[0]}=…"
            )
        return typed

    def _typed(self, name: str, value: str) -> Any:
        entry = self.inputs.get(name)
        if entry is None:
            near = difflib.get_close_matches(name, self.inputs, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            known = ", ".join(self.inputs) or "none"
            raise ConfigError(f"{self.path}: no parameter {name!r} (it has: {known}){hint}")
        if entry.kind == "STRING":
            return value
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = None
        if not _is_a(parsed, entry.kind):
            raise ConfigError(f"parameter {name}={value!r}: expected a {entry.kind}, as JSON")
        return parsed


def load_compiled(path: str | Path) -> Compiled:
    """Reads a compiled pipeline.

    Raises:
      ConfigError: it can not be read, is no compiled pipeline, or takes no run date.
    """
    path = Path(path)
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"{path}: the file's name must end with .yaml: Kubeflow goes by it")
    spec = load(path)[0]
    if str(spec.get("schemaVersion")) != SCHEMA_VERSION:
        raise ConfigError(
            f"{path}: not a compiled pipeline of schemaVersion {SCHEMA_VERSION} "
            f"(it says {spec.get('schemaVersion')!r}); write it with tessera compile"
        )
    name = (spec["pipelineInfo"] or {}).get("name")
    if not name:
        raise ConfigError(f"{path}: pipelineInfo.name is missing; write it with tessera compile")
    inputs = _inputs(spec)
    if RUN_DATE not in inputs:
        raise ConfigError(
            f"{path}: the pipeline takes no {RUN_DATE}, so nobody could say which day a run is of; "
            "write it with tessera compile"
        )
    return Compiled(path, str(name), file_sha256(path), inputs)


def _inputs(spec: Mapping[str, Any]) -> dict[str, Input]:
    definitions = (spec.get("root") or {}).get("inputDefinitions") or {}
    found = {}
    for name, entry in (definitions.get("parameters") or {}).items():
        default = entry.get("defaultValue")
        required = default is None and not entry.get("isOptional")
        found[str(name)] = Input(str(entry.get("parameterType", "STRING")), default, required)
    return found


def _is_a(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "BOOLEAN"
    kinds: dict[str, tuple[type, ...]] = {
        "NUMBER_INTEGER": (int,),
        "NUMBER_DOUBLE": (int, float),
        "LIST": (list,),
        "STRUCT": (dict,),
    }
    return isinstance(value, kinds.get(kind, ()))
