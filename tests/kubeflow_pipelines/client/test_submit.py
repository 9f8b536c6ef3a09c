"""`tessera submit`: a version per content, one run, plain errors."""

import logging
import socket

import pytest

from kubeflow_pipelines.client import connection

TOKEN = "s3cr3t-t0ken-of-somebody"


@pytest.fixture
def submit(tessera, spec_file, conf_file, naps):
    def call(stub, *more, file=None, day="2024-06-30", **kubeflow):
        words = ["submit", file or spec_file(), "--conf", conf_file(stub.url, **kubeflow)]
        return tessera(*words, *(["--run-date", day] if day else []), *more)

    return call


def test_a_run_is_started_with_its_day(submit, stub):
    result = submit(stub, pipeline_root="minio://bucket/root", service_account="runner")
    assert (result.code, result.err) == (0, "")
    (run,) = stub.runs.values()
    (version,) = stub.versions.values()
    assert run["display_name"] == "tiny-2024-06-30"
    assert run["runtime_config"] == {
        "parameters": {"run_date": "2024-06-30"},
        "pipeline_root": "minio://bucket/root",
    }
    assert run["service_account"] == "runner"
    assert (
        run["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]
    )
    assert [e["display_name"] for e in stub.experiments.values()] == ["tiny"]
    assert run["run_id"] in result.out
    assert f"{stub.url}/#/runs/details/{run['run_id']}" in result.out


def test_the_same_file_is_uploaded_once_and_another_is_a_new_version(submit, stub, spec_file):
    first, second = submit(stub, "--json"), submit(stub, "--json", day="2024-07-01")
    assert (first.json["uploaded"], second.json["uploaded"]) == (True, False)
    assert first.json["version"] == second.json["version"]
    other = spec_file("other.yaml", lambda spec: spec.update(sdkVersion="tfx-1.16.1"))
    assert submit(stub, "--json", file=other).json["uploaded"]
    assert len(stub.pipelines) == 1
    assert len(stub.versions) == 2
    assert stub.operations().count("UploadPipelineVersion") == 2


def test_parameters_have_the_types_of_the_file(submit, stub):
    result = submit(
        stub,
        "--data-root",
        "/d",
        "--serving-root",
        "/s",
        "--model-name",
        "m",
        "--param",
        "epochs=3",
    )
    assert result.code == 0
    (run,) = stub.runs.values()
    assert run["runtime_config"]["parameters"] == {
        "run_date": "2024-06-30",
        "data_root": "/d",
        "serving_root": "/s",
        "model_name": "m",
        "epochs": 3,
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--param", "epoch=3"], "did you mean 'epochs'"),
        (["--param", "epochs"], "expected name=value"),
        (["--param", "epochs=three"], "expected a NUMBER_INTEGER"),
        (["--param", "epochs=true"], "expected a NUMBER_INTEGER"),
        (["--param", "run_date=2024-01-01"], "--run-date"),
    ],
)
def test_a_wrong_parameter_is_refused_before_any_request(submit, stub, words, says):
    result = submit(stub, *words)
    assert result.code == 2
    assert says in result.err
    assert stub.requests == []


def test_days_before_a_day_are_resolved(submit, stub):
    assert submit(stub, day="2024-07-01-1d").code == 0
    (run,) = stub.runs.values()
    assert run["runtime_config"]["parameters"]["run_date"] == "2024-06-30"


@pytest.mark.parametrize(
    ("day", "says"), [(None, "--run-date is missing"), ("latest", "--run-date 'latest'")]
)
def test_a_day_must_be_said(submit, stub, day, says):
    result = submit(stub, day=day)
    assert result.code == 2
    assert says in result.err
    assert stub.requests == []


