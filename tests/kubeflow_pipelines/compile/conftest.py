"""The pipeline of `conf/kubeflow.yaml`, compiled once."""

import copy
from pathlib import Path

import pytest

from pipeline.config import load_config

REPOSITORY = Path(__file__).resolve().parents[3]
IMAGE = "registry.example/tessera@sha256:" + "0" * 64
VARIABLES = ("TESSERA_TABLES", "TESSERA_SERVING", "TESSERA_IMAGE", "TESSERA_PIPELINE_ROOT")


def kubeflow_config(*overrides):
    return load_config(
        REPOSITORY / "conf" / "kubeflow.yaml", [f"kubeflow.image={IMAGE}", *overrides]
    )


@pytest.fixture(scope="session")
def _compiled():
    from kubeflow_pipelines.compile.compiler import compile_pipeline

    with pytest.MonkeyPatch.context() as patch:
        for name in (*VARIABLES, "KFP_HOST"):
            patch.delenv(name, raising=False)
        return compile_pipeline(kubeflow_config())


@pytest.fixture
def documents(_compiled):
    """A copy that the test may break."""
    return copy.deepcopy(_compiled)
