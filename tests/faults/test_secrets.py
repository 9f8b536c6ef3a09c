"""Fault 80: what looks like a secret is in no log, report or manifest, nor in a compiled file."""

import json
import logging

import pytest

from core.errors import ConfigError
from core.secrets import RedactingFormatter
from kubeflow_pipelines.compile.compiler import compile_pipeline
from pipeline.config import RunConfig
from pipeline.dag import Paths, build_components
from pipeline.local.console import run_output
from pipeline.report.inputs import report_inputs

KEY = "AKIA" + "S" * 16
ROOT = f"s3://me:{KEY}@bucket/tables"


@pytest.fixture
def config():
    return RunConfig.model_validate({"data": {"root": ROOT}, "kubeflow": {"env": {"A": KEY}}})


@pytest.mark.fault(80)
def test_a_log_file_masks_it(tmp_path):
    with run_output(tmp_path / "run.log", verbose=False):
        logging.getLogger("tessera").info("reads %s", ROOT)
        logging.getLogger("absl").info("exec_properties: {'key': '%s'}", KEY)
    text = (tmp_path / "run.log").read_text()
    assert "reads s3" in text and "exec_properties" in text
    assert KEY not in text


@pytest.mark.fault(80)
def test_a_traceback_masks_it():
    try:
        raise ValueError(f"no access with {KEY}")
    except ValueError:
        record = logging.LogRecord("x", 40, "", 0, "failed", None, __import__("sys").exc_info())
    text = RedactingFormatter().format(record)
    assert "no access with" in text
    assert KEY not in text


@pytest.mark.fault(80)
def test_the_manifest_and_the_report_mask_it(config):
    paths = Paths(ROOT, "/serving", "", "", "/checkpoints", "/dead")
    pusher = build_components(config, paths)[-1]
    manifest = json.loads(pusher.exec_properties["manifest_json"])
    assert manifest["data_root"].endswith("bucket/tables")
    assert KEY not in json.dumps(manifest)
    assert KEY not in json.dumps(report_inputs(config, "run", {}, {}, None).config)


@pytest.mark.fault(80)
def test_a_pipeline_with_one_is_not_compiled_and_the_message_does_not_repeat_it(config):
    image = config.kubeflow.model_copy(update={"image": "registry.example/tessera:1"})
    with pytest.raises(ConfigError, match="looks like a secret") as raised:
        compile_pipeline(config.model_copy(update={"kubeflow": image}))
    assert KEY not in str(raised.value)
