"""References inside a compiled pipeline: what a task reads must be there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Spec = Mapping[str, Any]


def graph_problems(spec: Spec) -> Iterator[str]:
    """Yields references that lead nowhere, inputs that nobody gives, and circles."""
    yield from _dag_problems(spec, "root", spec.get("root", {}))
    for name, component in spec.get("components", {}).items():
        if "dag" in component:
            yield from _dag_problems(spec, name, component)
        label = component.get("executorLabel")
        if label and label not in spec.get("deploymentSpec", {}).get("executors", {}):
            yield f"{name}: executor {label!r} is not defined"


def _dag_problems(spec: Spec, where: str, graph: Spec) -> Iterator[str]:
    tasks = graph.get("dag", {}).get("tasks", {})
    given = graph.get("inputDefinitions", {}).get("parameters", {})
    for name, task in tasks.items():
        component = spec.get("components", {}).get(task.get("componentRef", {}).get("name"))
        if component is None:
            yield f"{where}.{name}: its component is not defined"
            continue
        yield from _unconnected(f"{where}.{name}", task, component)
        for other in task.get("dependentTasks", ()):
            if other not in tasks:
                yield f"{where}.{name}: waits for {other!r}, which is not there"
        yield from _dangling(f"{where}.{name}", task, tasks, given, spec)
    for name in task_order(tasks)[1]:
        yield f"{where}.{name}: never starts, what it waits for waits for it or is not there"


def _unconnected(where: str, task: Spec, component: Spec) -> Iterator[str]:
    for kind in ("parameters", "artifacts"):
        declared = component.get("inputDefinitions", {}).get(kind, {})
        connected = task.get("inputs", {}).get(kind, {})
        for key, definition in declared.items():
            optional = definition.get("isOptional") or "defaultValue" in definition
            if key not in connected and not optional:
                yield f"{where}: input {key!r} is given by nobody"
        for key in connected:
            if key not in declared:
                yield f"{where}: input {key!r} is not declared"


def _dangling(where: str, task: Spec, tasks: Spec, given: Spec, spec: Spec) -> Iterator[str]:
    inputs = task.get("inputs", {})
    for key, source in (
        *inputs.get("parameters", {}).items(),
        *inputs.get("artifacts", {}).items(),
    ):
        parent = source.get("componentInputParameter")
        if parent is not None and parent not in given:
            yield f"{where}: {key!r} reads {parent!r}, which its parent does not have"
        for kind, output_key in (
            ("taskOutputArtifact", "outputArtifactKey"),
            ("taskOutputParameter", "outputParameterKey"),
        ):
            if kind in source:
                yield from _no_producer(where, key, source[kind], output_key, tasks, spec)
        status = source.get("taskFinalStatus")
        if status is not None and status.get("producerTask") not in tasks:
            yield f"{where}: {key!r} is the status of a task that is not there"


def _no_producer(
    where: str, key: str, source: Spec, output_key: str, tasks: Spec, spec: Spec
) -> Iterator[str]:
    producer = str(source.get("producerTask"))
    if producer not in tasks:
        yield f"{where}: {key!r} comes from task {producer!r}, which is not there"
        return
    name = tasks[producer].get("componentRef", {}).get("name")
    outputs = spec.get("components", {}).get(name, {}).get("outputDefinitions", {})
    kind = "artifacts" if output_key == "outputArtifactKey" else "parameters"
    if source.get(output_key) not in outputs.get(kind, {}):
        yield f"{where}: {key!r} is no output {source.get(output_key)!r} of {producer!r}"


def _sources(task: Spec) -> Iterator[tuple[str, Spec]]:
    inputs = task.get("inputs", {})
    for kind in ("parameters", "artifacts"):
        yield from inputs.get(kind, {}).items()


def task_order(tasks: Spec) -> tuple[list[str], list[str]]:
    """Returns the tasks of one graph, each after what it waits for, and those that never start.

    Tasks that could start at the same time come by name. A task that waits for itself or for
    one that is not there never starts.
    """
    ordered: list[str] = []
    waiting = set(tasks)
    while ready := sorted(name for name in waiting if upstream(tasks[name]) <= set(ordered)):
        ordered.append(ready[0])
        waiting.remove(ready[0])
    return ordered, sorted(waiting)


def upstream(task: Spec) -> set[str]:
    """Returns the tasks that a task waits for: those it names and those it reads from."""
    found = set(task.get("dependentTasks", ()))
    for _, source in _sources(task):
        for kind in ("taskOutputArtifact", "taskOutputParameter", "taskFinalStatus"):
            if kind in source:
                found.add(source[kind]["producerTask"])
    return found
