"""Each rule is broken once, and says so; what we compile breaks none."""

import json

import pytest

from kubeflow_pipelines.compile.lint import MAX_BYTES, MAX_TASK_BYTES, RULES, lint

PLATFORM = ("platforms", "kubernetes", "deploymentSpec", "executors")


def _executor(documents, name="Trainer"):
    return documents[0]["deploymentSpec"]["executors"][f"{name}_executor"]


def _task(documents, name="Trainer"):
    return documents[0]["components"]["tfx-dag"]["dag"]["tasks"][name]


def _constant(documents, value, name="Trainer", key="run_fn"):
    _task(documents, name)["inputs"]["parameters"][key] = {"runtimeValue": {"constant": value}}


def _platform(documents):
    place = documents[1]
    for key in PLATFORM:
        place = place[key]
    return place


def schema_version(documents):
    documents[0]["schemaVersion"] = "2.0.0"


def unknown_field(documents):
    _task(documents)["retries"] = 3


def unknown_executor_field(documents):
    _executor(documents)["container"]["limits"] = {}


def unknown_platform_field(documents):
    _platform(documents)["Trainer_executor"]["nodeSelectors"] = {}


def upper_case_name(documents):
    documents[0]["pipelineInfo"]["name"] = "Tessera_1"


def underscore_in_task(documents):
    tasks = documents[0]["components"]["tfx-dag"]["dag"]["tasks"]
    tasks["Status_Report"] = tasks.pop("Pusher")


def resolver(documents):
    _executor(documents).clear()
    _executor(documents)["resolver"] = {"outputArtifactQueries": {}}


def custom_job(documents):
    _executor(documents).clear()
    _executor(documents)["customJob"] = {"customJob": {}}


def lifecycle(documents):
    _executor(documents)["container"]["lifecycle"] = {"preCacheCheck": {"command": ["x"]}}


def run_time_value(documents):
    _task(documents)["inputs"]["parameters"]["run_fn"] = {"runtimeValue": {"runtimeParameter": "x"}}


def no_producer(documents):
    source = _task(documents)["inputs"]["artifacts"]["examples"]["taskOutputArtifact"]
    source["producerTask"] = "Transform_task"


def no_such_output(documents):
    source = _task(documents)["inputs"]["artifacts"]["examples"]["taskOutputArtifact"]
    source["outputArtifactKey"] = "example"


def no_parent_input(documents):
    del documents[0]["components"]["tfx-dag"]["inputDefinitions"]


def unconnected(documents):
    del _task(documents)["inputs"]["parameters"]["run_fn"]


def undeclared(documents):
    _constant(documents, "x", key="run_fun")


def circle(documents):
    _task(documents, "Transform")["dependentTasks"].append("Pusher")


def no_component(documents):
    _task(documents)["componentRef"]["name"] = "Trained"


def no_executor(documents):
    documents[0]["components"]["Trainer"]["executorLabel"] = "Trained"


def latest(documents):
    _executor(documents)["container"]["image"] = "registry.example:5000/tessera:latest"


def no_tag(documents):
    _executor(documents)["container"]["image"] = "registry.example:5000/tessera"


def stock_entrypoint(documents):
    _executor(documents)["container"]["command"] = [
        "python", "-m", "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
    ]  # fmt: skip


def local_path(documents):
    _constant(documents, "/home/me/trainer.py")


def local_path_in_json(documents):
    _constant(documents, json.dumps({"a": [{"root": "/home/me/tables"}]}))


def local_file_url(documents):
    _constant(documents, "file:///home/me/tables")


def relative_root(documents):
    parameters = documents[0]["root"]["inputDefinitions"]["parameters"]
    parameters["data_root"]["defaultValue"] = "data/local"


def access_key(documents):
    _constant(documents, json.dumps({"key": "AKIA" + "A" * 16}))


def password_in_url(documents):
    _constant(documents, "s3://user:hunter2@bucket/key")


def secret_variable(documents):
    _executor(documents)["container"]["env"].append({"name": "KFP_TOKEN", "value": "abc"})


def no_retry(documents):
    del _task(documents)["retryPolicy"]


def broken_factor(documents):
    _task(documents)["retryPolicy"]["backoffFactor"] = 1.5


def short_window(documents):
    _task(documents)["retryPolicy"]["backoffMaxDuration"] = "600s"


def own_address(documents):
    _executor(documents)["container"]["args"].append("--job_endpoint=localhost:8099")


def no_retry_of_exit_handler(documents):
    documents[0]["root"]["dag"]["tasks"]["StatusReport"]["retryPolicy"]["maxRetryCount"] = 0


def cached_ingest(documents):
    _task(documents, "RetrievalExampleGen")["cachingOptions"] = {"enableCache": True}


def no_exit_handler(documents):
    del documents[0]["root"]["dag"]["tasks"]["StatusReport"]


def string_status(documents):
    component = documents[0]["components"]["StatusReport"]
    component["inputDefinitions"]["parameters"]["final_status"]["parameterType"] = "STRING"


