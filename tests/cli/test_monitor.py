"""`tessera monitor` on a small published bundle and a log that its own model filled."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import tessera
from components.bundle.manifest import MANIFEST_NAME
from components.user_ids import KEY_VARIABLE, IdKey
from core.errors import ConfigError, DataError
from serving.page.sample import SCHEMA
from serving.request_log.writer import RequestLog
from serving.server.engine import Engine
from serving.server.source import OneBundle
from tests.serving.page_world import NOW, TITLES, TOPICS, catalogue, publish, row

KEY = "0123456789abcdef"
USERS = 120


def users():
    """Requests of the sample, by which the bundle was 'trained'."""
    rng = np.random.default_rng(3)
    ids = [f"i{n}" for n in range(40)]
    return [
        row(f"u{n}", rng.choice(ids, 3).tolist(), [TOPICS[int(rng.integers(3))]])
        for n in range(USERS)
    ]


def serve(bundle, folder, requests):
    """Answers requests as the server does, in one batch, and logs them."""
    log = RequestLog(folder, user_key=IdKey(KEY.encode()))
    engine = Engine(OneBundle(bundle), request_log=log)
    engine.start()
    columns = {name: [each[name] for each in requests] for name in SCHEMA.names}
    words = ("history_item_id", "history_action", "followed_topic")
    inputs = {
        name: np.array([[w.encode() for w in ws] for ws in columns[name]], object) for name in words
    }
    inputs["user_id"] = np.array([user.encode() for user in columns["user_id"]], object)
    for name in ("timestamp", "history_timestamp"):
        inputs[name] = np.array(columns[name], np.int64)
    answer = engine.predict(inputs, "retrieve")
    engine.log(inputs, answer)
    assert engine.stop()
    return answer.outputs


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A bundle, a log of the very users it was trained on, a log of others, the first answers."""
    root = tmp_path_factory.mktemp("monitor")
    bundle = publish(root, catalogue(), TITLES, users())
    outputs = serve(bundle, root / "same", users())
    strange = [
        row(f"u{n}", ["gone", f"i{n % 2}", "gone too"], ["no topic"], NOW + 10**7)
        for n in range(USERS)
    ]
    serve(bundle, root / "other", strange)
    return root, bundle, outputs


def monitor(*words):
    return CliRunner().invoke(tessera, ["monitor", *map(str, words)], standalone_mode=True)


def test_equal_users_pass_and_later_engagements_are_found(world, tmp_path, monkeypatch):
    root, bundle, outputs = world
    shown = outputs["item_id"][0, 0].decode()
    table = tmp_path / "later.csv"
    rows = [f'u0,"{item}",{NOW + 9},read' for item in (shown, "gone")]
    table.write_text("\n".join(["user_id,item_id,timestamp,action", *rows, ""]))
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    ran = monitor(
        *("--bundle", bundle.parent, "--log", root / "same", "--out", tmp_path / "out"),
        *("--engagements", table),
    )
    assert ran.exit_code == 0, ran.output
    found = json.loads((tmp_path / "out/monitor.json").read_text())
    figures = found["figures"]
    assert found["verdict"] == "ok" and found["version"] == 1
    assert figures["requests"] == found["reference_requests"] == USERS
    assert figures["drift.history_item_id"] == figures["drift.history_length"] == 0
    assert figures["unknown.items"] == figures["shown.unknown"] == 0
    kinds = outputs["slot_kind"]
    assert figures["answers.explicit"] == pytest.approx((kinds == 1).sum() / (kinds >= 0).sum())
    assert (figures["later.counted"], figures["later.recall"]) == (2, 0.5)
    page = (tmp_path / "out/monitor.html").read_text()
    assert "What is served is like what was trained on" in page and "<svg" in page
    assert "http" not in page.replace("http-equiv", "")


def test_other_users_fail_by_the_bounds_that_a_policy_can_move(world, tmp_path):
    root, bundle, _ = world
    words = ("--bundle", bundle, "--log", root / "other", "--out", tmp_path)
    ran = monitor(*words)
    assert ran.exit_code == 1, ran.output
    found = json.loads((tmp_path / "monitor.json").read_text())
    verdicts = {check["figure"]: check["verdict"] for check in found["checks"]}
    assert found["verdict"] == "fail"
    for name in ("drift.followed_topic", "drift.history_item_id", "unknown.items_rise"):
        assert verdicts[name] == "fail", name
    assert found["figures"]["unknown.items"] == pytest.approx(2 / 3)
    policy = tmp_path / "policy.yaml"
    policy.write_text("".join(f"{name}: {{warn_above: 0.01}}\n" for name in verdicts))
    assert monitor(*words, "--policy", policy).exit_code == 0
    assert monitor(*words, "--policy", policy, "--fail-on", "warn").exit_code == 1


def test_a_short_log_is_stated_and_not_judged(world, tmp_path):
    root, bundle, _ = world
    words = ("--bundle", bundle, "--log", root / "other", "--out", tmp_path)
    ran = monitor(*words, "--max-requests", 20, "--last-hours", 5)
    assert ran.exit_code == 0, ran.output
    found = json.loads((tmp_path / "monitor.json").read_text())
    assert found["figures"]["drift.followed_topic"] == 1 and found["verdict"] == "warn"
    assert any("Drift is not judged" in note for note in found["notes"])
    assert any("sample of 20 of 120" in note for note in found["notes"])


def test_wrong_input_is_refused(world, tmp_path, monkeypatch):
    root, bundle, _ = world
    words = ("--bundle", bundle, "--out", tmp_path)
    with pytest.raises(DataError, match="no request in this window"):
        tessera.main(
            ["monitor", *map(str, words), "--log", str(root / "same"), "--until", "2001-01-01"],
            standalone_mode=False,
        )
    both = monitor(*words, "--log", root / "same", "--last-hours", 1, "--since", "2001-01-01")
    assert both.exit_code == 2 and "give --last-hours, or" in both.output
    monkeypatch.setenv(KEY_VARIABLE, "short")
    with pytest.raises(ConfigError, match="at least 16 bytes"):
        tessera.main(
            ["monitor", *map(str, words), "--log", str(root / "same")], standalone_mode=False
        )
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(ConfigError, match="--log-users needs a key"):
        tessera.main(["serve", "--bundle", str(bundle), "--log-users"], standalone_mode=False)
    assert (bundle / MANIFEST_NAME).exists() and not (tmp_path / "monitor.json").exists()


def test_a_wrong_policy_is_refused_before_tensorflow_is_there(tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("nonsense: {}\n")
    code = (
        "import sys; from cli.main import tessera\n"
        "try: tessera.main(sys.argv[1:], standalone_mode=False)\n"
        "except Exception as error: print(error, 'tensorflow' in sys.modules)"
    )
    words = ("monitor", "--bundle", ".", "--log", ".", "--out", ".", "--policy", str(policy))
    ran = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert "no figure nonsense" in ran.stdout and ran.stdout.strip().endswith("False")
