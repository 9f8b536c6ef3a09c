"""The files in `deploy/` that deploy a bundle, read for the tests about them."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SERVING = ROOT / "deploy"
DOCKER = SERVING / "docker"
TF_SERVING = SERVING / "tf_serving"
BASE = SERVING / "kubernetes/base"
OVERLAYS = SERVING / "kubernetes/overlays"
KSERVE = SERVING / "kserve"
SCHEMAS = Path(__file__).parent / "schemas"


def documents(path):
    """The YAML documents of a file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def manifests():
    """`(file, document)` of every plain Kubernetes manifest of the base."""
    return [
        (path.name, document)
        for path in sorted(BASE.glob("*.yaml"))
        if path.name != "kustomization.yaml"
        for document in documents(path)
    ]


def kserve():
    """`(file, document)` of every KServe file."""
    return [(p.name, d) for p in sorted(KSERVE.glob("*.yaml")) for d in documents(p)]


def one(kind, found):
    """The only document of a kind."""
    (document,) = [document for _, document in found if document["kind"] == kind]
    return document


def server_container(deployment=None):
    """The model server's container; `sync_containers` has the others."""
    deployment = one("Deployment", manifests()) if deployment is None else deployment
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return next(container for container in containers if container["name"] == "tf-serving")


def sync_containers():
    """`(where, container)` of everything that runs `tessera sync`: init container, side-car."""
    pods = [("Deployment", one("Deployment", manifests())["spec"]["template"]["spec"])]
    pods += [
        (document["metadata"]["name"], document["spec"]["predictor"])
        for _, document in kserve()
        if "initContainers" in document.get("spec", {}).get("predictor", {})
    ]
    for where, pod in pods:
        for container in (*pod["initContainers"], *pod["containers"]):
            if container["args"][0] == "sync":
                yield where, container


def dockerfile(name):
    """`(instruction, rest)` of a Dockerfile, with continued lines joined."""
    lines = [li for li in (DOCKER / name).read_text().splitlines() if not li.startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def flags(words):
    """`{flag: value}` of a server's command line."""
    pairs = (word.lstrip("-").split("=", 1) for word in words)
    return {name: value for name, value in pairs}


def image_flags(name):
    """The flags that an image starts with; the ScaNN image adds to the plain one's."""
    given = image_flags("Dockerfile") if name != "Dockerfile" else {}
    words = []
    for instruction, rest in dockerfile(name):
        if instruction in ("ENTRYPOINT", "CMD"):
            words += yaml.safe_load(rest)
    return given | flags(word for word in words if word.startswith("--"))


def command_lines():
    """`(where, flags)` of every place that starts a server."""
    yield "Dockerfile", image_flags("Dockerfile")
    yield "Dockerfile.scann", image_flags("Dockerfile.scann")
    yield "Deployment", flags(server_container()["args"])
    for patch in documents(OVERLAYS / "batching/kustomization.yaml")[0]["patches"]:
        added = [operation["value"] for operation in yaml.safe_load(patch["patch"])]
        yield "overlay batching", flags(added)
    for _, runtime in kserve():
        if runtime["kind"] == "ServingRuntime":
            (container,) = runtime["spec"]["containers"]
            yield runtime["metadata"]["name"], flags(container["args"])


def images():
    """Every image that something starts or is built from."""
    found = [
        rest.split()[0]
        for n in ("Dockerfile", "Dockerfile.scann")
        for word, rest in dockerfile(n)
        if word == "FROM"
    ]
    compose = documents(DOCKER / "compose.yaml")[0]
    found += [service["image"] for service in compose["services"].values()]
    found.append(server_container()["image"])
    for path in OVERLAYS.glob("*/deployment.yaml"):
        for container in documents(path)[0]["spec"]["template"]["spec"]["containers"]:
            found += [container["image"]] if "image" in container else []
    for _, runtime in kserve():
        if runtime["kind"] == "ServingRuntime":
            found += [container["image"] for container in runtime["spec"]["containers"]]
    return found