def test_tables_without_days_need_none(submit, stub, spec_file):
    def single(spec):
        spec["root"]["inputDefinitions"]["parameters"]["run_date"]["defaultValue"] = ""

    assert submit(stub, file=spec_file(change=single), day=None).code == 0
    (run,) = stub.runs.values()
    assert run["display_name"] == "tiny"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.yaml", None, "no such file"),
        ("spec.json", "{}", "must end with .yaml"),
        ("bad.yaml", "a: [", "cannot be read as YAML"),
        ("empty.yaml", "", "not a compiled pipeline"),
        ("old.yaml", "{schemaVersion: 2.0.0, pipelineInfo: {name: x}}", "schemaVersion 2.1.0"),
        ("unnamed.yaml", "{schemaVersion: 2.1.0, pipelineInfo: {}}", "pipelineInfo.name"),
        ("dayless.yaml", "{schemaVersion: 2.1.0, pipelineInfo: {name: x}}", "no run_date"),
    ],
)
def test_what_is_no_compiled_pipeline_is_refused(submit, stub, tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_text(content)
    result = submit(stub, file=tmp_path / name)
    assert result.code == 2
    assert says in result.err
    assert stub.requests == []


def test_wait_follows_the_run_to_its_end(submit, make_stub):
    stub = make_stub(polls=3)
    result = submit(stub, "--wait", "--poll-s", "7")
    assert (result.code, result.err) == (0, "")
    assert "SUCCEEDED" in result.out
    assert stub.operations().count("GetRun") == 4


def test_a_failed_run_fails_the_command_only_with_wait(submit, make_stub):
    stub = make_stub(outcome=lambda parameters, package: ("FAILED", "Trainer failed"))
    assert submit(stub).code == 0
    result = submit(stub, "--wait", "--json")
    assert result.code == 1
    assert result.json["state"] == "FAILED"
    assert "the run failed: Trainer failed" in result.err


def test_a_cancelled_run_ends_the_waiting(submit, make_stub):
    assert submit(make_stub(outcome=lambda *_: "CANCELED"), "--wait").code == 1


def test_a_server_that_is_away_for_a_while_is_waited_for(submit, make_stub, naps):
    seen = []

    def fault(number, operation):
        if operation == "GetRun":
            seen.append(number)
            return 503 if len(seen) <= 2 else None
        return None

    stub = make_stub(fault=fault, polls=0)
    assert submit(stub, "--wait").code == 0
    assert naps == [1.0, 2.0]
    assert stub.operations().count("GetRun") == 3


def test_a_lost_connection_while_polling_is_tried_again(submit, make_stub, naps):
    seen = []

    def fault(number, operation):
        if operation == "GetRun":
            seen.append(number)
            return "drop" if len(seen) <= 5 else None
        return None

    assert submit(make_stub(fault=fault, polls=0), "--wait").code == 0
    assert naps != []


def test_a_server_that_stays_away_is_one_clear_error(submit, make_stub, naps):
    stub = make_stub(fault=lambda n, operation: 503 if operation == "GetRun" else None)
    result = submit(stub, "--wait")
    assert result.code == 1
    assert "is not able to answer (503)" in result.err
    assert stub.operations().count("GetRun") == 10
    assert len(naps) == 9
    assert max(naps) == 60.0


@pytest.mark.parametrize("status", [400, 401, 403, 404])
@pytest.mark.parametrize("operation", ["GetHealthz", "CreateRun", "GetRun", "ListPipelines"])
def test_a_refusal_is_not_tried_again(submit, make_stub, naps, status, operation):
    stub = make_stub(fault=lambda n, seen: status if seen == operation else None)
    result = submit(stub, "--wait")
    assert result.code == 2
    assert f"({status})" in result.err
    assert result.err.count("\n") == 1
    assert stub.operations()[-1] == operation
    assert stub.operations().count(operation) == 1
    assert naps == []


def test_a_run_is_never_created_twice_by_one_call(submit, make_stub, naps):
    stub = make_stub(fault=lambda n, operation: "lose" if operation == "CreateRun" else None)
    assert submit(stub).code == 1
    assert len(stub.runs) == 1


def test_a_version_whose_answer_was_lost_is_found_again(submit, make_stub, naps):
    stub = make_stub(fault=lambda n, name: "lose" if name == "UploadPipelineVersion" else None)
    assert submit(stub).code == 0
    assert len(stub.versions) == 1


def test_a_server_that_is_not_there(submit, make_stub, naps, tessera, spec_file, conf_file):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    words = ["--conf", conf_file(url), "--run-date", "2024-06-30"]
    result = tessera("submit", spec_file(), *words)
    assert result.code == 1
    assert url in result.err
    assert "cannot be reached" in result.err
    assert result.err.count("\n") == 1
    assert naps == [1.0, 2.0]


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("", "give --host URL"),
        ("kubeflow.example.org", "expected http:// or https://"),
        ("https://me:word@kubeflow.example.org", "holds a password"),
    ],
)
def test_a_wrong_address_is_refused(tessera, spec_file, conf_file, host, says):
    words = ["--conf", conf_file(host), "--run-date", "2024-06-30"]
    result = tessera("submit", spec_file(), *words)
    assert result.code == 2
    assert says in result.err
    assert "word@" not in result.err


def test_the_address_is_of_the_option_else_the_configuration_else_the_environment(
    tessera, spec_file, conf_file, make_stub, monkeypatch
):
    first, second, third = (make_stub() for _ in range(3))
    monkeypatch.setenv("KFP_HOST", third.url)
    words = ["submit", spec_file(), "--run-date", "2024-06-30", "--conf"]
    assert tessera(*words, conf_file(second.url), "--host", first.url + "/").code == 0
    assert tessera(*words, conf_file(second.url)).code == 0
    assert tessera(*words, conf_file("")).code == 0
    assert [len(stub.runs) for stub in (first, second, third)] == [1, 1, 1]


