"""The files agree with one another and with the lock: versions, ports, paths, the model's name."""

import re

import pytest
import yaml

from cli.sync import sync
from tests.deploy.deployment_files import (
    DOCKER,
    OVERLAYS,
    ROOT,
    SERVING,
    command_lines,
    dockerfile,
    documents,
    images,
    kserve,
    manifests,
    one,
    server_container,
    sync_containers,
)

MODEL = "tessera"


def locked(name):
    (version,) = re.findall(rf"^{name}==(\S+) ", (ROOT / "requirements.txt").read_text(), re.M)
    return version


def minor(version):
    return ".".join(version.split(".")[:2])


def test_every_server_is_of_the_locked_tensorflow():
    tags = {
        i.split(":")[1].split("@")[0].removesuffix("-devel") for i in images() if "serving" in i
    }
    assert tags == {locked("tensorflow-serving-api")}
    assert minor(tags.pop()) == minor(locked("tensorflow"))


def test_the_scann_image_names_the_locked_scann():
    text = (DOCKER / "Dockerfile.scann").read_text()
    assert f"scann {locked('scann')}" in text
    assert f"TensorFlow {minor(locked('tensorflow'))} <->" in text
    assert "NEVER BUILT" in text
    assert "-mavx2" in text and "-mfma" in text


