"""A back-fill against a server that really executes, task by task, the file that it was sent."""

import json

import pytest
import yaml

from cli.main import main
from kubeflow_pipelines.replay.run import RunFolders, run_spec
from tests.kubeflow_pipelines.client.kfp_stub import KfpStub
from tests.kubeflow_pipelines.replay.toy import toy_spec

DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]


@pytest.fixture
def server(tmp_path):
    """Runs end as their tasks do; the folder `told/DAY` tells the tasks of a day to misbehave."""

    def execute(parameters, package):
        day = parameters["run_date"]
        told = tmp_path / "told" / day
        told.mkdir(parents=True, exist_ok=True)
        places = RunFolders(work_dir=tmp_path / "w", object_store=tmp_path / "objects")
        spec = yaml.safe_load(package)
        for executor in spec["deploymentSpec"]["executors"].values():
            for variable in executor["container"]["env"]:
                if variable["name"] == "TOY_STATE":
                    variable["value"] = str(told)
        record = run_spec(spec, {"run_date": day}, places, sleep=lambda _: None, say=lambda _: None)
        return record.state if record.state == "SUCCEEDED" else (record.state, record.error)

    stub = KfpStub(outcome=execute)
    yield stub
    stub.close()
    assert stub.contract == []


def test_a_broken_day_fails_alone_and_the_next_call_runs_it_alone(server, tmp_path, capsys):
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(toy_spec()))
    conf = {"name": "toy", "serving_dir": str(tmp_path / "serving"), "data": {"root": "/tables"}}
    (tmp_path / "conf.yaml").write_text(yaml.safe_dump(conf))
    broken = tmp_path / "told" / DAYS[1]
    broken.mkdir(parents=True)
    for attempt in (1, 2, 3):  # as many as its retry policy allows
        (broken / f"Second.{attempt}").write_text("kill")

    def backfill():
        words = ["backfill", tmp_path / "toy.yaml", "--conf", tmp_path / "conf.yaml"]
        words += ["--host", server.url, "--from", DAYS[0], "--to", DAYS[-1], "--poll-s", "0.1"]
        with pytest.raises(SystemExit) as ended:
            main([*map(str, words), "--json"])
        return ended.value.code, json.loads(capsys.readouterr().out)["days"]

    def made():
        return {
            path.read_text() for path in (tmp_path / "objects").rglob("Last/*/made/part/words.txt")
        }

    code, days = backfill()
    assert (code, [day["outcome"] for day in days]) == (1, ["done", "failed", "done"])
    assert "ended by SIGKILL" in days[1]["note"]
    assert made() == {f"start {day} end" for day in (DAYS[0], DAYS[2])}
    code, days = backfill()
    assert (code, [day["outcome"] for day in days]) == (0, ["skipped", "done", "skipped"])
    assert made() == {f"start {day} end" for day in DAYS}
    assert len(server.runs) == 4
