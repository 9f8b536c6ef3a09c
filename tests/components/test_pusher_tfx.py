"""Pusher and BaselineResolver as nodes of a real TFX pipeline."""

import json
import shutil

import pytest
from tfx import v1 as tfx
from tfx.dsl.components.base import base_node
from tfx.orchestration import metadata
from tfx.types import standard_artifacts

from components.artifacts import (
    Blessing,
    DataReport,
    Evaluation,
    PushedBundle,
    RetrievalIndex,
    Validation,
)
from components.artifacts import Bundle as BundleArtifact
from components.baseline_resolver.component import BaselineResolver
from components.bundle import verify
from components.config import PusherConfig
from components.pusher.component import Pusher
from components.pusher.push import ManifestFields
from tests.components.bundle_fixtures import make_request, numeric_folders, validation, write_tree


def _importer(name, artifact_type, uri, properties=None, **custom) -> base_node.BaseNode:
    return tfx.dsl.Importer(
        source_uri=str(uri),
        artifact_type=artifact_type,
        properties=properties,
        custom_properties=custom,
    ).with_id(name)


def _run(root, blessed, span=20098, content="one", validated=True):
    request = make_request(root, content)
    blessing = write_tree(
        root / f"blessing-{blessed}", {"BLESSED" if blessed else "NOT_BLESSED": b"x"}
    )
    verdict = validation(root / f"validation-{validated}", validated, "too slow")
    report = write_tree(root / "report", {"data_report.json": b'{"fingerprint": "f00d"}'})
    examples = write_tree(root / f"examples-{span}", {"marker": b"x"})
    nodes = {
        "index": _importer("index", RetrievalIndex, request.index_dir),
        "model": _importer("model", standard_artifacts.Model, request.model_dir),
        "evaluation": _importer("evaluation", Evaluation, request.evaluation_dir),
        "blessing": _importer("blessing", Blessing, blessing, blessed=int(blessed)),
        "validation": _importer("validation", Validation, verdict, validated=int(validated)),
        "report": _importer("report", DataReport, report, note="x"),
        "examples": _importer("examples", standard_artifacts.Examples, examples, {"span": span}),
    }
    channels = {name: node.outputs["result"] for name, node in nodes.items()}
    serving = str(root / "serving")
    resolver = BaselineResolver(
        examples=channels["examples"],
        serving_dir=serving,
        name="demo",
        training_digest="t",
        code_digest="c",
    )
    pusher = Pusher(
        **channels,
        baseline=resolver.outputs["baseline"],
        serving_dir=serving,
        name="demo",
        config_json=PusherConfig().canonical_json(),
        manifest_json=ManifestFields(
            run_id="r1", training_digest="t", data_root="d"
        ).canonical_json(),
        code_digest="c",
    )
    connection = tfx.orchestration.metadata.sqlite_metadata_connection_config(
        str(root / "metadata.sqlite")
    )
    tfx.orchestration.LocalDagRunner().run(
        tfx.dsl.Pipeline(
            pipeline_name="push",
            pipeline_root=str(root / "artifacts"),
            components=[*nodes.values(), resolver, pusher],
            metadata_connection_config=connection,
            enable_cache=True,
        )
    )
    with metadata.Metadata(connection) as handle:
        newest = {
            kind: max(handle.store.get_artifacts_by_type(kind.TYPE_NAME), key=lambda a: a.id)
            for kind in (PushedBundle, BundleArtifact)
        }
        states = [
            (e.type_id, e.last_known_state)
            for e in sorted(handle.store.get_executions(), key=lambda e: e.id)[-2:]
        ]
    return newest[PushedBundle], newest[BundleArtifact], states


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("pipeline")


