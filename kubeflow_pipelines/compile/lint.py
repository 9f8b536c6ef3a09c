"""What the backend enforces, and what makes a pipeline fail only once it runs.

Every rule is a function from the documents of a compiled file to its problems; `RULES`
names them all with their reason. Checked before a file is written, and by
`tessera compile --check FILE`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pipeline_pb2

from core.secrets import looks_secret
from kubeflow_pipelines.compile.finalize import EXIT_HANDLER, container_tasks
from kubeflow_pipelines.compile.graph import graph_problems
from kubeflow_pipelines.compile.platform_message import executor_config_class
from kubeflow_pipelines.parameters import DATA_ROOT, RUN_DATE, SCHEMA_VERSION, SERVING_ROOT
from pipeline.config.kubeflow import is_pinned

Documents = Sequence[Mapping[str, Any]]

#: Kubernetes stores at most 1.5 MiB per object, and a workflow holds the specification.
MAX_BYTES = 500_000
#: The kernel takes 128 KiB as one argument, and `{{$}}` becomes one.
MAX_TASK_BYTES = 100_000
#: A task that takes longer would get no retry.
MIN_RETRY_WINDOW_S = 21_600
ENTRYPOINT = ("python", "-m", "kubeflow_pipelines.task.entrypoint")
#: What files call that were compiled before the entry point had its present name.
EARLIER_ENTRYPOINT = ("python", "-m", ".".join(("pipeline", "kubeflow", "entrypoint")))
#: They look at tables, published versions, the machine or the clock, which Kubeflow's cache
#: key does not know.
NEVER_CACHED = frozenset(
    {"RetrievalExampleGen", "BaselineResolver", "ServingValidator", "Pusher", EXIT_HANDLER}
)
_PIPELINE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
#: Argo's rule for names of templates and tasks.
_TASK_NAME = re.compile(r"[a-zA-Z0-9](-?[a-zA-Z0-9]){0,62}")
_ABSOLUTE = re.compile(r"(?:file://)?/[^/\s]+(?:/[^/\s]+)*/?")
_URL = re.compile(r"[a-z][a-z0-9]*://.+")
#: Beam's options that name another machine: this one's address is the pod's own there.
_SERVICE = re.compile(r"--(job_endpoint|flink_master)=.*\b(localhost|127\.0\.0\.1)\b.*")


class LintRule(NamedTuple):
    """One rule.

    Attributes:
      name: what problems begin with.
      reason: what happens without it.
      check: yields problems, free of the name.
    """

    name: str
    reason: str
    check: Callable[[Documents], Iterator[str]]


def lint(documents: Documents) -> list[str]:
    """Returns every problem of a compiled file, `rule: problem`.

    Args:
      documents: the pipeline specification, and the platform specification if there is one.
    """
    if not documents or "pipelineInfo" not in documents[0]:
        return ["documents: the first document is no pipeline specification"]
    problems = [f"{rule.name}: {text}" for rule in RULES for text in rule.check(documents)]
    return list(dict.fromkeys(problems))


def _schema_version(documents: Documents) -> Iterator[str]:
    found = documents[0].get("schemaVersion")
    if found != SCHEMA_VERSION:
        yield f"schemaVersion is {found!r}, the backend takes {SCHEMA_VERSION} alone"


def _parses(documents: Documents) -> Iterator[str]:
    spec = documents[0]
    messages = [
        ("the pipeline specification", pipeline_pb2.PipelineSpec, spec),
        (
            "deploymentSpec",
            pipeline_pb2.PipelineDeploymentConfig,
            spec.get("deploymentSpec", {}),
        ),
    ]
    for label, executor in _platform_executors(documents).items():
        messages.append((f"platform {label}", executor_config_class(), executor))
    for what, message, tree in messages:
        try:
            json_format.ParseDict(tree, message())
        except json_format.ParseError as error:
            yield f"{what} does not parse: {error}"


def _names(documents: Documents) -> Iterator[str]:
    spec = documents[0]
    name = spec["pipelineInfo"].get("name", "")
    if not _PIPELINE_NAME.fullmatch(name):
        yield f"pipeline name {name!r}: lower-case letters, digits and '-' only, 63 at most"
    graphs = [spec.get("root", {}), *spec.get("components", {}).values()]
    tasks = {task for graph in graphs for task in graph.get("dag", {}).get("tasks", {})}
    for task in sorted({*tasks, *spec.get("components", {})}):
        if not _TASK_NAME.fullmatch(task):
            yield f"task or component {task!r}: letters, digits and single '-' only, 63 at most"


def _executors(documents: Documents) -> Iterator[str]:
    for label, executor in _executors_of(documents):
        kinds = set(executor) & {"container", "importer", "resolver", "customJob"}
        for kind in sorted(kinds & {"resolver", "customJob"}):
            yield f"{label} is a {kind}, which the open-source backend does not implement"
        if not kinds:
            yield f"{label} has no container"
        if "lifecycle" in executor.get("container", {}):
            yield f"{label} has a lifecycle hook, which the open-source backend never runs"


def _constants(documents: Documents) -> Iterator[str]:
    for name, task in container_tasks(documents[0]):
        for key, source in task.get("inputs", {}).get("parameters", {}).items():
            if "runtimeValue" in source and "constant" not in source["runtimeValue"]:
                kinds = ", ".join(source["runtimeValue"])
                yield f"{name}.{key}: the backend's driver reads constants alone, not {kinds}"


def _graph(documents: Documents) -> Iterator[str]:
    yield from graph_problems(documents[0])


def _images(documents: Documents) -> Iterator[str]:
    for label, container in _containers(documents):
        image = container.get("image", "")
        if not is_pinned(image):
            yield f"{label}: image {image!r} is not pinned by a digest or by a tag but latest"


def _commands(documents: Documents) -> Iterator[str]:
    for label, container in _containers(documents):
        if tuple(container.get("command", ())) not in (ENTRYPOINT, EARLIER_ENTRYPOINT):
            yield (
                f"{label}: runs {' '.join(container.get('command', ())) or 'nothing'}, not "
                f"{' '.join(ENTRYPOINT)}; TFX's own entry point fails on this backend"
            )


def _local_paths(documents: Documents) -> Iterator[str]:
    mounts = _mounts(documents)
    for where, text in _strings(documents[0]):
        if _ABSOLUTE.fullmatch(text) and not _below(text.removeprefix("file://"), mounts):
            yield f"{where}: {text!r} is an absolute path of one machine, under no mounted volume"


def _places(documents: Documents) -> Iterator[str]:
    parameters = _root_parameters(documents)
    for name in (DATA_ROOT, SERVING_ROOT):
        default = parameters.get(name, {}).get("defaultValue")
        if not default or _URL.fullmatch(default) or _below(default, _mounts(documents)):
            continue
        yield f"{name} is {default!r}, which no pod has: give a URL or a mounted volume's folder"


def _services(documents: Documents) -> Iterator[str]:
    for label, container in _containers(documents):
        for word in container.get("args", ()):
            if _SERVICE.fullmatch(word):
                yield f"{label}: {word} leads to the pod itself; name the service in the cluster"


def _secrets(documents: Documents) -> Iterator[str]:
    for where, text in _strings(documents[0]):
        if looks_secret(text):
            yield f"{where}: looks like a secret; use kubeflow.pods.secrets"
    for label, container in _containers(documents):
        for entry in container.get("env", ()):
            value = entry.get("value", "")
            mounted = _ABSOLUTE.fullmatch(value) and _below(value, _mounts(documents))
            # The path of a mounted file says nothing, whatever the variable is called.
            if not mounted and looks_secret(value, entry.get("name", "")):
                yield f"{label}: variable {entry['name']} looks like a secret; use pods.secrets"


def _retries(documents: Documents) -> Iterator[str]:
    for name, task in container_tasks(documents[0]):
        policy = task.get("retryPolicy", {})
        if not policy.get("maxRetryCount") or not policy.get("backoffDuration"):
            yield f"{name} has no retryPolicy with a pause: one failed try would end the run"
            continue
        factor = policy.get("backoffFactor", 1)
        if factor != int(factor):
            yield f"{name}: backoffFactor {factor}: Argo takes whole numbers alone"
        window = float(policy.get("backoffMaxDuration", "0s").removesuffix("s"))
        if window < MIN_RETRY_WINDOW_S:
            yield (
                f"{name}: backoffMaxDuration {window:g}s is counted from the start of the first "
                f"try, which no longer one would survive; {MIN_RETRY_WINDOW_S} s at least"
            )


def _caching(documents: Documents) -> Iterator[str]:
    for name, task in container_tasks(documents[0]):
        cached = task.get("cachingOptions", {}).get("enableCache", False)
        if cached and name in NEVER_CACHED:
            yield f"{name} is cached, but reads what the backend's cache key does not know"


def _exit_handler(documents: Documents) -> Iterator[str]:
    tasks = documents[0].get("root", {}).get("dag", {}).get("tasks", {})
    handlers = [
        name
        for name, task in tasks.items()
        if task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED"
    ]
    if not handlers:
        yield "no task reports how the run ended"
    components = documents[0].get("components", {})
    for name in handlers:
        declared = components.get(name, {}).get("inputDefinitions", {}).get("parameters", {})
        if declared.get("final_status", {}).get("parameterType") != "TASK_FINAL_STATUS":
            yield f"{name}: final_status must be a TASK_FINAL_STATUS, the backend passes no string"


def _run_date(documents: Documents) -> Iterator[str]:
    parameter = _root_parameters(documents).get(RUN_DATE)
    if parameter is None:
        yield f"no parameter {RUN_DATE}: every run would read the same days"
    elif parameter.get("defaultValue"):
        yield f"{RUN_DATE} has a default: a run that forgets it would train on another day's data"


def _size(documents: Documents) -> Iterator[str]:
    size = len(json.dumps(list(documents)).encode())
    if size > MAX_BYTES:
        yield f"{size:,} bytes; {MAX_BYTES:,} at most"
    for name, task in container_tasks(documents[0]):
        constants = len(json.dumps(task.get("inputs", {})).encode())
        if constants > MAX_TASK_BYTES:
            yield f"{name}: {constants:,} bytes of inputs become one argument; 100,000 at most"


RULES = (
    LintRule("schema-version", "the API server refuses every other version", _schema_version),
    LintRule("parses", "the API server parses strictly", _parses),
    LintRule("names", "Argo and the API server refuse other names", _names),
    LintRule(
        "executors", "the open-source backend implements containers and importers", _executors
    ),
    LintRule("constants", "the driver fails on other values", _constants),
    LintRule("graph", "a dangling reference fails when its task starts", _graph),
    LintRule("images", "a moving tag runs other code on a retry", _images),
    LintRule("commands", "TFX's entry point cannot read what this backend passes", _commands),
    LintRule("local-paths", "a path of the compiling machine exists in no pod", _local_paths),
    LintRule("places", "tables and bundles must be where pods can reach them", _places),
    LintRule("services", "a pod finds nothing at its own address", _services),
    LintRule("secrets", "everybody who sees a run sees its specification", _secrets),
    LintRule("retries", "TFX compiles none; Argo reads the window as a deadline", _retries),
    LintRule("caching", "the cache would answer for data that has changed", _caching),
    LintRule("exit-handler", "a failed run would be silent", _exit_handler),
    LintRule("run-date", "the day must come from the schedule", _run_date),
    LintRule("size", "etcd and the kernel have limits", _size),
)


def _executors_of(documents: Documents) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from sorted(documents[0].get("deploymentSpec", {}).get("executors", {}).items())


def _containers(documents: Documents) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for label, executor in _executors_of(documents):
        if "container" in executor:
            yield label, executor["container"]


def _platform_executors(documents: Documents) -> Mapping[str, Any]:
    platform = documents[1] if len(documents) > 1 else {}
    kubernetes_part = platform.get("platforms", {}).get("kubernetes", {})
    executors: Mapping[str, Any] = kubernetes_part.get("deploymentSpec", {}).get("executors", {})
    return executors


def _mounts(documents: Documents) -> tuple[str, ...]:
    executors = _platform_executors(documents).values()
    kinds = ("pvcMount", "secretAsVolume", "configMapAsVolume", "genericEphemeralVolume",
             "emptyDirMounts")  # fmt: skip
    found = (mount for e in executors for kind in kinds for mount in e.get(kind, ()))
    return tuple({mount["mountPath"] for mount in found})


def _below(path: str, mounts: tuple[str, ...]) -> bool:
    return any(f"{path}/".startswith(f"{mount.rstrip('/')}/") for mount in mounts)


def _root_parameters(documents: Documents) -> Mapping[str, Any]:
    root = documents[0].get("root", {}).get("inputDefinitions", {})
    parameters: Mapping[str, Any] = root.get("parameters", {})
    return parameters


def _strings(tree: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Yields every string with its place, also those inside strings that hold JSON."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _strings(value, f"{where}.{key}" if where else str(key))
    elif isinstance(tree, (list, tuple)):
        for number, value in enumerate(tree):
            yield from _strings(value, f"{where}[{number}]")
    elif isinstance(tree, str):
        if tree[:1] in ("{", "["):
            try:
                yield from _strings(json.loads(tree), where)
                return
            except ValueError:
                pass
        yield where, tree
