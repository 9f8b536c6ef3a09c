"""`tessera schedule --cron-job` and `--gitops`: manifests that do what they say."""

import os
import stat
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from cli.monitor import monitor
from kubeflow_pipelines.package import load_compiled
from pipeline.config import load_config

IMAGE = "example.org/tessera@sha256:" + "0" * 64
HOST = "http://ml-pipeline.kubeflow.svc:8888"
#: The oldest and the newest Kubernetes that the manifests are checked for.
VERSIONS = ("1.27", "1.37")


@pytest.fixture
def write(tessera, spec_file, conf_file, tmp_path):
    def call(*more, file=None, host=HOST, to="gitops", **kubeflow):
        settings = {"image": IMAGE, "namespace": "team", "service_account": "runner"} | kubeflow
        words = [file or spec_file(), "--conf", conf_file(host, **settings)]
        return tessera("schedule", *words, "--gitops", tmp_path / to, *more)

    return call


@pytest.fixture
def manifests(write, tmp_path):
    def call(*more, **options):
        result = write(*more, **options)
        assert (result.code, result.err) == (0, "")
        return {
            path.name: yaml.safe_load(path.read_text())
            for path in (tmp_path / options.get("to", "gitops")).iterdir()
        }

    return call


def pod_of(found):
    return found["cronjob.yaml"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_every_manifest(manifests, version):
    found = manifests("--data-root", "/d")
    assert set(found) == {"configmap.yaml", "cronjob.yaml", "kustomization.yaml"}
    assert found["kustomization.yaml"]["resources"] == ["configmap.yaml", "cronjob.yaml"]
    for name in ("configmap.yaml", "cronjob.yaml"):
        assert found[name]["metadata"]["namespace"] == "team"
        assert kubernetes_validate.validate(found[name], version, strict=True) == version


def test_the_job_runs_once_alone_and_without_rights(manifests):
    found = manifests()
    spec, pod = found["cronjob.yaml"]["spec"], pod_of(found)
    assert spec["schedule"] == "0 3 * * *"
    assert spec["timeZone"] == "Etc/UTC"
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] == 3600
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert pod["restartPolicy"] == "Never"
    assert pod["serviceAccountName"] == "runner"
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    token = {entry["name"]: entry for entry in container["env"]}["KFP_TOKEN"]
    assert token["valueFrom"]["secretKeyRef"]["name"] == "kfp-token"


def test_a_start_after_midnight_is_not_possible(manifests):
    found = manifests("--cron", "0 30 23 * * *")
    assert found["cronjob.yaml"]["spec"]["startingDeadlineSeconds"] == 29 * 60


def test_the_configuration_in_the_cluster_is_complete(manifests, tmp_path, spec_file):
    data = manifests(experiment="nightly")["configmap.yaml"]["data"]
    for name, text in data.items():
        (tmp_path / f"mounted-{name}").write_text(text)
    config = load_config(tmp_path / "mounted-tessera.yaml")
    assert config.kubeflow.host == HOST
    assert config.kubeflow.namespace == "team"
    assert config.kubeflow.experiment == "nightly"
    assert config.name == "tiny"
    mounted = load_compiled(tmp_path / "mounted-pipeline.yaml")
    assert mounted.digest == load_compiled(spec_file()).digest


