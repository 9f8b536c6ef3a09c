"""The container's entry point: each defect of TFX on this backend, triggered and mended."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pipeline_pb2
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as utils
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor as run_executor

from kubeflow_pipelines.compile.lint import EARLIER_ENTRYPOINT, ENTRYPOINT
from kubeflow_pipelines.task import entrypoint, fixes
from kubeflow_pipelines.task.invocation import prepare, restored
from kubeflow_pipelines.task.markers import remove_directory_markers
from kubeflow_pipelines.task.shared import on_shared_volume
from kubeflow_pipelines.task.uris import launcher_root, local_path, replace_prefix
from tests import forkserver
from tests.markers import nightly
from tests.object_store import s3, s3_server  # noqa: F401

MODEL = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
EXAMPLES = {
    "instanceSchema": "title: tfx.Examples\ntype: object\nproperties:\n  span:\n    type: integer\n"
}
INDEX = {"instanceSchema": "title: components.RetrievalIndex\ntype: object\n"}


def call(inputs=None, outputs=None, parameters=None, output_file="/tmp/none/out.json"):
    def listed(artifacts):
        return {key: {"artifacts": [value]} for key, value in (artifacts or {}).items()}

    return json.dumps(
        {
            "inputs": {"artifacts": listed(inputs), "parameterValues": parameters or {}},
            "outputs": {"artifacts": listed(outputs), "outputFile": output_file},
        }
    )


def spec(**types):
    return json.dumps({"artifacts": {key: {"artifactType": kind} for key, kind in types.items()}})


def parsed(invocation, part="inputs"):
    artifacts = getattr(invocation.executor_input, part).artifacts
    return {k: v[0] for k, v in utils.parse_raw_artifact_dict(artifacts).items()}


@pytest.mark.fault(71)
@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"type": {"instanceSchema": ""}},
        {"type": {"schemaTitle": "system.Model"}},
        {"type": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}},
        {"type": {"schemaTitle": "system.Artifact"}},
    ],
    ids=["untyped", "empty schema", "system.Model", "system.Dataset", "system.Artifact"],
)
@pytest.mark.parametrize("part", ["inputs", "outputs"])
def test_types_that_tfx_can_not_read_are_replaced_by_the_declared_ones(tmp_path, kind, part):
    artifacts = {
        "model": {"name": "1", "uri": "minio://b/model", **kind},
        "examples": {"name": "2", "uri": "minio://b/x", "metadata": {"span": 3.0}, **kind},
        "index": {"name": "3", "uri": "minio://b/index", **kind},
    }
    given = {part: artifacts}
    with pytest.raises(Exception):  # noqa: B017 - TFX fails in a way of its own each time
        bare = json_format.Parse(call(**given), pipeline_pb2.ExecutorInput())
        utils.parse_raw_artifact_dict(getattr(bare, part).artifacts)
    declared = spec(model=MODEL, examples=EXAMPLES, index=INDEX)
    found = parsed(prepare(call(**given), declared, declared, str(tmp_path)), part)
    assert {k: v.TYPE_NAME for k, v in found.items()} == {
        "model": "Model", "examples": "Examples", "index": "components.RetrievalIndex",
    }  # fmt: skip
    assert found["examples"].span == 3


def test_uris_become_the_launchers_folders_also_inside_metadata(tmp_path):
    model = {
        "uri": "minio://bucket/run/model",
        "metadata": {"best": "minio://bucket/run/model/best", "other": "s3://else/where", "n": 1.0},
    }
    invocation = prepare(
        call(inputs={"model": model}, outputs={"index": {"uri": "s3://b/run/index"}}),
        spec(model=MODEL), spec(index=INDEX), str(tmp_path),
    )  # fmt: skip
    found = invocation.executor_input.inputs.artifacts["model"].artifacts[0]
    assert found.uri == f"{tmp_path}/minio/bucket/run/model"
    assert found.metadata["best"] == f"{tmp_path}/minio/bucket/run/model/best"
    assert (found.metadata["other"], found.metadata["n"]) == ("s3://else/where", 1.0)
    assert invocation.outputs == {"index": f"{tmp_path}/s3/b/run/index"}


def test_what_a_task_wrote_names_uris_again_and_holds_no_null(tmp_path):
    place = f"{tmp_path}/s3/b/index"
    written = {
        "artifacts": {
            "index": {
                "artifacts": [
                    {"uri": place, "metadata": {"best": f"{place}/x", "none": None, "n": 2.0}}
                ]
            }
        }
    }
    tree = json.loads(restored(json.dumps(written), {place: "s3://b/index"}))
    assert tree["artifacts"]["index"]["artifacts"] == [
        {"uri": "s3://b/index", "metadata": {"best": "s3://b/index/x", "n": 2.0}}
    ]


@pytest.mark.fault(71)
def test_a_structure_among_the_parameters_becomes_text(tmp_path):
    status = {"state": "FAILED", "error": {"message": "no", "code": 9}}
    invocation = prepare(
        call(parameters={"final_status": status, "n": 3, "s": "x"}), "{}", "{}", str(tmp_path)
    )
    values = invocation.executor_input.inputs.parameter_values
    found = utils.parse_execution_properties(values, {}, pipeline_pb2.ComponentInputsSpec())
    assert json.loads(found["final_status"]) == status
    assert (found["n"], found["s"]) == (3.0, "x")


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("minio://bucket/a/b", "/minio/bucket/a/b"),
        ("gs://bucket/a", "/gcs/bucket/a"),
        ("s3://bucket/a/?region=eu&endpoint=x", "/s3/bucket/a"),
        ("oci://bucket/a", "/oci/bucket/a"),
        ("/mnt/a", None),
        ("hdfs://a/b", None),
    ],
)
def test_places_of_the_launcher(uri, path):
    assert local_path(uri, "/") == path


def test_prefixes_end_at_a_folder():
    assert replace_prefix("/a/bc", {"/a/b": "X"}) == "/a/bc"
    assert replace_prefix("/a/b/c", {"/a": "Y", "/a/b": "X"}) == "X/c"


def test_the_root_is_the_file_systems_unless_said_otherwise(monkeypatch):
    monkeypatch.delenv("TESSERA_LAUNCHER_ROOT", raising=False)
    assert launcher_root() == "/"


def test_every_fix_is_needed_by_the_installed_tfx():
    fixes.check()
    assert all(fix.present() for fix in fixes.FIXES)


@pytest.mark.fault(71)
def test_a_tfx_that_does_it_right_is_not_worked_around_unseen(monkeypatch):
    monkeypatch.setattr(utils, "_retrieve_class_path", lambda _: "tfx.types.artifact.Artifact")
    with pytest.raises(fixes.FixError) as raised:
        fixes.check()
    assert "input artifacts without a type: TFX does it right now" in str(raised.value)


def test_a_tfx_that_has_changed_stops_every_task(monkeypatch):
    monkeypatch.delattr(utils, "_retrieve_class_path")
    monkeypatch.setattr(run_executor, "_run_executor", lambda everything: None)
    with pytest.raises(fixes.FixError) as raised:
        fixes.check()
    assert "TFX has changed (AttributeError" in str(raised.value)
    assert "the call of the executor" in str(raised.value)


@pytest.mark.fault(71)
def test_what_an_earlier_attempt_left_is_gone_before_the_next(tmp_path):
    output_file, place = tmp_path / "out" / "output.json", tmp_path / "s3" / "b" / "index"
    output_file.parent.mkdir()
    output_file.write_text('{"parameterValues": {"span": 1}}')
    place.mkdir(parents=True)
    (place / "half").write_text("x")
    entrypoint._clear(str(output_file), [str(place), "s3://left/alone"])
    assert not output_file.exists()
    assert list(place.iterdir()) == []


def test_an_output_without_a_file_gets_one(tmp_path):
    """Object storage knows no empty folder: whoever reads it would find nothing there."""
    (tmp_path / "a" / "empty").mkdir(parents=True)
    entrypoint._keep(tmp_path / "a")
    entrypoint._keep(tmp_path / "a")
    assert [p.name for p in (tmp_path / "a").iterdir() if p.is_file()] == [".keep"]


@pytest.mark.fault(71)
def test_markers_of_folders_are_removed_and_nothing_else(s3):  # noqa: F811
    url = s3.fresh()
    for name in ("model/", "model/variables/", "model/saved_model.pb", "model/empty", "other/x"):
        s3.put(f"{url}/{name}", b"" if name[-1] == "/" or name == "model/empty" else b"x")
    assert remove_directory_markers(f"{url}/model") == 2
    assert sorted(s3.keys(url)) == ["model/empty", "model/saved_model.pb", "other/x"]
    assert len(s3.keys(url)) == 3
    assert remove_directory_markers(f"{url}/model") == 0


def run_schema(tmp_path, text="", module="kubeflow_pipelines.task.entrypoint", fresh=False, **env):
    """A real task in a process of its own: the smallest component there is."""
    output_file = tmp_path / "out" / "output_metadata.json"
    schema = {"instanceSchema": "title: tfx.Schema\ntype: object\n"}
    done = subprocess.run(
        [
            sys.executable if fresh else forkserver.interpreter(), "-m", module,
            "--executor_class_path", "components.curated_schema.executor.Executor",
            "--json_serialized_invocation_args",
            call(
                outputs={"schema": {"name": "schema", "uri": "minio://b/run/schema"}},
                parameters={"schema_text": text},
                output_file=str(output_file),
            ),
            "--json_serialized_inputs_spec_args",
            json.dumps({"parameters": {"schema_text": {"parameterType": "STRING"}}}),
            "--json_serialized_outputs_spec_args", spec(schema=schema),
            "--runner=FnApiRunner",
        ],
        env={**os.environ, "TESSERA_LAUNCHER_ROOT": str(tmp_path), **env},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    return done, output_file


@pytest.mark.parametrize(
    "command", [ENTRYPOINT, *nightly(EARLIER_ENTRYPOINT)], ids=["now", "earlier"]
)
def test_a_real_task_in_a_process_of_its_own(tmp_path, command):
    """Also under the name that files call which were compiled earlier."""
    text = 'feature { name: "a" type: INT }'
    done, output_file = run_schema(tmp_path, text, command[-1], fresh=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "minio/b/run/schema/schema.pbtxt").read_text().startswith("feature")
    artifact = json.loads(output_file.read_text())["artifacts"]["schema"]["artifacts"][0]
    assert artifact["uri"] == "minio://b/run/schema"


def test_artifacts_go_by_way_of_a_shared_volume_and_nothing_stays_there(tmp_path):
    """For Beam workers on other machines: they see neither this pod's disk nor the launcher."""
    model = tmp_path / "minio/b/model"
    model.mkdir(parents=True)
    (model / "weights").write_text("w")
    given = {"uri": "minio://b/model", "metadata": {"best": "minio://b/model/best"}}
    invocation = prepare(
        call(inputs={"model": given}, outputs={"index": {"uri": "minio://b/index"}}),
        spec(model=MODEL), spec(index=INDEX), str(tmp_path),
    )  # fmt: skip
    shared = tmp_path / "shared"
    with on_shared_volume(invocation, str(shared)) as placed:
        read = placed.executor_input.inputs.artifacts["model"].artifacts[0]
        assert read.uri.startswith(f"{shared}/")
        assert (Path(read.uri) / "weights").read_text() == "w"
        assert read.metadata["best"] == f"{read.uri}/best"
        place = Path(placed.outputs["index"])
        assert place.is_relative_to(shared)
        place.mkdir(parents=True)
        (place / "made").write_text("i")
        assert placed.uris[str(place)] == "minio://b/index"
    assert (tmp_path / "minio/b/index/made").read_text() == "i"
    assert list(shared.iterdir()) == []


