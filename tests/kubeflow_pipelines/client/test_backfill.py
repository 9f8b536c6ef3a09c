"""`tessera backfill`: serial, only what is missing, and going on after a failure."""

import datetime as dt
import json

import pytest

from components.pusher.push import push
from kubeflow_pipelines.client.backfill import Attempt, backfill
from kubeflow_pipelines.client.errors import DayError
from kubeflow_pipelines.client.records import RunState
from tests.components.bundle_fixtures import make_request

DAYS = ["2024-06-01", "2024-06-02", "2024-06-03"]


@pytest.fixture
def fill(tessera, spec_file, conf_file, naps):
    def call(stub, *more, file=True, first=DAYS[0], last=DAYS[-1], json_=True):
        files = [spec_file()] if file else []
        words = ["--conf", conf_file(stub.url), "--from", first, "--to", last]
        return tessera("backfill", *files, *words, *(["--json"] if json_ else []), *more)

    return call


def breaks(*days, message="Trainer failed"):
    def outcome(parameters, package):
        return ("FAILED", message) if parameters["run_date"] in days else "SUCCEEDED"

    return outcome


def outcomes(result):
    return {row["run_date"]: row["outcome"] for row in result.json["days"]}


def started(stub):
    return [
        seen.body["runtime_config"]["parameters"]["run_date"]
        for seen in stub.requests
        if seen.operation == "CreateRun"
    ]


def test_three_days_with_the_middle_one_broken_and_the_call_again(fill, make_stub):
    stub = make_stub(outcome=breaks(DAYS[1]))
    result = fill(stub)
    assert result.code == 1
    assert outcomes(result) == dict(zip(DAYS, ["done", "failed", "done"], strict=True))
    assert result.json["missing"] == [DAYS[1]]
    assert started(stub) == DAYS
    assert "2024-06-02: failed: Trainer failed" in result.err

    stub.outcome = breaks()
    again = fill(stub)
    assert again.code == 0
    assert outcomes(again) == dict(zip(DAYS, ["skipped", "done", "skipped"], strict=True))
    assert started(stub) == [*DAYS, DAYS[1]]

    third = fill(stub)
    assert set(outcomes(third).values()) == {"skipped"}
    assert len(stub.runs) == 4


def test_one_run_at_a_time_the_earliest_first(fill, make_stub):
    under_way = []

    def outcome(parameters, package):
        under_way.append(sum(run["state"] not in ("SUCCEEDED", "FAILED") for run in all_runs()))
        return "SUCCEEDED"

    stub = make_stub(outcome=outcome, polls=2)

    def all_runs():
        return stub.runs.values()

    assert fill(stub).code == 0
    assert under_way == [1, 1, 1]
    assert started(stub) == DAYS


def test_the_table_names_every_day_and_its_reason(fill, make_stub):
    result = fill(make_stub(outcome=breaks(DAYS[2])), json_=False)
    assert result.code == 1
    for day in DAYS:
        assert day in result.out
    assert "Trainer failed" in result.out


def test_fail_fast_leaves_the_later_days(fill, make_stub):
    stub = make_stub(outcome=breaks(DAYS[0]))
    result = fill(stub, "--fail-fast")
    assert result.code == 1
    assert list(outcomes(result).values()) == ["failed", "not tried", "not tried"]
    assert result.json["missing"] == DAYS
    assert started(stub) == DAYS[:1]


def test_again_runs_what_is_done(fill, stub):
    fill(stub)
    assert fill(stub, "--again").code == 0
    assert started(stub) == DAYS * 2


def test_a_published_day_is_skipped(fill, stub, tmp_path):
    push(make_request(tmp_path, run_date=DAYS[1]), blessed=True)
    place = ("--serving-root", tmp_path / "serving", "--model-name", "demo")
    result = fill(stub, *place)
    assert result.code == 0
    rows = {row["run_date"]: row for row in result.json["days"]}
    assert rows[DAYS[1]]["outcome"] == "skipped"
    assert rows[DAYS[1]]["version"] == 1
    assert started(stub) == [DAYS[0], DAYS[2]]
    # What a training of the older day may come to is said before it is paid for.
    assert f"{DAYS[0]}: {DAYS[1]} is published already" in result.err
    # The runs succeeded, and yet nothing of these days is there: it is said.
    assert "allow_older_span" in rows[DAYS[0]]["note"]
    again = fill(stub, *place)
    assert set(outcomes(again).values()) == {"skipped"}
    assert "allow_older_span" in again.json["days"][0]["note"]


