"""A compiled pipeline: its documents and the parameters that a run of it is given.

The one reader of such files, and the one place where the types of parameters are checked.
"""

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
_KINDS: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


@dataclass(frozen=True)
class PipelineInput:
    """One input parameter of a pipeline."""

    kind: str
    default: Any
    required: bool

    def fits(self, value: Any) -> bool:
        """Tells whether a value is of its kind; a truth value is no number."""
        if isinstance(value, bool) and self.kind != "BOOLEAN":
            return False
        return isinstance(value, _KINDS.get(self.kind, (object,)))

    def parse(self, text: str) -> Any:
        """Returns the value that a text says: itself, or as JSON.

        Raises:
          ValueError: it says none of its kind.
        """
        value = text if self.kind == "STRING" else json.loads(text)
        if not self.fits(value):
            raise ValueError(text)
        return value


@dataclass(frozen=True)
class Compiled:
    """A file that `tessera compile` has written.

    Attributes:
      path: of the file.
      name: of the pipeline.
      digest: SHA-256 of the file.
      inputs: name -> input parameter.
      documents: the pipeline specification, and the platform specification if there is one.
    """

    path: Path
    name: str
    digest: str
    inputs: dict[str, PipelineInput]
    documents: list[dict[str, Any]]

    @property
    def version_name(self) -> str:
        """Names a version by its content: equal files have equal names."""
        return f"sha256-{self.digest[:_DIGEST_LENGTH]}"

    def default(self, name: str) -> str:
        """Returns the default of an input as text, '' when there is none."""
        entry = self.inputs.get(name)
        return "" if entry is None or entry.default is None else str(entry.default)

    def defaults(self) -> dict[str, Any]:
        """Returns name -> default of every input that has one."""
        inputs = self.inputs.items()
        return {name: entry.default for name, entry in inputs if entry.default is not None}

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
            known = ", ".join(self.inputs) or "none"
            raise ConfigError(
                f"{self.path}: no parameter {name!r} (it has: {known}){_near(name, self.inputs)}"
            )
        try:
            return entry.parse(value)
        except ValueError:
            raise ConfigError(
                f"parameter {name}={value!r}: expected a {entry.kind}, as JSON"
            ) from None


def load_compiled(path: str | Path) -> Compiled:
    """Reads a compiled pipeline.

    Raises:
      ConfigError: it cannot be read, is no compiled pipeline, or takes no run date.
    """
    path = Path(path)
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"{path}: the file's name must end with .yaml: Kubeflow goes by it")
    documents = load(path)
    spec = documents[0]
    if str(spec.get("schemaVersion")) != SCHEMA_VERSION:
        raise ConfigError(
            f"{path}: not a compiled pipeline of schemaVersion {SCHEMA_VERSION} "
            f"(it says {spec.get('schemaVersion')!r}); write it with tessera compile"
        )
    name = (spec["pipelineInfo"] or {}).get("name")
    if not name:
        raise ConfigError(f"{path}: pipelineInfo.name is missing; write it with tessera compile")
    inputs = declared_inputs(spec)
    if RUN_DATE not in inputs:
        raise ConfigError(
            f"{path}: the pipeline takes no {RUN_DATE}, so nobody could say which day a run is of; "
            "write it with tessera compile"
        )
    return Compiled(path, str(name), file_sha256(path), inputs, documents)


def declared_inputs(spec: Mapping[str, Any]) -> dict[str, PipelineInput]:
    """Returns the input parameters of a pipeline specification."""
    definitions = (spec.get("root") or {}).get("inputDefinitions") or {}
    found = {}
    for name, entry in (definitions.get("parameters") or {}).items():
        default = entry.get("defaultValue")
        required = default is None and not entry.get("isOptional")
        found[str(name)] = PipelineInput(
            str(entry.get("parameterType", "STRING")), default, required
        )
    return found


def complete(spec: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the value of every parameter of a pipeline, defaults included.

    Args:
      spec: the pipeline specification.
      given: what a run names.

    Raises:
      ConfigError: a parameter is unknown, missing or of another type; lists every problem.
    """
    inputs = declared_inputs(spec)
    problems = [
        f"parameter {name!r} is not known{_near(name, inputs)}"
        for name in sorted(given.keys() - inputs.keys())
    ]
    values = {}
    for name, entry in inputs.items():
        value = given.get(name, entry.default)
        if value is None:
            problems.append(f"parameter {name!r} must be given ({entry.kind.lower()})")
        elif not entry.fits(value):
            problems.append(f"parameter {name!r} must be a {entry.kind.lower()}, got {value!r}")
        else:
            values[name] = value
    if problems:
        raise ConfigError(f"{spec['pipelineInfo']['name']}: " + "; ".join(problems))
    return values


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