def test_a_task_that_fails_leaves_nothing_on_the_volume_and_brings_nothing_back(tmp_path):
    outputs = {"index": {"uri": "minio://b/index"}}
    invocation = prepare(call(outputs=outputs), "{}", spec(index=INDEX), str(tmp_path))
    with pytest.raises(KeyError), on_shared_volume(invocation, str(tmp_path / "shared")) as placed:
        Path(placed.outputs["index"]).mkdir(parents=True)
        raise KeyError
    assert list((tmp_path / "shared").iterdir()) == []
    assert not (tmp_path / "minio").exists()


def test_by_way_of_a_url_a_task_keeps_its_folders(tmp_path):
    invocation = prepare(
        call(outputs={"index": {"uri": "minio://b/i"}}), "{}", spec(index=INDEX), str(tmp_path)
    )
    with on_shared_volume(invocation, "s3://bucket/tasks") as placed:
        assert placed is invocation


def test_a_real_task_with_a_shared_volume(tmp_path):
    shared = tmp_path / "shared"
    done, output_file = run_schema(tmp_path, "feature {}", TESSERA_SHARED_DIR=str(shared))
    assert done.returncode == 0, done.stderr
    assert str(shared) in done.stderr  # the executor wrote there
    assert (tmp_path / "minio/b/run/schema/schema.pbtxt").exists()
    artifact = json.loads(output_file.read_text())["artifacts"]["schema"]["artifacts"][0]
    assert artifact["uri"] == "minio://b/run/schema"


