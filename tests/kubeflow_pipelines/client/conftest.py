import copy
import json
import time
from dataclasses import dataclass

import pytest
import yaml

from cli.main import main
from kubeflow_pipelines.client import connection, sign_in
from tests.kubeflow_pipelines.client.kfp_stub import KfpStub

#: What the tests need of a compiled pipeline: its inputs.
SPEC = {
    "pipelineInfo": {"name": "tiny"},
    "schemaVersion": "2.1.0",
    "sdkVersion": "tfx-1.16.0",
    "root": {
        "inputDefinitions": {
            "parameters": {
                "run_date": {"parameterType": "STRING"},
                "data_root": {"parameterType": "STRING", "defaultValue": "/tables"},
                "serving_root": {"parameterType": "STRING", "defaultValue": "/nowhere/serving"},
                "model_name": {"parameterType": "STRING", "defaultValue": "tiny"},
                "epochs": {"parameterType": "NUMBER_INTEGER", "defaultValue": 1},
            }
        },
        "dag": {"tasks": {}},
    },
    "components": {},
    "deploymentSpec": {"executors": {}},
}


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def make_stub():
    stubs = []

    def make(**options):
        stubs.append(KfpStub(**options))
        return stubs[-1]

    yield make
    for stub in stubs:
        stub.close()
    assert [problem for stub in stubs for problem in stub.contract] == []


@pytest.fixture
def stub(make_stub):
    return make_stub()


@pytest.fixture
def naps(monkeypatch):
    """Seconds that were slept; nobody waits for them."""
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """Neither the caller's environment nor the pod that the tests may run in."""
    for name in (
        "KFP_HOST", "KFP_TOKEN", "KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT",
        "KF_PIPELINES_SA_TOKEN_PATH", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy",
        "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(connection, "POD_NAMESPACE", tmp_path / "no-pod" / "namespace")
    monkeypatch.setattr(sign_in, "KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "no-pod" / "token"))


@pytest.fixture
def spec_file(tmp_path):
    """Writes a compiled pipeline; `change` edits its specification."""

    def write(name="pipeline.yaml", change=lambda spec: None):
        spec = copy.deepcopy(SPEC)
        change(spec)
        path = tmp_path / name
        path.write_text(yaml.safe_dump(spec))
        return path

    return write


@pytest.fixture
def conf_file(tmp_path):
    """Writes a configuration with `kubeflow` keys."""

    def write(host, **kubeflow):
        tree = {
            "name": "tiny",
            "serving_dir": "/nowhere/serving",
            "data": {"root": "/tables"},
            "kubeflow": {"host": host, **kubeflow},
        }
        path = tmp_path / "conf.yaml"
        path.write_text(yaml.safe_dump(tree))
        return path

    return write


@pytest.fixture
def tessera(capsys):
    """Runs a command line; returns its exit status and what it printed."""

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Result(exit_.value.code, printed.out, printed.err)

    return call
