"""`tessera schedule`: one schedule per pipeline, replaced without a gap or a double."""

import datetime as dt

import pytest

from core.errors import ConfigError
from input_tables.run_date import parse_run_date
from kubeflow_pipelines.client.backend import fills_in_day
from tests.markers import nightly

MACRO = "[[CurrentTime.2006-01-02]]-1d"


@pytest.fixture
def schedule(tessera, spec_file, conf_file, naps):
    def call(stub, *more, file=True, **kubeflow):
        files = [] if file is None else [spec_file() if file is True else file]
        return tessera("schedule", *files, "--conf", conf_file(stub.url, **kubeflow), *more)

    return call


@pytest.fixture
def other_file(spec_file):
    return spec_file("other.yaml", lambda spec: spec.update(sdkVersion="tfx-1.16.1"))


def only(stub):
    (entry,) = stub.recurring.values()
    return entry


def test_a_schedule_is_made(schedule, stub):
    result = schedule(stub, "--model-name", "m", pipeline_root="s3://b", service_account="runner")
    assert (result.code, result.err) == (0, "")
    entry = only(stub)
    assert entry["display_name"] == "tiny"
    assert entry["status"] == "ENABLED"
    assert entry["max_concurrency"] == "1"
    assert entry["no_catchup"] is True
    assert entry["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert entry["runtime_config"]["parameters"] == {"run_date": MACRO, "model_name": "m"}
    assert entry["runtime_config"]["pipeline_root"] == "s3://b"
    assert entry["service_account"] == "runner"
    assert "created" in result.out
    assert MACRO in result.out


def test_lag_and_cron_are_of_the_configuration_or_the_caller(schedule, stub):
    assert schedule(stub, "--cron", "0 30 4 * * *", schedule={"lag_days": 2}).code == 0
    entry = only(stub)
    assert entry["trigger"]["cron_schedule"]["cron"] == "0 30 4 * * *"
    assert entry["runtime_config"]["parameters"]["run_date"].endswith("]]-2d")


def test_the_same_again_changes_nothing(schedule, stub):
    schedule(stub)
    before = dict(only(stub))
    result = schedule(stub)
    assert "unchanged" in result.out
    assert only(stub) == before
    changing = {"CreateRecurringRun", "EnableRecurringRun", "DisableRecurringRun"}
    assert [name for name in stub.operations() if name in changing] == ["CreateRecurringRun"]


@pytest.mark.parametrize("what", ["file", "cron", "parameter"])
def test_a_change_replaces_it(schedule, stub, other_file, what):
    schedule(stub)
    old = only(stub)["recurring_run_id"]
    more = {"cron": ["--cron", "0 0 5 * * *"], "parameter": ["--data-root", "/d"]}.get(what, [])
    result = schedule(stub, *more, "--json", file=other_file if what == "file" else True)
    assert result.json["change"] == "replaced"
    assert only(stub)["recurring_run_id"] == result.json["id"] != old
    assert only(stub)["status"] == "ENABLED"
    assert max(stub.enabled_history) == 1


def test_a_paused_schedule_stays_paused_when_it_is_replaced(schedule, stub, other_file):
    schedule(stub)
    assert "paused" in schedule(stub, "--pause", file=None).out
    result = schedule(stub, file=other_file)
    assert "replaced" in result.out
    assert "--resume" in result.out
    assert only(stub)["status"] == "DISABLED"
    assert "unchanged" in schedule(stub, file=other_file).out
    assert "enabled" in schedule(stub, "--resume", file=None).out
    assert only(stub)["status"] == "ENABLED"


def test_pause_resume_show_and_delete(schedule, stub):
    schedule(stub)
    assert "0 0 3 * * * (UTC), enabled" in schedule(stub, "--show", file=None).out
    assert schedule(stub, "--pause").out == "schedule tiny: paused\n"
    assert schedule(stub, "--pause").out == "schedule tiny: paused already\n"
    assert schedule(stub, "--show", "--json").json["schedules"][0]["enabled"] is False
    assert schedule(stub, "--resume").out == "schedule tiny: enabled\n"
    assert schedule(stub, "--resume", "--json").json["done"] == "enabled already"
    assert schedule(stub, "--delete").out == "schedule tiny: deleted\n"
    assert stub.recurring == {}
    assert schedule(stub, "--show").out == "schedule tiny: none\n"


@pytest.mark.parametrize("action", ["--pause", "--resume", "--delete"])
def test_what_is_not_there_is_said(schedule, stub, action):
    result = schedule(stub, action)
    assert result.code == 2
    assert "no schedule tiny" in result.err


def test_one_action_at_a_time(schedule, stub):
    assert schedule(stub, "--pause", "--resume").code == 2
    assert schedule(stub, file=None).code == 2
    assert stub.requests == []


@pytest.mark.parametrize("cron", ["0 3 * * *", "0 0 25 * * *", "0 0 3 30 2 *", "daily"])
def test_a_bad_cron_is_refused_before_any_request(schedule, stub, cron):
    result = schedule(stub, "--cron", cron)
    assert result.code == 2
    assert f"cron '{cron}'" in result.err
    assert stub.requests == []


@pytest.mark.parametrize("version", ["2.14.4", "2.15.2"])
def test_a_server_that_does_not_fill_in_the_day_is_refused(schedule, make_stub, version):
    stub = make_stub(version=version)
    result = schedule(stub)
    assert result.code == 2
    assert version in result.err
    assert "--cron-job" in result.err
    assert stub.recurring == {}


def needs_a_day(parameters, package):
    """As RetrievalExampleGen: a macro that nobody has replaced is an error."""
    try:
        parse_run_date(parameters["run_date"])
    except ConfigError as error:
        return "FAILED", str(error)
    return "SUCCEEDED"


@pytest.mark.parametrize("version", ["2.16.0", "2.17.0"])
def test_scheduled_runs_get_the_day_before_and_are_found_by_it(
    schedule, make_stub, tessera, conf_file, spec_file, version
):
    stub = make_stub(version=version, outcome=needs_a_day, polls=0)
    assert schedule(stub).code == 0
    stub.fire(dt.datetime(2024, 7, 2, 3, 0, 5))
    stub.fire(dt.datetime(2024, 7, 4, 3, 0, 5))
    result = tessera(
        "backfill", spec_file(), "--conf", conf_file(stub.url), "--from", "2024-07-01", "--to",
        "2024-07-03", "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    outcomes = {row["run_date"]: row["outcome"] for row in result.json["days"]}
    # The day that the schedule missed is made up for, after its runs have ended.
    assert outcomes == {"2024-07-01": "done", "2024-07-02": "done", "2024-07-03": "skipped"}
    assert [run["state"] for run in stub.runs.values()] == ["SUCCEEDED"] * 3
    made = [seen for seen in stub.requests if seen.operation == "CreateRun"]
    assert [s.body["runtime_config"]["parameters"]["run_date"] for s in made] == ["2024-07-02"]


@pytest.mark.parametrize("macro", ["[[CurrentTime.2006-01-02]]-1d", "[[ScheduledTime.2006-01-02]]"])
def test_a_server_before_2_16_would_fill_in_nothing(schedule, make_stub, macro):
    stub = make_stub(version=None, fills_in=False, outcome=needs_a_day, polls=0)
    assert "--cron-job" in schedule(stub).err
    only(stub)["runtime_config"]["parameters"]["run_date"] = macro
    stub.fire(dt.datetime(2024, 7, 2, 3))
    (run,) = stub.runs.values()
    stub._GetRun({"run_id": run["run_id"]})
    assert (run["state"], macro in run["error"]["message"]) == ("FAILED", True)


def test_the_scheduled_time_is_filled_in_by_no_version(schedule, make_stub):
    stub = make_stub(version="2.17.0", outcome=needs_a_day, polls=0)
    schedule(stub)
    only(stub)["runtime_config"]["parameters"]["run_date"] = "[[ScheduledTime.2006-01-02]]"
    stub.fire(dt.datetime(2024, 7, 2, 3))
    (run,) = stub.runs.values()
    assert stub._GetRun({"run_id": run["run_id"]})["state"] == "FAILED"


@pytest.mark.parametrize("version", [None, "unknown", "master"])
def test_a_server_that_does_not_tell_its_version_is_warned_of(schedule, make_stub, version):
    stub = make_stub(version=version)
    result = schedule(stub)
    assert result.code == 0
    assert "--cron-job" in result.err
    assert only(stub)["status"] == "ENABLED"


@pytest.mark.parametrize(
    ("version", "fills"),
    [
        ("2.16.0", True),
        ("v2.17.1", True),
        ("3.0", True),
        ("2.16.0-rc.1", True),
        ("2.9.0", False),
        ("2.15.0", False),
        ("", None),
        ("dev", None),
    ],
)
def test_from_which_version_on_the_day_is_filled_in(version, fills):
    assert fills_in_day(version) is fills


def test_tables_without_days_get_no_macro(schedule, make_stub, spec_file):
    def single(spec):
        spec["root"]["inputDefinitions"]["parameters"]["run_date"]["defaultValue"] = ""

    stub = make_stub(version="2.14.1")
    assert schedule(stub, file=spec_file(change=single)).code == 0
    assert only(stub)["runtime_config"].get("parameters", {}) == {}


#: Requests of a replacement: state, list and upload, experiment, list, create, disable, enable,
#: delete; more than any of these sequences has.
MANY = 16


def replacing(schedule, make_stub, other_file, fault):
    """A server whose schedule is being replaced while `fault` happens."""
    stub = make_stub()
    assert schedule(stub).code == 0
    first = len(stub.requests)
    stub.fault = lambda number, operation: fault(number - first)
    result = schedule(stub, file=other_file)
    stub.fault = None
    reached = len(stub.requests) - first
    return stub, result, reached


def check_finished(schedule, stub, other_file):
    """The next call ends with exactly the new schedule."""
    assert schedule(stub, file=other_file).code == 0
    newest = list(stub.versions)[-1]
    assert only(stub)["pipeline_version_reference"]["pipeline_version_id"] == newest
    assert only(stub)["status"] == "ENABLED"
    assert max(stub.enabled_history) == 1


@pytest.mark.parametrize("n", range(MANY))
@pytest.mark.parametrize("how", [400, "lose", *nightly("drop")])
def test_one_request_fails_and_one_schedule_runs(schedule, make_stub, other_file, n, how):
    stub, result, reached = replacing(
        schedule, make_stub, other_file, lambda number: how if number == n else None
    )
    assert len(stub.enabled()) == 1
    assert max(stub.enabled_history) == 1
    assert result.code in (0, 1, 2)
    if result.code:
        assert result.err.count("\n") == 1
    elif reached <= n:
        assert len(stub.recurring) == 1
    check_finished(schedule, stub, other_file)


@pytest.mark.parametrize("n", range(MANY))
@pytest.mark.parametrize("how", [*nightly(503, 400), "drop"])
def test_the_server_goes_away_for_good_and_the_next_call_finishes(
    schedule, make_stub, other_file, n, how
):
    stub, _, _ = replacing(
        schedule, make_stub, other_file, lambda number: how if number >= n else None
    )
    assert len(stub.recurring) >= 1
    assert max(stub.enabled_history) == 1
    check_finished(schedule, stub, other_file)


@pytest.mark.parametrize("n", range(MANY))
def test_a_paused_schedule_is_never_started_by_a_failure(schedule, make_stub, other_file, n):
    stub = make_stub()
    schedule(stub)
    schedule(stub, "--pause")
    first = len(stub.requests)
    stub.fault = lambda number, operation: 503 if number - first >= n else None
    schedule(stub, file=other_file)
    stub.fault = None
    assert stub.enabled() == []
    schedule(stub, file=other_file)
    assert only(stub)["status"] == "DISABLED"


def test_an_interrupted_replacement_is_told(schedule, make_stub, other_file):
    stub, result, _ = replacing(
        schedule, make_stub, other_file, lambda number: 503 if number >= 9 else None
    )
    assert result.code == 1
    assert len(stub.recurring) == 2
    assert "finish it" in schedule(stub, "--show").err
    if not stub.enabled():
        assert "finish it" in schedule(stub, "--resume").err


def test_leftovers_of_a_replacement_do_not_undo_a_pause(schedule, make_stub, other_file):
    stub = make_stub()
    schedule(stub)
    stub.fault = lambda n, operation: 400 if operation == "DeleteRecurringRun" else None
    assert schedule(stub, file=other_file).code == 2
    stub.fault = None
    assert len(stub.recurring) == 2
    schedule(stub, "--pause")
    assert "unchanged" in schedule(stub, file=other_file).out
    assert only(stub)["status"] == "DISABLED"
