"""A compiled pipeline runs as on Kubeflow: artifacts only through it, retries, exit handler."""

import json
import multiprocessing
import os
import re
import shutil
import sys
from dataclasses import replace

import pytest

from core.errors import ConfigError, TesseraError
from core.lock import run_lock
from kubeflow_pipelines.replay.backend import BACKENDS
from kubeflow_pipelines.replay.platform import secrets_of
from kubeflow_pipelines.replay.run import RunFolders, run_compiled, run_spec
from kubeflow_pipelines.replay.state import read_runs
from tests.kubeflow_pipelines.replay.toy import toy_spec


@pytest.fixture
def told(tmp_path, monkeypatch):
    folder = tmp_path / "told"
    folder.mkdir()
    monkeypatch.setenv("TOY_STATE", str(folder))
    return folder


@pytest.fixture
def places(tmp_path):
    return RunFolders(work_dir=tmp_path / "w", object_store=tmp_path / "objects")


def run(places, pauses=None, said=None, **more):
    return run_spec(
        toy_spec(),
        {"run_date": "2026-01-02"},
        places,
        sleep=(pauses if pauses is not None else []).append,
        say=(said if said is not None else []).append,
        **more,
    )


def calls(told, task):
    path = told / f"{task}.calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def objects(places):
    """Path -> text of every object; the id of a task's own folder is left out, logs too."""
    root = places.object_store
    found = {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}
    return {_UUID.sub("", k): v for k, v in found.items() if "/executor-logs" not in k}


def base_of(record):
    return f"bucket/root/toy/{record.uuid}"


_UUID = re.compile(r"(?<=/)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/(?=made)")


def test_artifacts_travel_through_the_object_store_and_reach_later_tasks(places, told):
    record = run(places)
    assert (record.state, record.error) == ("SUCCEEDED", "")
    base = base_of(record)
    made = objects(places)
    assert made[f"{base}/Last/made/part/words.txt"] == "start 2026-01-02 end"
    # Inputs carry uri and metadata and, as on the open-source backend, an empty type.
    given = calls(told, "Last")[0]["inputs"]["artifacts"]["Second"]["artifacts"][0]
    assert _UUID.sub("", given["uri"]) == f"minio://{base}/Second/made"
    assert given["metadata"].items() >= {"attempt": 1, "word": "2026-01-02"}.items()
    assert given["type"] == {"instanceSchema": ""}
    assert "type" in calls(told, "Last")[0]["outputs"]["artifacts"]["made"]["artifacts"][0]


def test_nothing_of_a_pod_is_left_and_every_log_is(places, told):
    record = run(places)
    folder = places.runs_dir / record.run_id
    assert list((folder / "pods").iterdir()) == []
    assert sorted(path.name for path in (folder / "logs").iterdir()) == [
        "First-1.log", "Last-1.log", "Report-1.log", "Second-1.log",
    ]  # fmt: skip


@pytest.mark.fault(35)
def test_a_killed_attempt_is_tried_again_and_nothing_of_it_is_used(places, told):
    (told / "Second.1").write_text("kill")
    (told / "Second.2").write_text("fail")
    pauses, said = [], []
    record = run(places, pauses, said)
    assert (record.state, record.tasks["Second"].attempts) == ("SUCCEEDED", 3)
    # 2 s, then three times as long: the task's own policy.
    assert pauses == [2.0, 6.0]
    assert any("ended by SIGKILL" in line for line in said)
    names = {name.rsplit("/", 1)[1] for name in objects(places) if "/Second/" in name}
    assert names == {"attempt-3.txt", "words.txt"}


@pytest.mark.fault(73)
def test_a_task_that_keeps_failing_fails_the_run_and_the_exit_handler_hears_of_it(places, told):
    for attempt in (1, 2, 3):
        (told / f"Second.{attempt}").write_text("fail")
    record = run(places)
    assert record.state == "FAILED"
    assert "Second: exit code 1" in record.error
    assert "no luck" in record.error
    assert "ghp_" not in record.error  # what looks like a secret is masked
    assert calls(told, "Last") == []
    status = calls(told, "Report")[0]["inputs"]["parameterValues"]["final_status"]
    assert status["state"] == "FAILED"
    # As on the backend, which tells the state and leaves the error empty.
    assert status["error"] == {}
    assert not [name for name in objects(places) if "/Second/" in name]


