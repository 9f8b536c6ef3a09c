"""The workers of a training beside the Trainer's task: Kubernetes' schemas and agreement."""

import json

import kubernetes_validate
import pytest
import yaml

from pipeline.config.pods import PodConfig
from tests.deploy.deployment_files import ROOT, SERVING, documents
from trainer.distribution import cluster
from trainer.worker import JOB_FILE, _as_worker, _parser

FOLDER = SERVING / "kubernetes/workers"


def manifests():
    (kustomization,) = documents(FOLDER / "kustomization.yaml")
    return [found for name in kustomization["resources"] for found in documents(FOLDER / name)]


def named(kind, name):
    (found,) = [m for m in manifests() if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return found


@pytest.mark.parametrize("version", ("1.27", "1.37"))
@pytest.mark.parametrize("manifest", manifests(), ids=lambda m: m["metadata"]["name"])
def test_kubernetes_accepts_every_manifest(manifest, version):
    assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_every_worker_finds_itself_among_the_addresses_and_every_address_a_service():
    text = named("ConfigMap", "tessera-workers")["data"]["TF_CONFIG"]
    job = named("Job", "tessera-worker")["spec"]
    addresses, place = cluster(text)
    assert (place, len(addresses)) == (0, 1 + job["completions"])
    assert job["parallelism"] == job["completions"]
    port = str(job["template"]["spec"]["containers"][0]["ports"][0]["containerPort"])
    for index in range(job["completions"]):
        addresses, place = cluster(_as_worker(text, index))
        host, _, at = addresses[place].partition(":")
        assert (host, at) == (
            f"tessera-worker-{index}.{job['template']['spec']['subdomain']}",
            port,
        )
    labels = job["template"]["metadata"]["labels"]
    assert named("Service", "tessera-worker")["spec"]["selector"].items() <= labels.items()
    chief = named("Service", addresses[0].partition(":")[0])
    assert str(chief["spec"]["ports"][0]["port"]) == port


def test_the_module_takes_its_arguments_and_the_guide_names_the_same_things():
    (container,) = named("Job", "tessera-worker")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "trainer.worker"]
    parsed = _parser().parse_args(container["args"])
    assert parsed.file.name == JOB_FILE
    (block,) = [
        yaml.safe_load(text.partition("```")[0])
        for text in (ROOT / "docs/training.md").read_text().split("```yaml\n")[1:]
        if "TF_CONFIG" in text.partition("```")[0]
    ]
    kubeflow = block["kubeflow"]
    pods = {name: PodConfig.from_json(json.dumps(pod)) for name, pod in kubeflow["pods"].items()}
    assert kubeflow["checkpoint_dir"] == str(parsed.file.parent)
    (claim,) = pods["default"].volumes
    pod = named("Job", "tessera-worker")["spec"]["template"]["spec"]
    assert claim.claim in {
        v.get("persistentVolumeClaim", {}).get("claimName") for v in pod["volumes"]
    }
    assert claim.mount_path in {mount["mountPath"] for mount in container["volumeMounts"]}
    chief = named("Service", "tessera-chief")["spec"]["selector"]
    assert chief.items() <= pods["Trainer"].labels.items()
    (config_map,) = pods["Trainer"].config_maps
    assert named("ConfigMap", config_map.name)["data"].keys() == config_map.env.keys()
