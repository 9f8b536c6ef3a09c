"""The manifests are what Kubernetes and KServe accept, by their own schemas."""

import copy
import json
import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml
from importlib_resources import files
from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry, Resource

from tests.deploy.deployment_files import (
    BASE,
    KSERVE,
    OVERLAYS,
    SCHEMAS,
    documents,
    kserve,
    manifests,
    server_container,
)

#: The oldest and the newest Kubernetes that the manifests are checked for.
VERSIONS = ("1.27", "1.37")
KINDS = {
    "Deployment",
    "Service",
    "ConfigMap",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "NetworkPolicy",
}
CUSTOM = {"InferenceService": "V1beta1InferenceService", "ServingRuntime": "V1alpha1ServingRuntime"}


def ids(found):
    return [f"{name}: {document['kind']}" for name, document in found]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", [d for _, d in manifests()], ids=ids(manifests()))
def test_kubernetes_accepts_every_manifest(manifest, version):
    assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_every_kind_is_there_and_in_the_kustomization():
    assert {document["kind"] for _, document in manifests()} == KINDS
    (kustomization,) = documents(BASE / "kustomization.yaml")
    for resource in kustomization["resources"]:
        assert (BASE / resource).exists()
    listed = {name for name in kustomization["resources"] if name.endswith(".yaml")}
    assert listed == {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}


def changed(kind, *steps):
    """A manifest of the base with one value changed: path, then value (None removes)."""
    *path, key, value = steps
    document = copy.deepcopy(next(d for _, d in manifests() if d["kind"] == kind))
    place = document
    for step in path:
        place = place[step]
    if value is None:
        del place[key]
    else:
        place[key] = value
    return document


POD = ("spec", "template", "spec")


@pytest.mark.parametrize(
    "manifest",
    [
        changed("Deployment", *POD, "containers", 1, "readynessProbe", {"httpGet": {"port": 1}}),
        changed("Deployment", *POD, "containers", 1, "resources", "limits", "memory", ["4Gi"]),
        changed("Deployment", "spec", "selector", None),
        changed("HorizontalPodAutoscaler", "spec", "maxReplicas", "six"),
        changed("PodDisruptionBudget", "spec", "minAvailble", 1),
        changed("Service", "spec", "ports", 0, "port", None),
        changed("NetworkPolicy", "spec", "policyTypes", "Ingress"),
    ],
)
def test_a_broken_manifest_is_found(manifest):
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


def custom_validator(kind):
    """Checks a KServe resource; Kubernetes types inside by kubernetes-validate's schemas."""
    package = files("kubernetes_validate") / "kubernetes-json-schema"
    definitions = package / f"v{VERSIONS[-1]}.0-local-strict/_definitions.json"
    schema = json.loads((SCHEMAS / "kserve.json").read_text())
    registry = Registry().with_resources(
        [
            (r.id(), r)
            for r in map(Resource.from_contents, (schema, json.loads(definitions.read_text())))
        ]
    )
    return Draft202012Validator(
        {"$ref": f"{schema['$id']}#/$defs/{CUSTOM[kind]}"}, registry=registry
    )


@pytest.mark.parametrize("document", [d for _, d in kserve()], ids=ids(kserve()))
def test_kserve_accepts_every_document(document):
    if document["kind"] in CUSTOM:
        custom_validator(document["kind"]).validate(document)
    else:
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("InferenceService", ("spec", "predictor", "canaryTraficPercent"), 10),
        ("InferenceService", ("spec", "predictor", "canaryTrafficPercent"), "10"),
        ("InferenceService", ("spec", "predictor", "model", "storageURI"), "pvc://a"),
        ("InferenceService", ("spec", "predictor", "volumes"), [{"configMap": {"name": "a"}}]),
        ("ServingRuntime", ("spec", "containers"), [{"image": "a"}]),
        ("ServingRuntime", ("spec", "modelFormats"), []),
    ],
)
def test_a_broken_kserve_document_is_found(kind, path, value):
    document = copy.deepcopy(next(d for _, d in kserve() if d["kind"] == kind))
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ValidationError):
        custom_validator(kind).validate(document)


def test_each_inference_service_finds_its_runtime_and_its_config_map():
    runtimes = {d["metadata"]["name"]: d for _, d in kserve() if d["kind"] == "ServingRuntime"}
    config_maps = {d["metadata"]["name"] for _, d in kserve() if d["kind"] == "ConfigMap"}
    (claim,) = documents(OVERLAYS / "claim/volume-claim.yaml")
    services = [d for _, d in kserve() if d["kind"] == "InferenceService"]
    assert len(services) == 3 and len(list(KSERVE.glob("*.yaml"))) == 4
    for service in services:
        predictor = service["spec"]["predictor"]
        model = predictor["model"]
        (container,) = runtimes[model["runtime"]]["spec"]["containers"]
        assert container["name"] == "kserve-container"
        assert f"--rest_api_port={model['readinessProbe']['httpGet']['port']}" in container["args"]
        mounted = {mount["name"] for mount in model["volumeMounts"]}
        if "storageUri" not in model:
            assert "--model_config_file=/models/models.config" in container["args"]
            assert mounted < {volume["name"] for volume in predictor["volumes"]}
            continue
        assert 0 <= predictor["canaryTrafficPercent"] <= 100
        assert model["storageUri"].startswith(f"pvc://{claim['metadata']['name']}/tessera")
        assert {v["configMap"]["name"] for v in predictor["volumes"]} <= config_maps
        assert mounted == {volume["name"] for volume in predictor["volumes"]}
        assert any(a.startswith("--model_config_file=/mnt/config/") for a in container["args"])


@pytest.mark.parametrize("place", ["base", "labels", "scann", "batching", "claim"])
def test_kustomize_builds_what_kubernetes_accepts(place):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    folder = BASE if place == "base" else OVERLAYS / place
    built = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=300, check=True
    )
    found = list(yaml.safe_load_all(built.stdout))
    for document in found:
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
    deployment = next(d for d in found if d["kind"] == "Deployment")
    container = server_container(deployment)
    pod = deployment["spec"]["template"]["spec"]
    copied = place != "claim"
    assert (len(pod["containers"]), len(pod.get("initContainers") or [])) == (1 + copied, copied)
    assert any(d["metadata"]["name"] == "tessera-sync" for d in found) is copied
    config_map = next(
        d for d in found if d["kind"] == "ConfigMap" and d["metadata"]["name"] != "tessera-sync"
    )
    assert set(config_map["data"]) == {"batching.config", "monitoring.config"}
    volumes = {v["name"]: v for v in deployment["spec"]["template"]["spec"]["volumes"]}
    assert volumes["config"]["configMap"]["name"] == config_map["metadata"]["name"]
    assert {*volumes["serving"]} == {"name", "emptyDir" if copied else "persistentVolumeClaim"}
    (environment,) = container["env"]
    assert environment["value"].endswith("-scann.config") is (place == "scann")
    assert container["image"].startswith("tessera-tf-serving-scann:") is (place == "scann")
    ready = container["readinessProbe"]["httpGet"]
    assert ready["port"] == "rest" and ("labels/stable" in ready["path"]) is (place == "labels")
    assert ("--enable_batching=true" in container["args"]) is (place == "batching")