def test_a_namespace_is_used_everywhere(submit, make_stub):
    stub = make_stub(multi_user=True)
    assert submit(stub, namespace="team").code == 0
    assert [e["namespace"] for e in stub.experiments.values()] == ["team"]
    assert [e["namespace"] for e in stub.pipelines.values()] == ["team"]


def test_a_server_with_many_users_needs_a_namespace(submit, make_stub):
    result = submit(make_stub(multi_user=True))
    assert result.code == 2
    assert "kubeflow.namespace is not set" in result.err


def test_in_a_pod_its_own_namespace_is_the_one(submit, make_stub, monkeypatch, tmp_path):
    """A notebook, or the CronJob's pod: runs belong where the caller is."""
    (tmp_path / "namespace").write_text("team-of-the-pod\n")
    monkeypatch.setattr(connection, "POD_NAMESPACE", tmp_path / "namespace")
    stub = make_stub(multi_user=True)
    assert submit(stub).code == 0
    assert [e["namespace"] for e in stub.experiments.values()] == ["team-of-the-pod"]
    named = make_stub(multi_user=True)
    assert submit(named, namespace="other").code == 0
    assert [e["namespace"] for e in named.experiments.values()] == ["other"]


def test_the_artifact_root_is_sent_only_where_it_is_configured(submit, make_stub):
    stub = make_stub(multi_user=True, version="2.17.0")
    assert submit(stub, namespace="team").code == 0
    (run,) = stub.runs.values()
    assert "pipeline_root" not in run["runtime_config"]
    refused = submit(stub, namespace="team", pipeline_root="s3://own/root")
    assert refused.code == 2
    assert "leave kubeflow.pipeline_root empty" in refused.err


@pytest.mark.parametrize("state", ["RUNNING", "SUCCEEDED", "FAILED"])
def test_once_a_day_is_one_run_unless_it_failed(submit, make_stub, state):
    stub = make_stub(outcome=lambda *_: state, polls=0 if state != "RUNNING" else 10_000)
    first = submit(stub, "--once", "--json")
    for run in stub.runs.values():
        run["state"] = state
    again = submit(stub, "--once", "--json")
    assert first.json["started"]
    assert again.json["started"] == (state == "FAILED")
    assert len(stub.runs) == (2 if state == "FAILED" else 1)
    # Another day, and other parameters, are another run.
    assert submit(stub, "--once", "--json", day="2024-07-01").json["started"]
    assert submit(stub, "--once", "--json", "--data-root", "/d").json["started"]


@pytest.mark.parametrize("status", [None, 401, 400])
def test_the_token_is_sent_and_never_shown(submit, make_stub, monkeypatch, caplog, status):
    monkeypatch.setenv("KFP_TOKEN", TOKEN)
    caplog.set_level(logging.DEBUG)
    stub = make_stub(fault=lambda n, name: status if name == "CreateRun" else None)
    result = submit(stub)
    assert all(seen.headers["Authorization"] == f"Bearer {TOKEN}" for seen in stub.requests)
    assert TOKEN not in result.out + result.err + caplog.text


def test_only_the_host_is_looked_up_and_nothing_else_is_printed(
    submit, stub, monkeypatch, tmp_path
):
    looked_up, real = [], socket.getaddrinfo

    def getaddrinfo(host, *arguments, **named):
        looked_up.append(host)
        return real(host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    result = submit(stub)
    assert set(looked_up) == {"127.0.0.1"}
    assert [line.split()[0] for line in result.out.splitlines()] == ["version", "run", "link"]
    assert not (tmp_path / "home").exists()


def test_a_page_instead_of_the_api_is_named(tessera, spec_file, conf_file):
    import threading

    from werkzeug.serving import make_server
    from werkzeug.wrappers import Response

    from tests.kubeflow_pipelines.client.kfp_stub import _Handler

    server = make_server("127.0.0.1", 0, Response("<html>log in</html>"), request_handler=_Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    conf = conf_file(f"http://127.0.0.1:{server.server_port}")
    result = tessera("submit", spec_file(), "--conf", conf, "--run-date", "2024-06-30")
    server.shutdown()
    assert result.code == 2
    assert "the answer is a page" in result.err


@pytest.mark.parametrize(
    ("version", "code"), [("2.13.0", 2), ("2.14.0", 0), ("2.17.1", 0), ("dev", 0)]
)
def test_a_server_that_would_refuse_the_exit_handler_is_named(make_stub, submit, version, code):
    stub = make_stub(version=version)
    result = submit(stub)
    assert result.code == code, result.err
    if code:
        assert "upgrade it to 2.14" in result.err
        assert not stub.runs
