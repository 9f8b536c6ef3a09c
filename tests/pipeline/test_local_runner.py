"""Runs that end early still say so and leave a report."""

import json
import os

import pytest

from cli.main import main
from core.errors import BundleError, ConfigError, StoppedError, TesseraError
from core.lock import run_lock
from pipeline.config import RunConfig
from pipeline.local import runner as local_runner


def config(tmp_path, **more):
    return RunConfig.model_validate(
        {"data": {"root": "/tables"}, "work_dir": str(tmp_path / "w"), **more}
    )


def test_a_run_that_the_user_stops_leaves_a_report_that_says_so(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(local_runner, "_run_pipeline", interrupted)
    result = local_runner.run_local(config(tmp_path))
    assert isinstance(result.error, StoppedError)
    assert result.exit_code == 1
    report = json.loads((result.run_dir / "report.json").read_text())
    assert (report["status"], "run the same command again" in report["error"]) == ("failed", True)


def test_a_second_run_in_the_same_work_folder_is_refused_and_a_later_one_is_not(tmp_path):
    with (
        run_lock(tmp_path),
        pytest.raises(TesseraError, match=f"process {os.getpid()}"),
        run_lock(tmp_path),
    ):
        pass
    with run_lock(tmp_path):
        pass


def test_a_schema_folder_needs_both_schemas(tmp_path):
    (tmp_path / "examples.pbtxt").write_text("")
    with pytest.raises(ConfigError, match=r"corpus\.pbtxt not found"):
        local_runner.local_paths(config(tmp_path, schema_dir=str(tmp_path)), tmp_path)


def test_a_work_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "w").write_text("a file")
    with pytest.raises(ConfigError, match=r"work_dir: .*/w cannot be written"):
        local_runner.run_local(config(tmp_path))


def test_what_the_system_refuses_is_one_line_not_a_traceback(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as ended:
        main(["data", "generate", "--out", str(tmp_path / "file" / "out"), "--users", "5"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_refresh_without_a_published_model_ends_before_anything_is_written(tmp_path):
    refresh = config(tmp_path, pipeline="refresh", serving_dir=str(tmp_path / "serving"))
    with pytest.raises(BundleError, match="no model to refresh"):
        local_runner.run_local(refresh)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("report", "code"),
    [
        ({"blessed": True}, 0),
        ({"blessed": True, "serving": {"validated": True}}, 0),
        ({"blessed": True, "serving": {"validated": False}}, 1),
        ({"blessed": False, "serving": {"validated": True}}, 1),
        ({"blessed": True, "status": "not_pushed"}, 0),
        ({"blessed": True, "status": "pushed", "config": {"pipeline": "refresh"}}, 0),
        ({"blessed": True, "status": "not_pushed", "config": {"pipeline": "refresh"}}, 1),
        ({}, 1),
    ],
)
def test_a_run_succeeds_only_when_its_retriever_is_blessed_and_serves(tmp_path, report, code):
    assert local_runner.RunResult("r", tmp_path, report, None).exit_code == code
