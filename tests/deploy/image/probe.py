"""Runs in the image: imports all that a compiled pipeline names, and all of the project.

Reads the compiled file that the first argument names; prints JSON.
"""

import importlib
import itertools
import json
import pkgutil
import sys

import yaml

PACKAGES = (
    *("core", "input_tables", "trainer", "components", "serving", "pipeline"),
    *("kubeflow_pipelines", "research", "cli", "tessera", "schemas"),
)


def strings(tree, key=""):
    """`(key, string)` of a specification, also of those inside strings that hold JSON."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            inner = name if name not in ("runtimeValue", "constant") else key
            yield from strings(value, inner)
    elif isinstance(tree, list):
        for value in tree:
            yield from strings(value, key)
    elif isinstance(tree, str):
        if tree[:1] in ("{", "["):
            try:
                yield from strings(json.loads(tree), key)
                return
            except ValueError:
                pass
        yield key, tree


def named(documents):
    """Everything importable that a specification names: `{kind: [dotted path]}`."""
    found = {"module": set(), "class": set(), "function": set(), "type": set()}
    for executor in documents[0]["deploymentSpec"]["executors"].values():
        container = executor.get("container", {})
        command, arguments = container.get("command", []), container.get("args", [])
        if "-m" in command:
            found["module"].add(command[command.index("-m") + 1])
        for flag, value in itertools.pairwise(arguments):
            if flag == "--executor_class_path":
                found["class"].add(value)
    for key, text in strings(documents[0]):
        if key.endswith("_fn") and text:
            found["function"].add(text)
        if key == "instanceSchema":
            found["type"].add(yaml.safe_load(text)["title"])
        # Types of the backend itself are no classes.
        if key == "schemaTitle" and not text.startswith("system."):
            found["type"].add(text)
    return {kind: sorted(paths) for kind, paths in found.items()}


def attribute(path):
    """Imports `module.attribute`."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def artifact_class(title):
    """The class of an artifact, as TFX's entry point finds it."""
    from kfp.pipeline_spec import pipeline_spec_pb2
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as utils

    schema = pipeline_spec_pb2.ArtifactTypeSchema(instance_schema=f"title: {title}\n")
    return attribute(utils._retrieve_class_path(schema))


def modules(skipped):
    """Names of every module of the project, but those that need what the image has not."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        yield name
        for info in pkgutil.walk_packages(package.__path__, f"{name}."):
            if info.name not in skipped and not info.name.endswith("__main__"):
                yield info.name


def main():
    """Prints what was named, what was imported and what failed."""
    from pipeline import environment

    environment.prepare()
    with open(sys.argv[1], encoding="utf-8") as file:
        documents = [document for document in yaml.safe_load_all(file) if document]
    paths, failed, imported = named(documents), [], []
    loaders = {
        "module": importlib.import_module,
        "class": attribute,
        "function": attribute,
        "type": artifact_class,
    }
    for kind, names in paths.items():
        for name in names:
            try:
                loaders[kind](name)
            except Exception as error:
                failed.append(f"{kind} {name}: {error!r}")
    for name in modules(set(sys.argv[2:])):
        try:
            imported.append(importlib.import_module(name).__file__)
        except Exception as error:
            failed.append(f"{name}: {error!r}")
    sys.stdout.write(json.dumps({"named": paths, "failed": failed, "imported": imported}))


if __name__ == "__main__":
    main()
