"""The nightly job that compares what was served: what Kubernetes and the command accept."""

import kubernetes_validate
import pytest

from cli.monitor import monitor
from tests.deploy.deployment_files import BASE, SERVING, documents, one

FOLDER = SERVING / "kubernetes/monitor"


@pytest.fixture
def job():
    (kustomization,) = documents(FOLDER / "kustomization.yaml")
    (name,) = kustomization["resources"]
    (found,) = documents(FOLDER / name)
    return found


@pytest.mark.parametrize("version", ("1.27", "1.37"))
def test_kubernetes_accepts_the_job(job, version):
    assert kubernetes_validate.validate(job, version, strict=True) == version


def test_the_command_takes_its_arguments_and_the_base_holds_what_it_names(job):
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    name, *words = container["args"]
    assert name == monitor.name
    asked = monitor.make_context(name, list(words)).params
    assert asked["last_hours"] == 24 and asked["all_versions"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert all(str(asked[key]).startswith(tuple(mounts)) for key in ("log_folder", "out"))
    (url,) = container["env"]
    config_map = one("ConfigMap", [("", d) for d in documents(BASE / "sync.yaml")])
    reference = url["valueFrom"]["configMapKeyRef"]
    assert config_map["metadata"]["name"] == reference["name"]
    assert reference["key"] in config_map["data"]