@pytest.mark.fault(59)
def test_a_pipeline_publishes_caches_and_finds_its_baseline(root):
    pushed, baseline, _ = _run(root, blessed=False)
    assert pushed.custom_properties["pushed"].int_value == 0
    assert not (root / "serving").exists()
    assert baseline.custom_properties["found"].int_value == 0

    pushed, _, _ = _run(root, blessed=True, validated=False)
    assert pushed.custom_properties["pushed"].int_value == 0
    assert "not validated: too slow" in pushed.custom_properties["reason"].string_value
    assert not (root / "serving").exists()

    pushed, _, _ = _run(root, blessed=True)
    assert pushed.custom_properties["pushed"].int_value == 1
    assert pushed.custom_properties["pushed_version"].int_value == 1
    destination = root / "serving/demo/1"
    assert pushed.custom_properties["pushed_destination"].string_value == str(destination)
    manifest = verify(destination)
    assert (manifest.span, manifest.run_date) == (20098, "2025-01-10")
    assert (manifest.data_fingerprint, manifest.run_id) == ("f00d", "r1")
    assert "assets.extra/tf_serving_warmup_requests" in manifest.files

    # The same again: the resolver is answered from the cache, the pusher is not.
    _, _, states = _run(root, blessed=True)
    cached, complete = 5, 3
    assert [state for _, state in states] == [cached, complete]
    assert numeric_folders(root / "serving/demo") == [1]

    # Somebody removed what was published: it is published again, under a new number.
    shutil.rmtree(destination)
    pushed, _, _ = _run(root, blessed=True)
    assert pushed.custom_properties["pushed_version"].int_value == 2

    # The next span finds it.
    _, baseline, _ = _run(root, blessed=True, span=20099, content="two")
    assert baseline.custom_properties["found"].int_value == 1
    assert baseline.custom_properties["version"].int_value == 2
    assert verify(f"{baseline.uri}/bundle").version == 2
    tree = json.loads((root / "serving/demo/3/manifest.json").read_text())
    assert (tree["parent_version"], tree["baseline_version"]) == (2, 2)


def test_a_blessing_whose_file_and_property_disagree_is_refused(tmp_path):
    from components.pusher.executor import is_blessed
    from core.errors import PushError

    blessing = Blessing()
    blessing.uri = str(write_tree(tmp_path, {"NOT_BLESSED": b""}))
    blessing.set_int_custom_property("blessed", 1)
    with pytest.raises(PushError, match="BLESSED does not exist"):
        is_blessed([blessing])
    with pytest.raises(PushError, match="no blessing"):
        is_blessed([])


def test_a_validation_whose_file_and_property_disagree_is_refused(tmp_path):
    from components.pusher.executor import is_validated
    from core.errors import PushError

    artifact = Validation()
    artifact.uri = str(validation(tmp_path / "v", validated=False))
    assert not is_validated([artifact])
    artifact.set_int_custom_property("validated", 1)
    with pytest.raises(PushError, match="says validated = false"):
        is_validated([artifact])
    (tmp_path / "v/validation.json").write_text("[]")
    with pytest.raises(PushError, match="run the validator again"):
        is_validated([artifact])
    with pytest.raises(PushError, match="no validation"):
        is_validated([])


def test_the_span_comes_from_the_parameter_or_from_the_examples():
    from components.baseline_resolver.executor import effective_span

    plain, dated, noted = (standard_artifacts.Examples() for _ in range(3))
    dated.span = 20098
    noted.set_string_custom_property("run_date", "2025-01-11")
    assert effective_span("", {"examples": [plain]}) is None
    assert effective_span("", {"examples": [dated]}) == 20098
    assert effective_span("", {"examples": [noted]}) == 20099
    assert effective_span("2025-01-12", {"examples": [dated]}) == 20100


def test_the_date_and_the_span_of_a_manifest_are_one():
    assert ManifestFields(run_date="2025-01-10").span == 20098
    assert ManifestFields(span=20098).run_date == "2025-01-10"
    assert ManifestFields(run_date="").span is None
    fields = ManifestFields.from_json(ManifestFields(span=20098).canonical_json())
    assert fields.with_span(20099).run_date == "2025-01-11"
