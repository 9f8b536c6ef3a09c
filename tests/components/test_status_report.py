"""How a run on Kubeflow ended: logged, kept, posted; trouble with that never fails the run."""

import http.server
import json
import logging
import threading
from dataclasses import replace

import pytest

from components.bundle.reports import write_report_page
from components.bundle.versions import list_versions
from components.pusher.push import push
from components.status_report.executor import (
    WEBHOOK_VARIABLE,
    Executor,
    published,
    status_report,
)
from tests.components.bundle_fixtures import make_request
from tests.object_store import s3, s3_server  # noqa: F401

FAILED = {
    "state": "FAILED",
    "pipelineJobResourceName": "runs/7",
    "error": {"code": 9, "message": "Trainer: exit code 1"},
}


def report(status, status_dir="", **more):
    properties = {
        "final_status": json.dumps(status),
        "run_date": "2026-01-02",
        "model_name": "tessera",
        "status_dir": status_dir,
    }
    Executor().Do({}, {}, properties | more)


@pytest.fixture
def webhook():
    """A server that keeps what it is posted; its answer's status can be chosen."""
    posted, answer = [], [200]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answer[0])
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook/secret-part", posted, answer
    server.shutdown()


@pytest.mark.fault(73)
def test_a_failed_run_is_an_error_in_the_log_with_its_reason(caplog):
    with caplog.at_level(logging.INFO, "tessera"):
        report(FAILED)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert json.loads(record.getMessage().partition(": ")[2]) == {
        "model": "tessera",
        "run_date": "2026-01-02",
        "run": "runs/7",
        "state": "FAILED",
        "error": "Trainer: exit code 1",
    }


@pytest.mark.parametrize("state", ["COMPLETE", "SUCCEEDED"])
def test_a_finished_run_is_information(caplog, state):
    with caplog.at_level(logging.INFO, "tessera"):
        report({"state": state})
    assert caplog.records[0].levelno == logging.INFO


def test_both_spellings_of_the_backend_are_read():
    spelled = {"state": "FAILED", "pipeline_job_resource_name": "runs/8"}
    assert status_report(json.dumps(spelled), "", "")["run"] == "runs/8"
    assert status_report("", "", "")["state"] == "UNKNOWN"


def test_it_is_kept_in_a_folder_that_need_not_exist(tmp_path):
    report(FAILED, str(tmp_path / "a" / "status"))
    report({"state": "COMPLETE"}, str(tmp_path / "a" / "status"))
    (path,) = (tmp_path / "a" / "status").iterdir()
    assert path.name == "tessera-2026-01-02.json"
    assert json.loads(path.read_text())["state"] == "COMPLETE"


def test_it_is_posted_where_a_secret_says(webhook, monkeypatch):
    address, posted, _ = webhook
    monkeypatch.setenv(WEBHOOK_VARIABLE, address)
    report(FAILED)
    assert [entry["state"] for entry in posted] == ["FAILED"]


def test_a_scheduled_run_is_reported_under_the_day_it_is_of(tmp_path):
    report(FAILED, str(tmp_path), run_date="2026-01-03-1d")
    assert [path.name for path in tmp_path.iterdir()] == ["tessera-2026-01-02.json"]
    assert status_report("{}", "no day", "")["run_date"] == "no day"


def test_without_credentials_it_is_posted_and_the_storage_only_warned_of(
    s3,  # noqa: F811
    webhook,
    monkeypatch,
    caplog,
):
    address, posted, _ = webhook
    monkeypatch.setenv(WEBHOOK_VARIABLE, address)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    report(FAILED, s3.fresh())
    assert len(posted) == 1
    assert "could not be written" in caplog.text


def test_it_is_kept_in_a_bucket(s3):  # noqa: F811
    url = s3.fresh()
    report(FAILED, url)
    assert list(s3.keys(url)) == ["tessera-2026-01-02.json"]


@pytest.mark.parametrize("trouble", ["refused", "no server", "no address"])
def test_trouble_only_warns_and_never_tells_the_address(webhook, monkeypatch, caplog, trouble):
    address, _, answer = webhook
    answer[0] = 500
    wrong = {"refused": address, "no server": "http://127.0.0.1:1/secret-part", "no address": "x"}
    monkeypatch.setenv(WEBHOOK_VARIABLE, wrong[trouble])
    report(FAILED, status_dir="nosuch://place")
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert "secret-part" not in " ".join(warnings)


@pytest.fixture
def serving(tmp_path):
    """One version of 2026-01-02, with a report beside it."""
    request = make_request(tmp_path, span=20455)
    push(request, blessed=True)
    return tmp_path / "serving"


@pytest.mark.parametrize("with_page", [True, False])
def test_a_run_that_published_leads_to_its_version_and_report(serving, tmp_path, with_page):
    expected = {"version": 1}
    if with_page:
        expected["report"] = write_report_page(str(serving), "demo", 1, "<html>")
        assert expected["report"] == f"{serving}/demo/reports/1.html"
    given = {"serving_dir": str(serving), "model_name": "demo"}
    report({"state": "COMPLETE"}, str(tmp_path / "status"), **given)
    status = json.loads((tmp_path / "status/demo-2026-01-02.json").read_text())
    found = {key: status[key] for key in ("version", "report") if key in status}
    assert found == expected
    # The report is beside the versions and is none.
    assert [bundle.version for bundle in list_versions(serving / "demo")] == [1]


def test_a_refresh_leads_to_the_version_of_its_own_day(serving, tmp_path):
    """A refresh keeps the span of the model that it refreshed, here 2026-01-02."""
    fields = {"span": 20455, "refreshed_from": 1, "model_version": 1}
    for content, day in (("two", "2026-01-05"), ("three", "2026-01-06")):
        push(make_request(tmp_path, content, config={"data": {"run_date": day}}, **fields), True)
    page = write_report_page(str(serving), "demo", 2, "<html>")
    assert published(str(serving), "demo", "2026-01-05", refresh=True) == {
        "version": 2,
        "report": page,
    }
    assert published(str(serving), "demo", "2026-01-06", refresh=True) == {"version": 3}
    assert published(str(serving), "demo", "2026-01-02", refresh=True) == {}
    assert published(str(serving), "demo", "2026-01-02") == {"version": 1}


def test_what_was_published_before_is_not_told_of_a_failed_run(serving, tmp_path):
    given = {"serving_dir": str(serving), "model_name": "demo"}
    report(FAILED, str(tmp_path / "status"), **given)
    assert "version" not in json.loads((tmp_path / "status/demo-2026-01-02.json").read_text())


def test_a_report_in_a_bucket(s3, tmp_path):  # noqa: F811
    url = s3.fresh()
    push(replace(make_request(tmp_path, span=20455), serving_dir=url), blessed=True)
    path = write_report_page(url, "demo", 1, "<html>")
    assert published(url, "demo", "2026-01-02") == {"version": 1, "report": path}
    assert published(url, "demo", "2026-01-03") == {}


def test_a_serving_folder_that_cannot_be_read_is_a_warning(tmp_path, caplog):
    (tmp_path / "serving/demo/1").mkdir(parents=True)
    (tmp_path / "serving/demo/pins.json").write_text("{")
    (tmp_path / "serving/demo/reports").write_text("a file where a folder ought to be")
    given = {"serving_dir": str(tmp_path / "serving" / "demo" / "reports"), "model_name": "demo"}
    report({"state": "COMPLETE"}, str(tmp_path / "status"), **given)
    assert (tmp_path / "status/demo-2026-01-02.json").exists()
