"""What the second document of a compiled file gives the pods, as far as it can be given here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Secrets:
    """Variables that Kubernetes takes from secrets and config maps.

    Attributes:
      variables: executor label -> variable -> name of the secret or config map.
    """

    variables: Mapping[str, Mapping[str, str]]

    def variables_of(self, label: str) -> tuple[str, ...]:
        """Returns the variables of one executor."""
        return tuple(self.variables.get(label, ()))

    def missing(self) -> Iterator[str]:
        """Yields in words what this process's environment lacks."""
        wanted = {item for found in self.variables.values() for item in found.items()}
        for variable, name in sorted(wanted):
            if variable not in os.environ:
                yield f"{variable} of {name} is not set here: tasks run without it"


NO_SECRETS = Secrets({})


def secrets_of(documents: Sequence[Mapping[str, Any]]) -> Secrets:
    """Returns what a compiled file takes from secrets and config maps.

    Args:
      documents: of the file.
    """
    platform = documents[1] if len(documents) > 1 else {}
    part = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {})
    return Secrets({label: _of(pod) for label, pod in part.get("executors", {}).items()})


def _of(pod: Mapping[str, Any]) -> dict[str, str]:
    return {
        key["envVar"]: entry[named]
        for kind, named in (("secretAsEnv", "secretName"), ("configMapAsEnv", "configMapName"))
        for entry in pod.get(kind, ())
        for key in entry.get("keyToEnv", ())
    }
