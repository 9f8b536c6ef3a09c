"""The main job, end to end: tables to a pushed bundle that answers with reasons."""

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.e2e.conftest import REPOSITORY, tessera, without_network, write_config

pytestmark = pytest.mark.slow

REPORT_KEYS = {
    "run_id", "config", "data", "metrics", "slices", "baselines", "index", "timings_s",
    "blessed", "pushed_version", "bundle",
}  # fmt: skip


@pytest.fixture(scope="module")
def first_run(generated, tmp_path_factory):
    work = tmp_path_factory.mktemp("run")
    conf = write_config(work / "conf.yaml", generated, work)
    # The main job asks nobody: it runs without any network, where that can be taken away.
    done = tessera("run", "--conf", conf, "--json", before=without_network())
    return work, conf, done


def snapshot(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_run_is_blessed_pushed_and_reported(first_run):
    work, _, done = first_run
    assert done.code == 0, done.err
    report = done.json()
    assert report.keys() >= REPORT_KEYS
    assert report["blessed"] is True and report["pushed_version"] == 1
    assert 0 < report["metrics"]["recall@100"] <= 1
    assert {"popularity", "item_cosine", "last_transition", "topic_popularity"} <= set(
        report["baselines"]
    )
    assert report["index"]["recall_vs_exact"] >= 0.95
    run_dir = work / "runs" / report["run_id"]
    page = (run_dir / "report.html").read_text()
    assert "<svg" in page and "http://" not in page.replace("http://www.w3.org", "")
    assert json.loads((run_dir / "report.json").read_text())["run_id"] == report["run_id"]


def test_77_the_whole_run_needs_no_network(first_run):
    if not without_network():
        pytest.skip("this machine does not let a process give up its network (unshare --net)")
    probe = "import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)"
    words = [*without_network(), sys.executable, "-c", probe]
    refused = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "Network is unreachable" in refused.stderr
    assert first_run[2].code == 0


def test_the_console_shows_a_line_per_component_and_no_third_party_noise(first_run):
    _, _, done = first_run
    lines = [line for line in done.err.splitlines() if line.strip()]
    components = [line for line in lines if "✓" in line]
    assert len(components) == 12, done.err
    assert not [x for x in lines if "WARNING" in x or "Warning" in x or "I0000" in x], done.err
    assert len(lines) <= 17, done.err


def test_the_bundle_answers_for_a_user_with_reasons(first_run, generated):
    work, _, done = first_run
    bundle = done.json()["bundle"]
    import pyarrow.parquet as pq

    user = pq.read_table(generated / "engagements.parquet")["user_id"][0].as_py()
    user = user.decode() if isinstance(user, bytes) else user
    answer = tessera("recommend", "--bundle", bundle, "--user", user, "-n", 10, "--json")
    assert answer.code == 0, answer.err
    results = answer.json()["items"]
    assert 0 < len(results) <= 10
    assert len({r["item_id"] for r in results}) == len(results)
    assert all(r["reason"] for r in results)
    shown = tessera("recommend", "--bundle", work / "serving" / "e2e", "--user", user, "-n", 5)
    assert shown.code == 0, shown.err
    assert "because of" in shown.out or "follows" in shown.out


def test_the_same_run_again_is_reused_and_pushes_nothing_new(first_run):
    work, conf, _ = first_run
    before = snapshot(work / "serving" / "e2e" / "1")
    done = tessera("run", "--conf", conf, "--json")
    assert done.code == 0, done.err
    assert done.err.count("reused") >= 10, done.err
    assert snapshot(work / "serving" / "e2e" / "1") == before
    assert not (work / "serving" / "e2e" / "2").exists()


def test_a_run_that_misses_its_threshold_is_not_pushed(first_run):
    work, conf, _ = first_run
    before = snapshot(work / "serving")
    done = tessera(
        "run", "--conf", conf, "--set", "evaluator.thresholds={recall@100: {min: 1.0}}", "--json"
    )
    assert done.code == 1
    report = done.json()
    assert report["blessed"] is False
    assert snapshot(work / "serving") == before


@pytest.mark.parametrize("log", ["user_id,item_id,timestamp,action\n", ""])
def test_an_empty_log_stops_the_run_and_keeps_the_pushed_version(first_run, log, tmp_path):
    work, _, _ = first_run
    (tmp_path / "engagements.csv").write_text(log)
    rows = "".join(f"i{n},a\n" for n in range(100))
    (tmp_path / "items.csv").write_text("item_id,topics\n" + rows)
    before = snapshot(work / "serving")
    conf = write_config(tmp_path / "conf.yaml", tmp_path, work)
    done = tessera("run", "--conf", conf)
    assert done.code == 2, done.err
    assert ("engagements table has no rows" if log else "engagements.csv:1: the file") in done.err
    assert snapshot(work / "serving") == before
    asked = ("recommend", "--bundle", work / "serving" / "e2e", "--history", "i1", "-n", 3)
    assert tessera(*asked).code == 0


def test_a_dry_run_checks_inputs_and_writes_no_artifact(generated, tmp_path):
    conf = write_config(tmp_path / "conf.yaml", generated, tmp_path / "w")
    done = tessera("run", "--conf", conf, "--dry-run")
    assert done.code == 0, done.err
    assert "RetrievalExampleGen" in done.out and "Pusher" in done.out
    assert not (tmp_path / "w" / "artifacts").exists()


def test_a_terminated_run_leaves_a_report_and_the_next_one_goes_on(generated, tmp_path):
    conf = write_config(tmp_path / "conf.yaml", generated, tmp_path, trainer={"epochs": 40})
    command = [sys.executable, "-m", "pipeline", "run", "--conf", str(conf)]
    running = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob("artifacts/Trainer/model_run/*/events*")):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    time.sleep(2)
    running.send_signal(signal.SIGTERM)
    shown = running.communicate(timeout=120)[1]
    assert running.returncode == 128 + signal.SIGTERM
    assert "stopped in Trainer" in shown, shown
    (report,) = tmp_path.glob("runs/*/report.json")
    assert "stopped in Trainer" in json.loads(report.read_text())["error"]
    assert not (tmp_path / "serving").exists()

    again = tessera("run", "--conf", conf, "--set", "trainer.epochs=40")
    assert again.code == 0, again.err
    assert again.err.count("reused") >= 5, again.err