def test_a_task_sees_the_accelerators_that_it_was_given(tmp_path, monkeypatch):
    script = (
        "import os, runpy, sys\n"
        "sys.argv = ['entrypoint']\n"
        "try: runpy.run_module('kubeflow_pipelines.task.entrypoint', run_name='__main__')\n"
        "except BaseException: pass\n"
    )
    ask = "import os; os._exit = lambda code: print(os.environ.get('CUDA_VISIBLE_DEVICES'))\n"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    done = subprocess.run(
        [sys.executable, "-c", ask + script], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["None"]


def test_wrong_configuration_is_exit_code_2_and_one_line_without_secrets(tmp_path):
    done, output_file = run_schema(tmp_path, f"no schema ghp_{'a' * 36}")
    assert done.returncode == 2
    assert "examples.pbtxt is no schema" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ghp_aaa" not in done.stderr
    assert not output_file.exists()


def test_without_arguments_it_says_what_it_wants():
    done = subprocess.run(
        [sys.executable, "-m", "kubeflow_pipelines.task.entrypoint"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--executor_class_path" in done.stderr


@pytest.mark.fault(71)
def test_an_abort_in_a_destructor_does_not_turn_success_into_failure():
    """As with TensorFlow's object-storage clients: "pure virtual method called"."""
    script = (
        "import atexit, os, sys\n"
        "atexit.register(os.abort)\n"
        "from kubeflow_pipelines.task.entrypoint import leave\n"
        "sys.stdout.write('done')\n"
        "{}\n"
    )
    ends = {
        how: subprocess.run(
            [sys.executable, "-c", script.format(how)], capture_output=True, text=True, check=False
        )
        for how in ("leave(0)", "sys.exit(0)")
    }
    assert ends["sys.exit(0)"].returncode == -signal.SIGABRT
    assert (ends["leave(0)"].returncode, ends["leave(0)"].stdout) == (0, "done")
