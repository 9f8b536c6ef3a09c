"""IndexBuilder and RetrievalEvaluator as nodes of a real TFX pipeline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tfx import v1 as tfx
from tfx.orchestration import metadata
from tfx.types import standard_artifacts

from components.artifacts import Blessing, Bundle, Evaluation, RetrievalIndex
from components.config import EvaluatorConfig, IndexConfig, ThresholdConfig
from components.evaluator.component import RetrievalEvaluator
from components.index_builder.component import IndexBuilder
from tests.components import retrieval_world as world
from trainer.config import RetrievalConfig


def _importer(name, artifact_type, uri, **custom):
    return tfx.dsl.Importer(
        source_uri=str(uri), artifact_type=artifact_type, custom_properties=custom
    ).with_id(name)


def _run(root: Path, found: int) -> tuple[object, object, object]:
    model = _importer("model", standard_artifacts.Model, root / "trained")
    examples = _importer("examples", standard_artifacts.Examples, root / "examples")
    baseline = _importer("baseline", Bundle, root / "resolved", found=found, version=found)
    builder = IndexBuilder(
        model=model.outputs["result"],
        examples=examples.outputs["result"],
        config_json=IndexConfig().canonical_json(),
        retrieval_json=RetrievalConfig(num_results=20).canonical_json(),
        code_digest="c",
    )
    evaluator = RetrievalEvaluator(
        examples=examples.outputs["result"],
        index=builder.outputs["index"],
        baseline=baseline.outputs["result"],
        config_json=EvaluatorConfig(
            ks=(5, 20),
            primary_metric="recall@20",
            thresholds={"recall@20": ThresholdConfig(min=0.05)},
        ).canonical_json(),
        code_digest="c",
    )
    connection = tfx.orchestration.metadata.sqlite_metadata_connection_config(
        str(root / "metadata.sqlite")
    )
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="evaluate",
            pipeline_root=str(root / "artifacts"),
            components=[model, examples, baseline, builder, evaluator],
            metadata_connection_config=connection,
        )
    )
    with metadata.Metadata(connection) as handle:
        return tuple(
            max(handle.store.get_artifacts_by_type(kind.TYPE_NAME), key=lambda a: a.id)
            for kind in (RetrievalIndex, Evaluation, Blessing)
        )


def test_the_nodes_run_and_their_artifacts_carry_what_others_read(tmp_path):
    world.write_world(tmp_path, n_eval=100)
    shutil.move(tmp_path / "model", tmp_path / "trained" / "Format-Serving")
    (tmp_path / "resolved").mkdir()
    index, evaluation, blessing = _run(tmp_path, found=0)
    assert index.custom_properties["kind"].string_value == "exact"
    assert index.custom_properties["items"].int_value == world.ITEMS
    assert index.custom_properties["recall_vs_exact"].double_value == 1.0
    assert blessing.custom_properties["blessed"].int_value == 1
    assert (Path(blessing.uri) / "BLESSED").exists()
    figures = json.loads((Path(evaluation.uri) / "evaluation.json").read_text())
    assert figures["n_examples"] == 100
    assert figures["baseline"] is None

    world.publish(Path(index.uri), tmp_path / "resolved" / "bundle")
    _, evaluation, blessing = _run(tmp_path, found=1)
    figures = json.loads((Path(evaluation.uri) / "evaluation.json").read_text())
    assert figures["baseline"] == figures["model"]
    assert blessing.custom_properties["blessed"].int_value == 1
