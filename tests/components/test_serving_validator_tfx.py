"""The ServingValidator as a node of a real TFX pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tfx import v1 as tfx
from tfx.orchestration import metadata
from tfx.types import standard_artifacts

from components.artifacts import RetrievalIndex, Validation
from components.config import ServingValidatorConfig
from components.serving_validator.component import ServingValidator
from tests.components import retrieval_world as world
from tests.components.raw_examples import write_split

CACHED, COMPLETE = 5, 3


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("pipeline")
    world.write_world(root, n_eval=20)
    world.build(root)
    write_split(root / "no_requests", "eval", [])
    return root


def run(root: Path, examples: str):
    """Runs the validator alone; returns its newest artifact and the state of its execution."""
    index, raw = (
        tfx.dsl.Importer(source_uri=str(root / name), artifact_type=kind).with_id(f"{name}_node")
        for name, kind in (("index", RetrievalIndex), (examples, standard_artifacts.Examples))
    )
    validator = ServingValidator(
        index=index.outputs["result"],
        examples=raw.outputs["result"],
        config_json=ServingValidatorConfig(
            requests=3, latency_requests=2, warmup_requests=1, latency_budget_ms=60_000
        ).canonical_json(),
        code_digest="c",
    )
    connection = tfx.orchestration.metadata.sqlite_metadata_connection_config(
        str(root / "metadata.sqlite")
    )
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="validate",
            pipeline_root=str(root / "artifacts"),
            components=[index, raw, validator],
            metadata_connection_config=connection,
            enable_cache=True,
        )
    )
    with metadata.Metadata(connection) as handle:
        artifacts = handle.store.get_artifacts_by_type(Validation.TYPE_NAME)
        newest = max(handle.store.get_executions(), key=lambda execution: execution.id)
    return max(artifacts, key=lambda artifact: artifact.id), newest.last_known_state


@pytest.mark.slow("a node of a real TFX pipeline")
def test_a_refusal_is_looked_at_again(root):
    refused, state = run(root, "no_requests")
    assert (refused.custom_properties["validated"].int_value, state) == (0, COMPLETE)
    again, state = run(root, "no_requests")
    assert state == COMPLETE and again.id != refused.id


@pytest.mark.slow("a node of a real TFX pipeline")
@pytest.mark.nightly
def test_a_pass_is_remembered(root):
    passed, state = run(root, "examples")
    assert (passed.custom_properties["validated"].int_value, state) == (1, COMPLETE)
    verdict = json.loads((Path(passed.uri) / "validation.json").read_text())
    assert verdict["validated"] is True
    again, state = run(root, "examples")
    assert state == CACHED and again.id == passed.id