def test_after_the_window_of_its_retries_a_task_is_not_tried_again(places, told):
    """Argo counts it from the start of the first try."""
    spec = toy_spec()
    task = spec["components"]["tfx-dag"]["dag"]["tasks"]["Second"]
    task["retryPolicy"] = {**task["retryPolicy"], "backoffMaxDuration": "1s"}
    (told / "Second.1").write_text("fail")
    record = run_spec(spec, {"run_date": "d"}, places, sleep=[].append)
    assert record.state == "FAILED"
    assert len(calls(told, "Second")) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_both_launchers_run_it_and_tries_share_their_uris(places, told, backend):
    """The driver runs once per task: a second try writes where the first one would have."""
    (told / "Second.1").write_text("fail")
    record = run(replace(places, backend=BACKENDS[backend]))
    assert record.state == "SUCCEEDED"
    first, second = calls(told, "Second")
    assert first["outputs"]["artifacts"]["made"] == second["outputs"]["artifacts"]["made"]
    own = f"{record.uuid}/Second/" in first["outputs"]["outputFile"]
    assert own == (backend == "2.17")


def test_secrets_reach_a_task_by_name_and_what_is_missing_is_said(places, told, monkeypatch):
    monkeypatch.setenv("GIVEN", "1")
    monkeypatch.setenv("OTHER", "2")
    keys = [{"secretKey": name, "envVar": name} for name in ("GIVEN", "MISSING")]
    pod = {"secretAsEnv": [{"secretName": "store", "keyToEnv": keys}]}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"First": pod}}}}}
    secrets = secrets_of([{}, platform])
    assert list(secrets.missing()) == ["MISSING of store is not set here: tasks run without it"]
    spec = toy_spec()
    spec["deploymentSpec"]["executors"]["First"]["container"]["command"] = [
        sys.executable, "-c",
        f"import os; open({str(told)!r} + '/env', 'w').write(repr(os.environ))",
    ]  # fmt: skip
    run_spec(spec, {"run_date": "x"}, places, secrets=secrets, sleep=[].append)
    seen = (told / "env").read_text()
    assert "'GIVEN': '1'" in seen
    assert "OTHER" not in seen


def test_what_a_task_started_ends_with_it(places, told):
    (told / "First.1").write_text("leave a child")
    run(places)
    pid = int((told / "child").read_text())
    assert not os.path.exists(f"/proc/{pid}") or "Z" in _state(pid)


def _state(pid):
    with open(f"/proc/{pid}/stat") as stream:
        return stream.read().rpartition(")")[2].split()[0]


def test_a_run_goes_on_only_with_the_store_that_holds_its_artifacts(places, told, tmp_path):
    for attempt in (1, 2, 3):
        (told / f"Second.{attempt}").write_text("fail")
    first = run(places)
    elsewhere = RunFolders(work_dir=places.work_dir, object_store=tmp_path / "other")
    second = run(elsewhere)
    assert second.run_id != first.run_id
    assert second.state == "SUCCEEDED"


def test_artifacts_that_have_vanished_are_named(places, told):
    for attempt in (1, 2, 3):
        (told / f"Second.{attempt}").write_text("fail")
    first = run(places)
    uri = first.tasks["First"].artifacts["made"]["uri"]
    shutil.rmtree(places.object_store / uri.removeprefix("minio://"))
    record = run(places)
    assert record.state == "FAILED"
    assert f"{uri}: no object" in record.error


def test_an_error_of_the_file_still_runs_the_exit_handler(places, told):
    spec = toy_spec()
    spec["deploymentSpec"]["executors"]["Second"]["container"]["args"] = ["{{$.inputs}}"]
    with pytest.raises(ConfigError, match="placeholder"):
        run_spec(spec, {"run_date": "x"}, places)
    status = calls(told, "Report")[0]["inputs"]["parameterValues"]["final_status"]
    assert status["state"] == "FAILED"


def test_a_second_call_goes_on_where_the_first_one_failed(places, told):
    for attempt in (1, 2, 3):
        (told / f"Second.{attempt}").write_text("fail")
    first = run(places)
    said = []
    second = run(places, said=said)
    assert (second.run_id, second.state) == (first.run_id, "SUCCEEDED")
    assert len(calls(told, "First")) == 1
    assert any("First" in line and "done before" in line for line in said)
    told_last = [
        call["inputs"]["parameterValues"]["final_status"] for call in calls(told, "Report")
    ]
    assert [status["state"] for status in told_last] == ["FAILED", "COMPLETE"]