def test_the_container_submits_the_day_before(manifests, tmp_path, make_stub, tessera):
    """Runs the container's command with a `tessera` and a `date` of the test's own."""
    found = manifests("--data-root", "/d $(x)'\"", "--param", "epochs=2", schedule={"lag_days": 2})
    (container,) = pod_of(found)["containers"]
    for name, script in (
        ("tessera", 'printf "%s\\n" "$@"\n'),
        ("date", '[ "$*" = "-u +%Y-%m-%d" ] && echo 2024-07-02\n'),
    ):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        container["command"], env=environment, capture_output=True, text=True, check=True
    )
    words = done.stdout.splitlines()
    assert words == [
        "submit",
        "/etc/tessera/pipeline.yaml",
        "--conf",
        "/etc/tessera/tessera.yaml",
        "--run-date",
        "2024-07-02-2d",
        "--once",
        "--wait",
        "--param=data_root=/d $(x)'\"",
        "--param=epochs=2",
    ]
    stub = make_stub(polls=0)
    data = found["configmap.yaml"]["data"]
    for index, name in ((1, "pipeline.yaml"), (3, "tessera.yaml")):
        (tmp_path / name).write_text(data[name])
        words[index] = tmp_path / name
    assert tessera(*words, "--host", stub.url).code == 0
    # The same job again on the same day is the same run.
    assert tessera(*words, "--host", stub.url).code == 0
    (run,) = stub.runs.values()
    assert run["display_name"] == "tiny-2024-06-30"


@pytest.fixture
def cron_job(tessera, spec_file, conf_file, tmp_path):
    """Writes the one file and returns its objects by kind."""

    def call(*more, **kubeflow):
        target = tmp_path / "cron-job.yaml"
        settings = {"image": IMAGE, "namespace": "team", "service_account": "runner"} | kubeflow
        words = [spec_file(), "--conf", conf_file(HOST, **settings)]
        result = tessera("schedule", *words, "--cron-job", target, *more)
        assert (result.code, result.out) == (0, f"{target}\n"), result.err
        return {d["kind"]: d for d in yaml.safe_load_all(target.read_text())}

    return call


@pytest.mark.parametrize("version", VERSIONS)
def test_one_file_holds_all_that_is_needed(cron_job, manifests, version):
    found = cron_job()
    assert found.keys() == {"ConfigMap", "CronJob"}
    for document in found.values():
        assert kubernetes_validate.validate(document, version, strict=True) == version
    files = manifests()
    assert [found["ConfigMap"], found["CronJob"]] == [
        files["configmap.yaml"], files["cronjob.yaml"],
    ]  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_a_secured_installation(cron_job, version):
    found = cron_job(
        "--ca-config-map", "company-ca",
        sign_in="service_account", proxy="http://proxy.example:3128",
        pods={"default": {"image_pull_secrets": ["registry"]}},
    )  # fmt: skip
    kubernetes_validate.validate(found["CronJob"], version, strict=True)
    pod = pod_of({"cronjob.yaml": found["CronJob"]})
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    (source,) = volumes["kfp-token"]["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "pipelines.kubeflow.org"
    assert volumes["ca"]["configMap"]["name"] == "company-ca"
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts["kfp-token"] == "/var/run/secrets/kubeflow/pipelines"
    assert "KFP_TOKEN" not in {entry["name"] for entry in container["env"]}
    settings = yaml.safe_load(found["ConfigMap"]["data"]["tessera.yaml"])["kubeflow"]
    assert settings["ca_cert"] == f"{mounts['ca']}/ca.crt"
    assert (settings["sign_in"], settings["proxy"]) == (
        "service_account", "http://proxy.example:3128",
    )  # fmt: skip


ON_A_VOLUME = {
    "monitor": {"log": "/requests/log", "out": "/requests/monitor", "bundle": "s3://b/s/tiny"},
    "pods": {
        "default": {
            "secrets": [{"name": "storage", "env": {"KEY": "AWS_ACCESS_KEY_ID"}}],
            "image_pull_secrets": ["registry"],
        },
        "Monitor": {"volumes": [{"claim": "tessera-requests", "mount_path": "/requests"}]},
    },
}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schedule_brings_the_monitor_that_is_configured(manifests, version):
    found = manifests("--data-root", "/d", **ON_A_VOLUME)
    assert found["kustomization.yaml"]["resources"][2:] == ["monitor.yaml"]
    job = found["monitor.yaml"]
    assert kubernetes_validate.validate(job, version, strict=True) == version
    assert (job["metadata"]["namespace"], job["spec"]["schedule"]) == ("team", "30 4 * * *")
    pod = pod_of({"cronjob.yaml": job})
    (container,) = pod["containers"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert {"name": "tessera-requests", "mountPath": "/requests"} in container["volumeMounts"]
    secret = {"secretKeyRef": {"name": "storage", "key": "KEY"}}
    assert {"name": "AWS_ACCESS_KEY_ID", "valueFrom": secret} in container["env"]
    # The command takes these options.
    program, command, *words = container["command"]
    assert (program, command) == ("tessera", monitor.name)
    given = monitor.make_context(command, words, resilient_parsing=True).params
    assert (given["bundle_path"], given["log_folder"], given["last_hours"]) == (
        "s3://b/s/tiny", Path("/requests/log"), 24,
    )  # fmt: skip
    assert given["all_versions"] and given["out"] == Path("/requests/monitor")


def test_the_monitor_looks_where_runs_publish(manifests):
    asked = {**ON_A_VOLUME, "monitor": {**ON_A_VOLUME["monitor"], "bundle": ""}}
    found = manifests("--param", "serving_root=s3://b/serving/", **asked)
    (container,) = pod_of({"cronjob.yaml": found["monitor.yaml"]})["containers"]
    assert "--bundle=s3://b/serving/tiny" in container["command"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"log": "s3://b/log"}, "no absolute folder"),
        ({"log": "s3://b/log", "out": "/lost", "bundle": "s3://b/s"}, "kubeflow.monitor.out"),
        ({"log": "/lost", "out": "/requests", "bundle": "s3://b/s"}, "kubeflow.monitor.log"),
        ({"log": "s3://b/log", "out": "/requests", "bundle": "/s"}, "kubeflow.monitor.bundle"),
        ({"log": "s3://b/log", "out": "/requests", "cron": "1 * * * * *"}, "full minutes"),
    ],
)
def test_a_monitor_that_would_lose_its_page_is_refused(write, asked, says):
    asked = {"bundle": "s3://b/s", **asked}
    result = write(monitor=asked, pods=ON_A_VOLUME["pods"])
    assert result.code == 2
    assert says in result.err