def test_ports_are_the_same_wherever_a_server_is_started():
    given = dict(command_lines())
    for where in ("Dockerfile", "Dockerfile.scann", "Deployment"):
        assert (given[where]["port"], given[where]["rest_api_port"]) == ("8500", "8501")
    exposed = {
        p for word, rest in dockerfile("Dockerfile") if word == "EXPOSE" for p in rest.split()
    }
    assert exposed == {"8500", "8501"}
    ports = {p["name"]: p["containerPort"] for p in server_container()["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    for service in (d for _, d in manifests() if d["kind"] == "Service"):
        for port in service["spec"]["ports"]:
            assert port["port"] == ports[port["targetPort"]]
    (rule,) = one("NetworkPolicy", manifests())["spec"]["ingress"]
    assert {port["port"] for port in rule["ports"]} == set(ports)
    for name, service in documents(DOCKER / "compose.yaml")[0]["services"].items():
        if name != "prometheus":
            assert [port.split(":")[-1] for port in service["ports"]] == ["8500", "8501"]


def test_flags_that_are_the_same_everywhere_have_the_same_value():
    by_flag = {}
    for where, given in command_lines():
        for name, value in given.items():
            by_flag.setdefault(name, {}).setdefault(value, []).append(where)
    # KServe has ports and a folder of its own; the ScaNN image another file of models.
    free = {"port", "rest_api_port", "model_config_file"}
    assert {n: v for n, v in by_flag.items() if len(v) > 1 and n not in free} == {}


def test_the_model_has_one_name():
    container = server_container()
    probes = [container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")]
    probes += [
        c[kind]
        for path in OVERLAYS.glob("*/deployment.yaml")
        for c in documents(path)[0]["spec"]["template"]["spec"]["containers"]
        for kind in c
        if kind.endswith("Probe")
    ]
    paths = [probe["httpGet"]["path"] for probe in probes]
    assert len(paths) == 5
    assert all(path.split("/")[:4] == ["", "v1", "models", MODEL] for path in paths)
    # The two that decide about traffic ask for what only a loaded version has.
    assert [path.endswith("/metadata") for path in paths] == [True, True, False, True, True]
    assert re.search(rf"MODEL_NAME={MODEL}\b", (DOCKER / "Dockerfile").read_text())
    assert f"MODEL_NAME={MODEL}\n" in (DOCKER / "env.example").read_text()


def test_selectors_and_labels_belong_together():
    deployment = one("Deployment", manifests())
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    selectors += [d["spec"]["selector"] for _, d in manifests() if d["kind"] == "Service"]
    selectors.append(one("PodDisruptionBudget", manifests())["spec"]["selector"]["matchLabels"])
    selectors.append(one("NetworkPolicy", manifests())["spec"]["podSelector"]["matchLabels"])
    assert all(selector.items() <= labels.items() for selector in selectors)
    target = one("HorizontalPodAutoscaler", manifests())["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert "replicas" not in deployment["spec"]  # the autoscaler's


def test_volumes_that_are_mounted_exist_and_servers_only_read():
    spec = one("Deployment", manifests())["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    container = server_container()
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert "emptyDir" in volumes["serving"]
    (patch,) = documents(OVERLAYS / "claim/deployment.yaml")
    (volume,) = patch["spec"]["template"]["spec"]["volumes"]
    (claim,) = documents(OVERLAYS / "claim/volume-claim.yaml")
    assert volume["persistentVolumeClaim"]["readOnly"] is True
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    (generated,) = documents(SERVING / "tf_serving/kustomization.yaml")[0]["configMapGenerator"]
    assert volumes["config"]["configMap"]["name"] == generated["name"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["serving"]["readOnly"] is True
    folder = mounts["serving"]["mountPath"]
    (environment,) = container["env"]
    assert environment["value"] == f"{folder}/models.config"
    assert f"--model_config_file=$({environment['name']})" in container["args"]


def test_sync_is_called_with_options_that_it_has_and_writes_where_servers_read():
    found = list(sync_containers())
    assert [(where, c["name"]) for where, c in found] == [
        ("Deployment", "fill"),
        ("Deployment", "sync"),
        ("tessera-object-store", "fill"),
        ("tessera-object-store", "sync"),
    ]
    for where, container in found:
        with sync.make_context("sync", container["args"][1:]) as context:
            given = context.params
        assert given["name"] == MODEL and given["url"] == "$(SERVING_URL)"
        assert str(given["folder"]) == "/models"
        assert given["once"] is (container["name"] == "fill")
        port = "9000" if where == "tessera-object-store" else "8500"
        assert given["server"] == ("" if given["once"] else f"localhost:{port}")
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert "readOnly" not in mounts["/models"] and "/tmp" in mounts
        assert [variable["name"] for variable in container["env"]] == ["SERVING_URL"]
    (config,) = [d for _, d in manifests() if d["kind"] == "ConfigMap"]
    assert config["data"]["url"].startswith("s3://")


def test_pods_are_nobody_and_cannot_write():
    spec = one("Deployment", manifests())["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    contexts = [server_container()["securityContext"]]
    for _, runtime in kserve():
        if runtime["kind"] == "ServingRuntime":
            contexts += [c["securityContext"] for c in runtime["spec"]["containers"]]
    contexts += [container["securityContext"] for _, container in sync_containers()]
    for context in contexts:
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_a_pod_outlives_the_longest_request():
    spec = one("Deployment", manifests())["spec"]["template"]["spec"]
    sleep = int(server_container()["lifecycle"]["preStop"]["exec"]["command"][1])
    assert 30 < sleep < spec["terminationGracePeriodSeconds"]  # REST time-out 30 s


def test_metrics_are_where_prometheus_is_told_to_look():
    (config,) = documents(DOCKER / "prometheus.yml")
    (job,) = config["scrape_configs"]
    path = job["metrics_path"]
    assert f'path: "{path}"' in (SERVING / "tf_serving/monitoring.config").read_text()
    template = one("Deployment", manifests())["spec"]["template"]["metadata"]
    assert template["annotations"]["prometheus.io/path"] == path
    assert template["annotations"]["prometheus.io/port"] == "8501"
    for _, runtime in kserve():
        if runtime["kind"] == "ServingRuntime":
            annotations = runtime["spec"]["annotations"]
            (container,) = runtime["spec"]["containers"]
            assert annotations["prometheus.kserve.io/path"] == path
            port = annotations["prometheus.kserve.io/port"]
            assert f"--rest_api_port={port}" in container["args"]


def test_yaml_files_have_no_key_twice():
    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader, node, deep=False):
        keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), keys
        return yaml.SafeLoader.construct_mapping(loader, node, deep)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    found = [p for p in SERVING.rglob("*.y*ml")]
    assert len(found) > 15
    for path in found:
        if path.name != "compose.yaml":  # merges a common part with `<<`
            list(yaml.load_all(path.read_text(), Strict))


@pytest.mark.fault(53)
def test_the_scann_server_runs_only_where_avx2_is():
    wanted = {f"feature.node.kubernetes.io/cpu-cpuid.{f}": "true" for f in ("AVX2", "FMA3")}
    (patch,) = documents(OVERLAYS / "scann/deployment.yaml")
    assert patch["spec"]["template"]["spec"]["nodeSelector"] == wanted
    for _, runtime in kserve():
        if runtime["kind"] == "ServingRuntime":
            scann = "scann" in runtime["metadata"]["name"]
            assert (runtime["spec"].get("nodeSelector") == wanted) is scann