def test_a_run_that_succeeded_is_not_taken_up_again_nor_one_of_another_day(places, told):
    first = run(places)
    assert run(places).run_id != first.run_id
    other = run_spec(toy_spec(), {"run_date": "2026-01-03"}, places)
    assert other.tasks["Second"].artifacts["made"]["metadata"]["word"] == "2026-01-03"
    days = [record.parameters["run_date"] for record in read_runs(places.runs_dir)]
    assert sorted(days) == ["2026-01-02", "2026-01-02", "2026-01-03"]


def test_a_new_run_can_be_asked_for(places, told):
    for attempt in (1, 2, 3):
        (told / f"Second.{attempt}").write_text("fail")
    first = run(places)
    assert run(places, resume=False).run_id != first.run_id
    assert len(calls(told, "First")) == 2


@pytest.mark.fault(35)
@pytest.mark.parametrize("task", ["First", "Second", "Last"])
def test_the_runner_killed_within_any_task_leaves_nothing_half_made_for_the_next_call(
    places, told, task
):
    (told / f"{task}.1").write_text("kill parent")
    child = multiprocessing.get_context("fork").Process(target=run, args=(places,))
    child.start()
    child.join(60)
    assert child.exitcode == -9
    assert not [name for name in objects(places) if f"/{task}/" in name]
    record = run(places)
    assert record.state == "SUCCEEDED"
    base = base_of(record)
    assert objects(places)[f"{base}/Last/made/part/words.txt"] == "start 2026-01-02 end"
    assert not [n for n in objects(places) if f"/{task}/" in n and n.endswith("attempt-1.txt")]


def test_no_task_outlives_the_runner(places, told):
    (told / "First.1").write_text("kill parent")
    child = multiprocessing.get_context("fork").Process(target=run, args=(places,))
    child.start()
    child.join(60)
    alive = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/cmdline") as stream:
                words = stream.read()
        except (OSError, ValueError):
            continue
        if entry.isdigit() and str(told) in words:
            alive.append(words)
    assert alive == []


def test_an_output_that_a_task_replaces_loses_what_was_there(places, told):
    """An upload that was cut off leaves objects of other names; the next one removes them."""
    (told / "Second.1").write_text("fail")
    stale = None

    def leave_some(_):
        nonlocal stale
        made = calls(told, "Second")[0]["outputs"]["artifacts"]["made"]["artifacts"][0]
        stale = places.object_store / made["uri"].removeprefix("minio://") / "old.txt"
        stale.parent.mkdir(parents=True)
        stale.write_text("half")

    run_spec(toy_spec(), {"run_date": "d"}, places, sleep=leave_some)
    assert stale is not None
    assert not stale.exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"parameter 'run_date' must be given \(string\)"),
        ({"run_dat": "x", "run_date": "x"}, "'run_dat' is not known; did you mean 'run_date'"),
        ({"run_date": 3}, "'run_date' must be a string, got 3"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_written(places, given, message):
    with pytest.raises(ConfigError, match=message):
        run_spec(toy_spec(), given, places)
    assert not places.work_dir.exists()


def test_a_file_that_the_backend_would_refuse_is_refused(places):
    with pytest.raises(ConfigError, match="the backend would refuse this file"):
        run_compiled([toy_spec()], {"run_date": "x"}, places)


def test_two_runs_in_one_folder_are_refused(places, told):
    places.work_dir.mkdir()
    with run_lock(places.work_dir), pytest.raises(TesseraError, match="another run"):
        run(places)


def test_what_only_other_backends_understand_is_refused(places, told):
    spec = toy_spec()
    word = spec["components"]["tfx-dag"]["dag"]["tasks"]["First"]["inputs"]["parameters"]
    word["word"] = {"runtimeValue": {"runtimeParameter": "x"}}
    with pytest.raises(ConfigError, match="the backend cannot read"):
        run_spec(spec, {"run_date": "x"}, places)
    spec = toy_spec()
    spec["deploymentSpec"]["executors"]["First"]["container"]["args"] = ["{{$.inputs}}"]
    with pytest.raises(ConfigError, match="placeholder"):
        run_spec(spec, {"run_date": "x"}, places)