def test_a_version_that_a_run_publishes_is_told(fill, make_stub, tmp_path):
    def outcome(parameters, package):
        day = parameters["run_date"]
        push(make_request(tmp_path, day, run_date=day), blessed=True)
        return "SUCCEEDED"

    place = ("--serving-root", tmp_path / "serving", "--model-name", "demo")
    result = fill(make_stub(outcome=outcome), *place)
    assert [row["version"] for row in result.json["days"]] == [1, 2, 3]
    assert {row["note"] for row in result.json["days"]} == {""}


@pytest.fixture
def known(fill, make_stub):
    """A server that knows the pipeline and has run the first day."""
    stub = make_stub()
    assert fill(stub, last=DAYS[0]).code == 0
    (pipeline_id,) = stub.pipelines
    return stub, pipeline_id


def test_a_run_that_is_under_way_is_waited_for(fill, known):
    stub, pipeline_id = known
    run = stub.add_run(pipeline_id, DAYS[1], "RUNNING")
    result = fill(stub)
    assert result.code == 0
    assert started(stub) == [DAYS[0], DAYS[2]]
    assert result.json["days"][1]["run_id"] == run["run_id"]
    assert result.json["days"][1]["outcome"] == "done"


def test_a_run_under_way_that_fails_is_the_days_failure(fill, known):
    stub, pipeline_id = known
    stub.add_run(pipeline_id, DAYS[1], "PENDING")
    stub.outcome = breaks(DAYS[1])
    result = fill(stub)
    assert result.code == 1
    assert outcomes(result)[DAYS[1]] == "failed"
    assert started(stub) == [DAYS[0], DAYS[2]]


def test_the_newest_run_decides(fill, known):
    stub, pipeline_id = known
    stub.add_run(pipeline_id, DAYS[1], "FAILED")
    stub.add_run(pipeline_id, DAYS[1], "SUCCEEDED")
    stub.add_run(pipeline_id, DAYS[2], "SUCCEEDED")
    stub.add_run(pipeline_id, DAYS[2], "CANCELED")
    assert list(outcomes(fill(stub)).values()) == ["skipped", "skipped", "done"]


def test_runs_of_a_schedule_count_for_the_day_they_cover(fill, known):
    stub, pipeline_id = known
    stub.add_run(pipeline_id, "2024-06-03-1d", "SUCCEEDED")
    macro = "[[CurrentTime.2006-01-02]]-1d"
    stub.add_run(pipeline_id, macro, "SUCCEEDED", created_at="2024-06-04T03:00:00Z")
    assert set(outcomes(fill(stub)).values()) == {"skipped"}


def test_runs_of_other_pipelines_and_other_models_do_not_count(fill, known):
    stub, pipeline_id = known
    stub.add_run("another", DAYS[1], "SUCCEEDED")
    other = {"parameters": {"run_date": DAYS[2], "model_name": "other"}}
    stub.add_run(pipeline_id, DAYS[2], "SUCCEEDED", runtime_config=other)
    assert list(outcomes(fill(stub)).values()) == ["skipped", "done", "done"]
    same = {"parameters": {"run_date": DAYS[2], "model_name": "tiny"}}
    run = stub.add_run(pipeline_id, DAYS[2], "FAILED", runtime_config=same)
    assert outcomes(fill(stub))[DAYS[2]] == "done"
    assert run["state"] == "FAILED"


def test_another_run_of_the_pipeline_is_waited_for_first(fill, known):
    stub, pipeline_id = known
    nightly = stub.add_run(pipeline_id, "2024-06-30", "RUNNING")
    result = fill(stub, last=DAYS[1])
    assert result.code == 0
    assert "waiting for another run" in result.err
    order = [(seen.operation, seen.path.rsplit("/")[-1]) for seen in stub.requests]
    assert order.index(("GetRun", nightly["run_id"])) < order.index(
        ("CreateRun", "runs"), order.index(("CreateRun", "runs")) + 1
    )


def test_many_runs_are_read_page_by_page(fill, known):
    stub, pipeline_id = known
    stub.add_run(pipeline_id, DAYS[1], "SUCCEEDED")
    for _ in range(230):
        stub.add_run(pipeline_id, "2023-01-01", "SUCCEEDED")
    assert outcomes(fill(stub, last=DAYS[1])) == {DAYS[0]: "skipped", DAYS[1]: "skipped"}