def test_equal_input_gives_equal_files(write, tmp_path):
    write()
    write(to="again")
    for path in (tmp_path / "gitops").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_new_file_shows_in_the_job(manifests, spec_file):
    other = spec_file("other.yaml", lambda spec: spec.update(sdkVersion="tfx-1.16.1"))
    first, second = manifests(), manifests(file=other, to="other")
    assert first["cronjob.yaml"] != second["cronjob.yaml"]


def test_no_secret_is_written(write, tmp_path, monkeypatch):
    monkeypatch.setenv("KFP_TOKEN", "s3cr3t")
    write()
    assert all("s3cr3t" not in path.read_text() for path in (tmp_path / "gitops").iterdir())


def big(spec):
    spec["components"] = {f"c{n}": {"x": "y" * 1000} for n in range(1100)}


@pytest.mark.parametrize(
    ("more", "options", "says"),
    [
        ([], {"image": ""}, "kubeflow.image is not set"),
        ([], {"host": ""}, "kubeflow.host is not set"),
        (["--cron", "5 0 3 * * *"], {}, "write 0 in the first field"),
        (["--cron", "0 3 * * *"], {}, "six fields"),
        (["--token-secret", "My_Secret"], {}, "--token-secret"),
        ([], {"change": lambda spec: spec["pipelineInfo"].update(name="T" * 60)}, "pipeline name"),
        ([], {"change": big}, "a ConfigMap holds less than"),
        (["--pause"], {}, "choose one of"),
    ],
)
def test_what_can_not_be_deployed_is_refused(write, spec_file, tmp_path, more, options, says):
    change = options.pop("change", None)
    result = write(*more, file=change and spec_file(change=change), **options)
    assert result.code == 2
    assert says in result.err
    assert not (tmp_path / "gitops").exists()
