"""The plan of a size: what each step needs, and the pods that give it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ConfigError
from pipeline.plan.laws import LAWS, SERVING, Size, forecast

#: Where `make bench-scale` writes what it measured.
CONSTANTS_FILE = Path("benchmarks/constants.json")
#: Steps whose work is spread over the cores; Beam in one process keeps to one.
PARALLEL = ("Trainer", "IndexBuilder", "RetrievalEvaluator", "ServingValidator")
#: Memory asked for, and allowed, beside the forecast.
_REQUEST, _LIMIT = 1.25, 1.75
#: Share of a serving pod's cores that requests may use, so that they do not wait.
_BUSY = 0.6
_MIN_REPLICAS = 2


@dataclass(frozen=True)
class StepPlan:
    """What one step of a run needs.

    Attributes:
      step: component id.
      cpu_s: CPU seconds, imports included.
      wall_s: seconds where its cores are its own.
      memory_gb: peak of its largest process, gigabytes.
      disk_gb: of its outputs, gigabytes.
      cores: cores that it can use.
    """

    step: str
    cpu_s: float
    wall_s: float
    memory_gb: float
    disk_gb: float
    cores: int

    def resources(self) -> dict[str, float]:
        """Returns an entry of `kubeflow.resources`."""
        return {
            "cpu_request": self.cores,
            "cpu_limit": self.cores,
            "memory_request_gb": _half(_REQUEST * self.memory_gb),
            "memory_limit_gb": _half(_LIMIT * self.memory_gb),
        }


@dataclass(frozen=True)
class ServingPlan:
    """What answering requests needs.

    Attributes:
      request_cpu_s: CPU seconds of a request.
      memory_gb: peak of a process, gigabytes; a version swap holds two versions.
      replicas: pods.
      cores: cores of a pod.
    """

    request_cpu_s: float
    memory_gb: float
    replicas: int
    cores: int

    def resources(self) -> dict[str, float]:
        """Returns what a pod asks for, in the words of `kubeflow.resources`."""
        return {
            "cpu_request": self.cores,
            "memory_request_gb": _half(_REQUEST * 2 * self.memory_gb),
        }


@dataclass(frozen=True)
class Plan:
    """Every step of a run, and serving."""

    size: Size
    steps: list[StepPlan]
    serving: ServingPlan

    @property
    def wall_s(self) -> float:
        """Seconds of a run, one step after the other."""
        return sum(step.wall_s for step in self.steps)

    @property
    def disk_gb(self) -> float:
        """Gigabytes of a run's artifacts and its published version."""
        return sum(step.disk_gb for step in self.steps)

    def resources(self) -> dict[str, dict[str, float]]:
        """Returns `kubeflow.resources`: small steps share `default`."""
        small = [step for step in self.steps if set(LAWS[step.step]["memory_gb"]) == {"fixed"}]
        default = max(small, key=lambda step: step.memory_gb).resources()
        large = {step.step: step.resources() for step in self.steps if step not in small}
        return {"default": default, **large}


def read_constants(path: Path = CONSTANTS_FILE) -> dict[str, Any]:
    """Returns the fitted constants: `import_cpu_s`, `basis` and `steps`.

    Raises:
      ConfigError: there is no such file, or it is not one that `make bench-scale` writes.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no constants: `make bench-scale` in a checkout measures those of this "
            "machine, --constants names a file of another one"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    wanted = {"import_cpu_s", "basis", "steps"}
    if (
        not isinstance(found, dict)
        or not wanted <= found.keys()
        or found["steps"].keys() != LAWS.keys()
    ):
        raise ConfigError(f"{path}: not of this version: measure again with `make bench-scale`")
    return found


def make_plan(
    size: Size, cores: int, requests_per_second: float, constants: dict[str, Any]
) -> Plan:
    """Applies the laws to a size.

    Args:
      size: what is to be run.
      cores: of a pod of a step that uses several, and of a serving pod.
      requests_per_second: at the busiest time.
      constants: see `read_constants`.
    """
    laws, imports = constants["steps"], constants["import_cpu_s"]
    steps = []
    for step in LAWS:
        if step == SERVING:
            continue
        used = cores if step in PARALLEL else 1
        work = forecast(laws, step, "cpu_s", size)
        steps.append(
            StepPlan(
                step=step,
                cpu_s=imports + work,
                wall_s=imports + work / used,
                memory_gb=forecast(laws, step, "memory_gb", size),
                disk_gb=forecast(laws, step, "disk_gb", size),
                cores=used,
            )
        )
    request = forecast(laws, SERVING, "request_cpu_s", size)
    needed = math.ceil(requests_per_second * request / (_BUSY * cores))
    serving = ServingPlan(
        request_cpu_s=request,
        memory_gb=forecast(laws, SERVING, "memory_gb", size),
        replicas=max(_MIN_REPLICAS, needed),
        cores=cores,
    )
    return Plan(size, steps, serving)


def _half(value: float) -> float:
    """Rounds up to half a gigabyte."""
    return math.ceil(2 * value) / 2
