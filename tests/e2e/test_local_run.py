"""The main job, end to end: tables to a pushed bundle that answers with reasons."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import LAST_DAY, REPOSITORY, WINDOW, tessera, without_network, write_config
from tests.markers import nightly

pytestmark = pytest.mark.slow("the whole chain, once, in a fresh process")

REPORT_KEYS = {
    "run_id", "config", "data", "metrics", "slices", "baselines", "index", "timings_s",
    "blessed", "pushed_version", "bundle",
}  # fmt: skip


def snapshot(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_run_is_blessed_pushed_and_reported(published):
    report = published.done.json()
    assert report.keys() >= REPORT_KEYS
    assert report["blessed"] is True and report["pushed_version"] == 1
    assert 0 < report["metrics"]["recall@100"] <= 1
    assert {"popularity", "item_cosine", "last_transition", "topic_popularity"} <= set(
        report["baselines"]
    )
    assert report["index"]["recall_vs_exact"] >= 0.95
    index = json.loads((published.bundle / "index.json").read_text())
    assert index["refit"] is True
    assert index["neighbours"]["tried"]
    run_dir = published.work / "runs" / report["run_id"]
    page = (run_dir / "report.html").read_text()
    assert "<svg" in page and "http://" not in page.replace("http://www.w3.org", "")
    assert json.loads((run_dir / "report.json").read_text())["run_id"] == report["run_id"]


@pytest.mark.fault(77)
def test_the_whole_run_needs_no_network(published):
    if not without_network():
        pytest.skip("this machine does not let a process give up its network (unshare --net)")
    probe = "import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)"
    words = [*without_network(), sys.executable, "-c", probe]
    refused = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "Network is unreachable" in refused.stderr
    assert published.done.code == 0


def test_the_console_shows_a_line_per_component_and_no_third_party_noise(published):
    shown = published.done.err
    lines = [line for line in shown.splitlines() if line.strip()]
    components = [line for line in lines if "✓" in line]
    assert len(components) == 12, shown
    assert not [x for x in lines if "WARNING" in x or "Warning" in x or "I0000" in x], shown
    assert len(lines) <= 17, shown


def test_the_bundle_answers_for_a_user_with_reasons(published, tables):
    (day,) = tables.glob("engagements/span=2024-03-28")
    user = pq.read_table(next(day.glob("*.parquet")))["user_id"][0].as_py()
    user = user.decode() if isinstance(user, bytes) else user
    answer = tessera(
        "recommend", "--bundle", published.bundle, "--user", user, "-n", 10, "--json", fresh=True
    )  # fmt: skip
    assert answer.code == 0, answer.err
    results = answer.json()["items"]
    assert 0 < len(results) <= 10
    assert len({r["item_id"] for r in results}) == len(results)
    assert all(r["reason"] for r in results)
    shown = tessera("recommend", "--bundle", published.bundle.parent, "--user", user, "-n", 5)
    assert shown.code == 0, shown.err
    assert "because of" in shown.out or "follows" in shown.out


def test_the_same_run_again_is_reused_and_pushes_nothing_new(published):
    before = snapshot(published.bundle)
    again = tessera("run", "--conf", published.conf, "--json")
    assert again.code == 0, again.err
    assert again.err.count("reused") >= 10, again.err
    assert snapshot(published.bundle) == before
    assert not published.bundle.with_name("2").exists()


def test_a_run_that_misses_its_threshold_is_not_pushed(published):
    before = snapshot(published.work / "serving")
    missed = "evaluator.thresholds={recall@100: {min: 1.0}}"
    done = tessera("run", "--conf", published.conf, "--set", missed, "--json")
    assert done.code == 1
    assert done.json()["blessed"] is False
    assert snapshot(published.work / "serving") == before


@pytest.mark.fault(6)
@pytest.mark.parametrize("log", ["user_id,item_id,timestamp,action\n", *nightly("")])
def test_an_empty_log_stops_the_run_and_keeps_the_pushed_version(published, log, tmp_path):
    (tmp_path / "engagements.csv").write_text(log)
    rows = "".join(f"i{n},a\n" for n in range(100))
    (tmp_path / "items.csv").write_text("item_id,topics\n" + rows)
    serving = shutil.copytree(published.work / "serving", tmp_path / "serving")
    before = snapshot(serving)
    conf = write_config(tmp_path / "conf.yaml", tmp_path, tmp_path)
    done = tessera("run", "--conf", conf)
    assert done.code == 2, done.err
    assert (
        "engagements: no rows under the header" if log else "engagements.csv:1: the file"
    ) in done.err
    assert snapshot(serving) == before
    asked = ("recommend", "--bundle", serving / "e2e", "--history", "i1", "-n", 3)
    assert tessera(*asked).code == 0


def test_a_dry_run_checks_inputs_and_writes_no_artifact(tables, tmp_path):
    data = {"root": str(tables), "run_date": LAST_DAY.isoformat(), **WINDOW}
    conf = write_config(tmp_path / "conf.yaml", tables, tmp_path / "w", data=data)
    done = tessera("run", "--conf", conf, "--dry-run")
    assert done.code == 0, done.err
    assert "RetrievalExampleGen" in done.out and "Pusher" in done.out
    assert not (tmp_path / "w" / "artifacts").exists()


@pytest.mark.fault(35)
@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_terminated_run_leaves_a_report_and_the_next_one_goes_on(tables, tmp_path):
    conf = write_config(
        tmp_path / "conf.yaml",
        tables,
        tmp_path,
        data={"root": str(tables), "run_date": LAST_DAY.isoformat(), **WINDOW},
        trainer={"epochs": 40},
    )
    command = [sys.executable, "-m", "cli", "run", "--conf", str(conf)]
    running = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("artifacts/Trainer/model_run/*/events*")):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    time.sleep(2)
    running.send_signal(signal.SIGTERM)
    shown = running.communicate(timeout=300)[1]
    assert running.returncode == 128 + signal.SIGTERM
    assert "stopped in Trainer" in shown, shown
    (report,) = tmp_path.glob("runs/*/report.json")
    assert "stopped in Trainer" in json.loads(report.read_text())["error"]
    assert not (tmp_path / "serving").exists()

    again = tessera("run", "--conf", conf, "--set", "trainer.epochs=40", fresh=True, timeout=1200)
    assert again.code == 0, again.err
    assert again.err.count("reused") >= 5, again.err
