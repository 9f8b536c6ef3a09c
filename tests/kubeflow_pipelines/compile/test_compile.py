"""The compiled pipeline: its content, its bytes, and that no network is asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp.components import load_component_from_text
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes

import core.config
from core.errors import ConfigError
from kubeflow_pipelines.compile.compiler import compile_pipeline
from kubeflow_pipelines.compile.document import dump, load
from kubeflow_pipelines.compile.finalize import container_tasks
from tests.kubeflow_pipelines.compile.conftest import IMAGE, REPOSITORY, kubeflow_config

GOLDEN = Path(__file__).with_name("golden.yaml")
TASKS = {
    "BaselineResolver", "CuratedSchema", "DataGate", "ExampleValidator", "IndexBuilder", "Pusher",
    "RetrievalEvaluator", "RetrievalExampleGen", "ServingValidator", "StatisticsGen",
    "StatusReport", "Trainer", "Transform",
}  # fmt: skip


def _without_digests(tree):
    """Digests change with every change of the code; all else is fixed."""
    if isinstance(tree, dict):
        return {
            key: "DIGEST" if key.endswith("_digest") and value else _without_digests(value)
            for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [_without_digests(value) for value in tree]
    if isinstance(tree, str) and tree.startswith("{") and '_digest"' in tree and "{{" not in tree:
        return json.dumps(_without_digests(json.loads(tree)), sort_keys=True)
    return tree


def _masked(documents):
    tree = json.loads(json.dumps(documents))
    for _, task in container_tasks(tree[0]):
        for key, source in task["inputs"].get("parameters", {}).items():
            if key.endswith("_digest"):
                source["runtimeValue"]["constant"] = "MASKED"
            elif "constant" in source.get("runtimeValue", {}):
                value = source["runtimeValue"]["constant"]
                source["runtimeValue"]["constant"] = _without_digests(value)
    return dump(tree)


@pytest.mark.nightly  # another process compiles as well; the golden file was made by one
@pytest.mark.fault(70, 77)
def test_the_same_bytes_in_another_process_whatever_its_hash_seed(documents, tmp_path):
    target = tmp_path / "pipeline.yaml"
    # No process that compiles may open a socket: the network is taken away.
    script = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise OSError('no network')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from cli.main import main\n"
        "main(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [
            sys.executable, "-c", script, "compile", "--conf", "conf/kubeflow.yaml",
            "--set", f"kubeflow.image={IMAGE}", "-o", str(target),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert target.read_text() == dump(documents)
    assert load(target) == documents


def test_tasks_parameters_and_version(documents):
    spec = documents[0]
    assert spec["schemaVersion"] == "2.1.0"
    assert {name for name, _ in container_tasks(spec)} == TASKS
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert "defaultValue" not in parameters["run_date"]
    assert {k: p.get("defaultValue") for k, p in parameters.items() if k != "run_date"} == {
        "data_root": "s3://tessera/tables",
        "serving_root": "s3://tessera/serving",
        "model_name": "tessera",
    }
    read = json.dumps(spec["components"]["tfx-dag"])
    assert all(f'"componentInputParameter": "{name}"' in read for name in parameters)


def test_kfp_itself_loads_it(documents):
    component = load_component_from_text(yaml.safe_dump(documents[0]))
    assert set(component.component_spec.inputs) >= {"run_date", "data_root"}


def test_retries_resources_and_environment():
    spec = compile_pipeline(kubeflow_config("kubeflow.retry.max_retries=4", "kubeflow.env={A: b}"))[
        0
    ]
    tasks = dict(container_tasks(spec))
    assert {task["retryPolicy"]["maxRetryCount"] for task in tasks.values()} == {4}
    assert tasks["Trainer"]["retryPolicy"] == {
        "maxRetryCount": 4,
        "backoffDuration": "30s",
        "backoffFactor": 2,
        "backoffMaxDuration": "172800s",
    }
    assert not any(task["cachingOptions"]["enableCache"] for task in tasks.values())
    containers = {k: v["container"] for k, v in spec["deploymentSpec"]["executors"].items()}
    assert containers["Trainer_executor"]["resources"]["cpuLimit"] == 8.0
    assert containers["DataGate_executor"]["resources"]["memoryRequest"] == 4.0
    for container in containers.values():
        env = {entry["name"]: entry["value"] for entry in container["env"]}
        assert (env["TF_USE_LEGACY_KERAS"], env["A"]) == ("1", "b")
        assert container["image"] == IMAGE


#: Everything that a pod may ask for: for all, and for the Trainer in addition.
PODS = """{
  default: {
    secrets: [
      {name: tessera-storage, env: {AWS_ACCESS_KEY_ID: AWS_ACCESS_KEY_ID}},
      {name: gcs-key, mount_path: /etc/gcs},
    ],
    config_maps: [{name: site, env: {region: AWS_DEFAULT_REGION}, mount_path: /etc/site}],
    image_pull_secrets: [registry],
    labels: {team: search},
    annotations: {sidecar.istio.io/inject: "false"},
    node_selector: {pool: cpu},
  },
  Trainer: {
    node_selector: {pool: gpu},
    node_affinity: [
      {rules: [{key: gpu.model, values: [a, b]}, {key: spot, operator: DoesNotExist}]},
      {rules: [{key: zone, values: [z]}], weight: 10},
    ],
    tolerations: [{key: gpu, operator: Exists, effect: NoSchedule, toleration_seconds: 60}],
    active_deadline_s: 86400,
    volumes: [{claim: data, mount_path: /mnt/data}],
    ephemeral_volumes: [
      {name: scratch, mount_path: /scratch, size: 50Gi, storage_class: fast},
      {name: other, mount_path: /other, size: 1Gi, access_modes: [ReadWriteMany]},
    ],
    empty_dirs: [{name: tmp, mount_path: /tmp/more, size_limit: 8Gi}],
    shared_memory: 2Gi,
  },
}"""
GCS = "kubeflow.env={GOOGLE_APPLICATION_CREDENTIALS: /etc/gcs/key.json}"


@pytest.mark.fault(70)
def test_golden_file():
    """All of the file, with every setting of a pod; digests of the code are masked.

    To renew it after a change that is meant: run this with TESSERA_UPDATE_GOLDEN=1.
    """
    documents = compile_pipeline(kubeflow_config(f"kubeflow.pods={PODS}", GCS))
    assert len(documents) == 2
    if os.environ.get("TESSERA_UPDATE_GOLDEN"):
        GOLDEN.write_text(_masked(documents))
    assert _masked(documents) == GOLDEN.read_text()


def pods_of(*overrides):
    documents = compile_pipeline(kubeflow_config(*overrides))
    return documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def test_every_setting_of_a_pod_is_in_the_platform_specification():
    pods = pods_of(f"kubeflow.pods={PODS}", GCS)
    all_pods = {
        "secretAsEnv": [
            {
                "secretName": "tessera-storage",
                "keyToEnv": [{"secretKey": "AWS_ACCESS_KEY_ID", "envVar": "AWS_ACCESS_KEY_ID"}],
            }
        ],
        "secretAsVolume": [{"secretName": "gcs-key", "mountPath": "/etc/gcs"}],
        "configMapAsEnv": [
            {
                "configMapName": "site",
                "keyToEnv": [{"configMapKey": "region", "envVar": "AWS_DEFAULT_REGION"}],
            }
        ],
        "configMapAsVolume": [{"configMapName": "site", "mountPath": "/etc/site"}],
        "imagePullSecret": [{"secretName": "registry"}],
        "podMetadata": {
            "labels": {"team": "search"},
            "annotations": {"sidecar.istio.io/inject": "false"},
        },
    }
    assert pods["Pusher_executor"] == all_pods | {"nodeSelector": {"labels": {"pool": "cpu"}}}
    assert pods["StatusReport_executor"] == pods["Pusher_executor"]
    assert pods["Trainer_executor"] == all_pods | {
        "nodeSelector": {"labels": {"pool": "gpu"}},
        "nodeAffinity": [
            {
                "matchExpressions": [
                    {"key": "gpu.model", "operator": "In", "values": ["a", "b"]},
                    {"key": "spot", "operator": "DoesNotExist"},
                ]
            },
            {
                "matchExpressions": [{"key": "zone", "operator": "In", "values": ["z"]}],
                "weight": 10,
            },
        ],
        "tolerations": [
            {
                "key": "gpu", "operator": "Exists", "effect": "NoSchedule",
                "tolerationSeconds": "60",
            }
        ],
        "activeDeadlineSeconds": "86400",
        "pvcMount": [{"constant": "data", "mountPath": "/mnt/data"}],
        "genericEphemeralVolume": [
            {
                "volumeName": "scratch", "mountPath": "/scratch", "size": "50Gi",
                "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            },
            {
                "volumeName": "other", "mountPath": "/other", "size": "1Gi",
                "accessModes": ["ReadWriteMany"], "defaultStorageClass": True,
            },
        ],
        "emptyDirMounts": [
            {"volumeName": "tmp", "mountPath": "/tmp/more", "sizeLimit": "8Gi"},
            {
                "volumeName": "shared-memory", "mountPath": "/dev/shm", "medium": "Memory",
                "sizeLimit": "2Gi",
            },
        ],
    }  # fmt: skip


def test_what_the_installed_library_knows_is_written_as_it_writes_it():
    """The message here must not drift from that of kfp-kubernetes, as far as both go."""
    library = kubernetes.KubernetesExecutorConfig
    known = {field.json_name for field in library.DESCRIPTOR.fields}
    for pod in pods_of(f"kubeflow.pods={PODS}", GCS).values():
        part = {key: value for key, value in pod.items() if key in known}
        assert json_format.MessageToDict(json_format.ParseDict(part, library())) == part


def test_settings_for_all_that_were_written_before_there_were_components_are_read():
    pods = pods_of("kubeflow.pods.node_selector={pool: cpu}")
    assert pods["Trainer_executor"]["nodeSelector"] == {"labels": {"pool": "cpu"}}
    assert pods["Trainer_executor"]["secretAsEnv"][0]["secretName"] == "tessera-storage"


@pytest.mark.parametrize("override", ["kubeflow.cache=true", "kubeflow.schedule.max_concurrency=1"])
def test_keys_that_went_are_warned_of_and_change_nothing(documents, override, caplog):
    core.config._warn.cache_clear()
    assert dump(compile_pipeline(kubeflow_config(override))) == dump(documents)
    assert f"{override.partition('=')[0]} is no longer read" in caplog.text


def test_an_artifact_root_is_compiled_in_only_where_it_is_configured(documents):
    assert "defaultPipelineRoot" not in documents[0]
    spec = compile_pipeline(kubeflow_config("kubeflow.pipeline_root=s3://own/root/"))[0]
    assert spec["defaultPipelineRoot"] == "s3://own/root"


def test_accelerators_nodes_tolerations_secrets_and_volumes():
    documents = compile_pipeline(
        kubeflow_config(
            "kubeflow.resources.Trainer={accelerator_type: nvidia.com/gpu, accelerator_count: 2}",
            "kubeflow.pods.default.node_selector={pool: gpu}",
            "kubeflow.pods.default.tolerations=[{key: gpu, operator: Exists, effect: NoSchedule}]",
            "kubeflow.pods.default.volumes=[{claim: data, mount_path: /mnt/data}]",
            "kubeflow.checkpoint_dir=/mnt/data/checkpoints",
        )
    )
    container = documents[0]["deploymentSpec"]["executors"]["Trainer_executor"]["container"]
    assert container["resources"]["accelerator"] == {"type": "nvidia.com/gpu", "count": "2"}
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors.keys() == documents[0]["deploymentSpec"]["executors"].keys()
    pod = executors["Trainer_executor"]
    assert pod["nodeSelector"] == {"labels": {"pool": "gpu"}}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["pvcMount"] == [{"constant": "data", "mountPath": "/mnt/data"}]
    assert pod["secretAsEnv"][0]["secretName"] == "tessera-storage"


def test_tasks_with_an_accelerator_have_its_image_and_the_others_keep_theirs():
    cuda = "registry.example/tessera:0.1.0-cuda"
    documents = compile_pipeline(
        kubeflow_config(
            f"kubeflow.accelerator_image={cuda}",
            "kubeflow.resources.Trainer={accelerator_type: nvidia.com/gpu, accelerator_count: 1}",
        )
    )
    executors = documents[0]["deploymentSpec"]["executors"]
    images = {name: found["container"]["image"] for name, found in executors.items()}
    assert images.pop("Trainer_executor") == cuda
    assert cuda not in images.values()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["kubeflow.accelerator_image=a/b:latest"], "must be pinned"),
        (["kubeflow.image="], "kubeflow.image"),
        (["kubeflow.image=''"], "kubeflow.image is not set"),
        (["kubeflow.image=a/b:latest"], "must be pinned"),
        (["kubeflow.image=a/b"], "must be pinned"),
        (["data.root=data/local"], "which no pod has"),
        (["serving_dir=/home/me/serving"], "which no pod has"),
        (["kubeflow.env={KFP_TOKEN: abc}"], "looks like a secret"),
        (["kubeflow.checkpoint_dir=/home/me/checkpoints"], "absolute path"),
        (["kubeflow.pipeline_root=/tmp/root"], "expected minio"),
        (["kubeflow.retry.max_retries=0"], "max_retries"),
        (["kubeflow.retry.backoff_factor=1.5"], "backoff_factor"),
        (["kubeflow.retry.give_up_after_s=600"], "give_up_after_s"),
        (["kubeflow.resources.Trainer={cpu_request: 4, cpu_limit: 2}"], "above the limit"),
        (["kubeflow.resources.Trainr={cpu_request: 4}"], "Trainr"),
        (["kubeflow.pods.Trainr={shared_memory: 1Gi}"], "Trainr"),
        (["kubeflow.pods.Trainer={shared_memory: much}"], "shared_memory"),
        (["kubeflow.pods.Trainer={security_context: {}}"], "unknown key"),
        (["kubeflow.pods.Trainer.secrets=[{name: a}]"], "give env, mount_path or both"),
        (
            [
                "kubeflow.pods.Trainer={volumes: [{claim: a, mount_path: /m}], "
                "empty_dirs: [{name: b, mount_path: /m}]}"
            ],
            "two things are mounted at /m",
        ),
        (["kubeflow.env={GOOGLE_APPLICATION_CREDENTIALS: /etc/gcs/key.json}"], "absolute path"),
    ],
)
def test_what_can_not_run_is_refused_before_a_file_is_written(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compile_pipeline(kubeflow_config(*overrides))


def test_where_it_is_sent_and_when_it_runs_do_not_change_its_bytes(documents):
    elsewhere = kubeflow_config(
        "kubeflow.host=http://internal.example", "kubeflow.schedule.cron='0 0 5 * * *'",
        "kubeflow.experiment=other", "work_dir=/tmp/elsewhere",
    )  # fmt: skip
    assert dump(compile_pipeline(elsewhere)) == dump(documents)


@pytest.mark.fault(70)
def test_its_size_is_far_below_the_limit(documents):
    assert len(dump(documents)) < 150_000


def test_one_shot_tables_need_no_run_date():
    spec = compile_pipeline(kubeflow_config("data.layout=single"))[0]
    assert spec["root"]["inputDefinitions"]["parameters"]["run_date"]["defaultValue"] == ""


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "a: 1"])
def test_a_file_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="file"):
        load(path)
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "nothing.yaml")
