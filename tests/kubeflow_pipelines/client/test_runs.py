"""`tessera runs`: what ran, and what of it is published."""

import pytest

from components.pusher.push import push
from tests.components.bundle_fixtures import make_request


@pytest.fixture
def world(tessera, spec_file, conf_file, make_stub, naps, tmp_path):
    """A server with runs of three days, and a registry with a version of the second."""

    def outcome(parameters, package):
        failed = parameters["run_date"] == "2024-06-03"
        return ("FAILED", "no data") if failed else "SUCCEEDED"

    stub = make_stub(outcome=outcome, polls=0)
    push(make_request(tmp_path, run_date="2024-06-02"), blessed=True)
    conf = conf_file(stub.url)
    model = ["--model-name", "demo"]
    for day in ("2024-06-01", "2024-06-02", "2024-06-03"):
        tessera("submit", spec_file(), "--conf", conf, "--run-date", day, "--wait", *model)

    def call(*more):
        return tessera("runs", "--conf", conf, *more)

    call.stub, call.serving = stub, tmp_path / "serving"
    return call


def test_runs_are_listed_with_the_published_version(world):
    result = world("--serving-root", world.serving, "--json")
    assert result.code == 0
    rows = result.json["runs"]
    assert result.json["registry_readable"] is True
    assert [(r["run_date"], r["state"], r["version"]) for r in rows] == [
        ("2024-06-03", "FAILED", None),
        ("2024-06-02", "SUCCEEDED", 1),
        ("2024-06-01", "SUCCEEDED", None),
    ]
    assert rows[0]["reason"] == "no data"
    assert rows[0]["seconds"] > 0
    assert rows[0]["link"].startswith(world.stub.url)


def test_the_table(world):
    result = world("--serving-root", world.serving)
    lines = [line for line in result.out.splitlines() if "2024-06-0" in line]
    assert len(lines) == 3
    assert lines[1].split()[-1] == "1"
    assert lines[0].split()[-1] == list(world.stub.runs)[-1]


def test_a_registry_that_can_not_be_read_is_a_question_mark(world):
    result = world("--serving-root", "/nowhere/serving")
    assert result.code == 0
    assert result.out.count(" ?") == 3


def test_the_registry_is_the_one_that_the_runs_were_given(
    tessera, spec_file, conf_file, stub, tmp_path
):
    push(make_request(tmp_path, run_date="2024-06-02"), blessed=True)
    conf = conf_file(stub.url)
    place = ["--serving-root", tmp_path / "serving", "--model-name", "demo"]
    tessera("submit", spec_file(), "--conf", conf, "--run-date", "2024-06-02", *place)
    assert tessera("runs", "--conf", conf, "--json").json["runs"][0]["version"] == 1


def test_a_limit_and_a_day(world):
    assert [r["run_date"] for r in world("--limit", 1, "--json").json["runs"]] == ["2024-06-03"]
    rows = world("--run-date", "2024-06-01", "--json").json["runs"]
    assert [r["run_date"] for r in rows] == ["2024-06-01"]


def test_a_run_that_goes_on_has_no_duration(world):
    stub = world.stub
    stub.add_run(next(iter(stub.pipelines)), "2024-06-04", "RUNNING")
    newest = world("--json").json["runs"][0]
    assert (newest["state"], newest["seconds"]) == ("RUNNING", None)


def test_a_server_without_runs(tessera, conf_file, stub):
    result = tessera("runs", "--conf", conf_file(stub.url))
    assert (result.code, result.out) == (0, f"no runs of tiny on {stub.url}\n")
    assert stub.experiments == {}


def test_the_tasks_that_failed_are_named(world):
    run = list(world.stub.runs.values())[-1]
    run["run_details"] = {
        "task_details": [
            {"display_name": "Trainer", "state": "FAILED", "error": {"message": "loss is NaN"}},
            {"display_name": "Pusher", "state": "SKIPPED"},
        ]
    }
    assert world("--json").json["runs"][0]["reason"] == "no data; Trainer failed: loss is NaN"