def default_run_date(documents):
    parameters = documents[0]["root"]["inputDefinitions"]["parameters"]
    parameters["run_date"]["defaultValue"] = "2026-01-01"


def no_run_date(documents):
    del documents[0]["root"]["inputDefinitions"]["parameters"]["run_date"]


def huge(documents):
    documents[0]["pipelineInfo"]["description"] = "x" * MAX_BYTES


def huge_task(documents):
    _constant(documents, "x" * MAX_TASK_BYTES)


BREAKS = [
    (schema_version, "schema-version", "'2.0.0'"),
    (unknown_field, "parses", "retries"),
    (unknown_executor_field, "parses", "limits"),
    (unknown_platform_field, "parses", "nodeSelectors"),
    (upper_case_name, "names", "'Tessera_1'"),
    (underscore_in_task, "names", "'Status_Report'"),
    (resolver, "executors", "resolver"),
    (custom_job, "executors", "customJob"),
    (lifecycle, "executors", "lifecycle"),
    (run_time_value, "constants", "Trainer.run_fn"),
    (no_producer, "graph", "'Transform_task'"),
    (no_such_output, "graph", "no output 'example'"),
    (no_parent_input, "graph", "its parent does not have"),
    (unconnected, "graph", "'run_fn' is given by nobody"),
    (undeclared, "graph", "'run_fun' is not declared"),
    (circle, "graph", "never starts"),
    (no_component, "graph", "its component is not defined"),
    (no_executor, "graph", "'Trained' is not defined"),
    (latest, "images", "latest"),
    (no_tag, "images", "not pinned"),
    (stock_entrypoint, "commands", "kubeflow_v2_run_executor"),
    (local_path, "local-paths", "/home/me/trainer.py"),
    (local_path_in_json, "local-paths", "/home/me/tables"),
    (local_file_url, "local-paths", "file:///home/me/tables"),
    (relative_root, "places", "'data/local'"),
    (access_key, "secrets", "run_fn"),
    (password_in_url, "secrets", "run_fn"),
    (secret_variable, "secrets", "KFP_TOKEN"),
    (no_retry, "retries", "Trainer"),
    (broken_factor, "retries", "whole numbers"),
    (short_window, "retries", "backoffMaxDuration 600s"),
    (own_address, "services", "--job_endpoint"),
    (no_retry_of_exit_handler, "retries", "StatusReport"),
    (cached_ingest, "caching", "RetrievalExampleGen"),
    (no_exit_handler, "exit-handler", "no task reports"),
    (string_status, "exit-handler", "TASK_FINAL_STATUS"),
    (default_run_date, "run-date", "default"),
    (no_run_date, "run-date", "no parameter run_date"),
    (huge, "size", "at most"),
    (huge_task, "size", "Trainer"),
]


def test_what_we_compile_breaks_no_rule(documents):
    assert lint(documents) == []


@pytest.mark.fault(70)
@pytest.mark.parametrize(
    ("broken", "rule", "words"), BREAKS, ids=[b.__name__ for b, _, _ in BREAKS]
)
def test_a_broken_rule_is_named(documents, broken, rule, words):
    broken(documents)
    found = [problem for problem in lint(documents) if problem.startswith(f"{rule}: ")]
    assert any(words in problem for problem in found), lint(documents)


@pytest.mark.fault(70)
def test_every_rule_is_broken_by_a_test_and_has_a_reason():
    assert {rule for _, rule, _ in BREAKS} == {rule.name for rule in RULES}
    assert all(len(rule.reason) > 10 for rule in RULES)


def test_a_path_below_a_mounted_volume_is_no_local_path(documents):
    _constant(documents, "/mnt/data/checkpoints")
    for executor in _platform(documents).values():
        executor["pvcMount"] = [{"constant": "claim", "mountPath": "/mnt/data"}]
    assert lint(documents) == []
    _constant(documents, "/mnt/database")
    assert [p.split(":")[0] for p in lint(documents)] == ["local-paths"]


def test_no_secret_is_repeated_in_a_message(documents):
    access_key(documents)
    assert "AKIA" not in " ".join(lint(documents))


def test_a_file_that_is_no_pipeline_is_said_to_be_none():
    assert lint([]) == ["documents: the first document is no pipeline specification"]
    assert len(lint([{"a": 1}])) == 1


def test_files_that_were_compiled_before_the_entry_point_moved_keep_every_rule(documents):
    """Their command, an artifact root and cached tasks: all of this they may still have."""
    spec = documents[0]
    spec["defaultPipelineRoot"] = "minio://mlpipeline/v2/artifacts"
    for executor in spec["deploymentSpec"]["executors"].values():
        executor["container"]["command"] = ["python", "-m", "pipeline.kubeflow" + ".entrypoint"]
    _task(documents)["cachingOptions"] = {"enableCache": True}
    assert lint(documents) == []