def test_without_a_file_the_newest_version_runs(fill, known):
    stub, _ = known
    assert fill(stub, file=False).code == 0
    assert started(stub) == DAYS


def test_without_a_file_and_a_version_the_mend_is_named(fill, stub):
    result = fill(stub, file=False)
    assert result.code == 2
    assert "tessera backfill FILE" in result.err


def test_a_file_without_days_is_refused(tessera, spec_file, conf_file, stub):
    def single(spec):
        spec["root"]["inputDefinitions"]["parameters"]["run_date"]["defaultValue"] = ""

    words = ["--conf", conf_file(stub.url), "--from", DAYS[0], "--to", DAYS[1]]
    result = tessera("backfill", spec_file(change=single), *words)
    assert result.code == 2
    assert "data.layout: single" in result.err


def test_days_in_the_wrong_order_are_refused_before_any_request(fill, stub):
    result = fill(stub, first=DAYS[1], last=DAYS[0])
    assert result.code == 2
    assert "earlier day first" in result.err
    assert stub.requests == []


def test_a_lost_answer_to_a_start_does_not_start_twice(fill, make_stub):
    lost = []

    def fault(number, operation):
        if operation == "CreateRun" and len(lost) < 2:
            lost.append(number)
            return "lose" if len(lost) == 1 else "drop"
        return None

    stub = make_stub(fault=fault)
    assert fill(stub).code == 0
    assert [r["runtime_config"]["parameters"]["run_date"] for r in stub.runs.values()] == DAYS


def test_a_run_that_was_deleted_fails_its_day_only(fill, make_stub):
    def fault(number, operation):
        gone = [run for run in stub.runs.values() if run["display_name"].endswith(DAYS[1])]
        if operation == "GetRun" and gone:
            del stub.runs[gone[0]["run_id"]]

    stub = make_stub(fault=fault)
    result = fill(stub)
    assert result.code == 1
    assert list(outcomes(result).values()) == ["done", "failed", "done"]


def test_another_run_that_is_deleted_is_not_waited_for(fill, known):
    stub, pipeline_id = known
    other = stub.add_run(pipeline_id, "2024-06-30", "RUNNING")

    def fault(number, operation):
        if operation == "GetRun":
            stub.runs.pop(other["run_id"], None)

    stub.fault = fault
    assert list(outcomes(fill(stub)).values()) == ["skipped", "done", "done"]


@pytest.mark.parametrize(("status", "code"), [(401, 2), (503, 1)])
def test_a_server_that_is_lost_in_between_leaves_the_table(fill, make_stub, status, code):
    stub = make_stub(fault=lambda n, name: status if len(stub.runs) == 2 else None)
    result = fill(stub)
    assert result.code == code
    assert outcomes(result) == {DAYS[0]: "done"}
    assert result.json["missing"] == DAYS[1:]
    assert f"({status})" in result.err


class Recorder:
    """Another backend: what `backfill` asks of one is no more than this."""

    def __init__(self, fails=(), lost=()):
        self.fails, self.lost, self.calls = fails, lost, []

    def newest(self, day):
        return None

    def start(self, day):
        self.calls.append(day)
        if day in self.lost:
            raise DayError("its machine is gone")
        state = RunState.FAILED if day in self.fails else RunState.SUCCEEDED
        return Attempt(f"run-{day}", state)

    def wait(self, attempt):
        return attempt


def test_any_backend_can_be_driven():
    days = [dt.date.fromisoformat(day) for day in DAYS]
    backend = Recorder(fails=days[:1], lost=days[1:2])
    told = []
    results = backfill(backend, days, lambda: {}, report=told.append)
    assert [result.outcome for result in results] == ["failed", "failed", "done"]
    assert [result.note for result in results][1] == "its machine is gone"
    assert told == results
    assert backend.calls == days


def test_what_is_published_by_an_earlier_day_is_seen():
    days = [dt.date.fromisoformat(day) for day in DAYS]
    known = {}

    class Publishing(Recorder):
        def start(self, day):
            known.update({day: 1, days[-1]: 2})
            return super().start(day)

    backend = Publishing()
    assert [r.outcome for r in backfill(backend, days, lambda: known)] == [
        "done",
        "done",
        "skipped",
    ]
    assert json.dumps([str(day) for day in backend.calls]) == json.dumps(DAYS[:2])
