"""The ServingValidator's probe as a process, and the verdicts on what it found."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config import ServingValidatorConfig
from components.serving_validator import checks, probe, process
from components.serving_validator.cases import Case

# -- the process --------------------------------------------------------------------------


def test_what_may_not_be_imported_is_every_package_of_the_project():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    known = re.search(r"known-first-party = \[(.*?)\]", text, re.DOTALL).group(1)
    assert set(process.FORBIDDEN) == {*re.findall(r'"(\w+)"', known), "scann"}


def test_the_environment_leads_nowhere_near_the_project(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert not [name for name in process._environment() if name.startswith("PYTHON")]


def test_the_project_cannot_be_imported_where_a_model_is_probed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from components.serving_validator.probe import Blocker\n"
        "sys.modules.pop('core', None)\n"
        "blocker = Blocker(('core',)); sys.meta_path.insert(0, blocker)\n"
        "try:\n    import core.errors\nexcept ImportError as error:\n    print(error)\n"
        "print(blocker.asked)\n"
    )
    command = [sys.executable, "-I", str(script), str(Path(__file__).parents[2])]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == "core is not there where a bundle is served\n['core']\n"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import time; time.sleep(60)", "no answer within 2 s"),
        ("import os; os.kill(os.getpid(), 11)", "ended by SIGSEGV"),
        ("raise RuntimeError('the model is odd')", "RuntimeError: the model is odd"),
        ("pass", "its last words: none"),
    ],
)
def test_a_probe_that_hangs_crashes_or_fails_is_an_error_with_its_last_words(
    tmp_path, monkeypatch, program, words
):
    script = tmp_path / "broken.py"
    script.write_text(program)
    monkeypatch.setattr(probe, "__file__", str(script))
    model, warmup = tmp_path / "model", tmp_path / "warmup"
    model.mkdir()
    warmup.write_bytes(b"")
    with pytest.raises(process.ProbeError, match=re.escape(words)):
        process.run_probe(model, warmup, {}, scann=False, timeout_s=2)
    assert list(model.iterdir()) == []


def test_a_probe_ends_with_the_process_that_started_it(tmp_path):
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "import probe; probe.end_with_parent(); print('up', flush=True); time.sleep(60)\n"
    )
    (tmp_path / "child.py").write_text(script)
    parent = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, *sys.argv[1:]], stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print(child.pid)\n"
    )
    command = [sys.executable, "-c", parent, str(tmp_path / "child.py")]
    command += [str(Path(probe.__file__).parent)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    child = int(run.stdout)
    for _ in range(100):
        if not alive(child):
            return
        time.sleep(0.1)
    pytest.fail("the probe outlives its parent")


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


# -- verdicts -----------------------------------------------------------------------------


def objects(*values):
    return np.array(values, object)


def findings(**changes):
    return {
        "answers": [],
        "forbidden": [],
        "latency_ms": [3.0, 5.0, 100.0],
        "load_s": 1.0,
        "rss_mb": 500.0,
        "unknown_ops": [],
        "warmup": {"records": 8, "signatures": ["retrieve"], "batches": [1], "seconds": 0.1},
        **changes,
    }


@pytest.mark.parametrize(
    ("scann", "changes", "failed", "words"),
    [
        (False, {}, None, ""),
        (False, {"forbidden": ["components.x"]}, "stands alone", "components.x"),
        (False, {"unknown_ops": ["Scann>TensorsToScann"]}, "operations", "Scann>TensorsToScann"),
        (True, {"unknown_ops": ["Scann>TensorsToScann"]}, None, ""),
        (True, {"unknown_ops": ["Other>Op"]}, "operations", "Other>Op"),
        (False, {"latency_ms": [1.0, 400.0, 400.0]}, "latency", "median 400.0 ms"),
        (False, {"warmup": {**findings()["warmup"], "records": 0}}, "warm-up", "0 requests"),
        (False, {"warmup": {**findings()["warmup"], "records": 1001}}, "warm-up", "1001"),
    ],
)
def test_verdicts_on_the_process(scann, changes, failed, words):
    model = "retriever_scann" if scann else "retriever"
    verdicts = checks.process_checks(model, findings(**changes), True, ServingValidatorConfig())
    names = [c["name"] for c in verdicts if not c["passed"]]
    assert names == ([failed] if failed else [])
    assert words in " ".join(c["reason"] for c in verdicts if not c["passed"])


def test_the_latency_of_a_model_that_is_not_served_is_told_only():
    slow = findings(latency_ms=[900.0])
    told, judged = (
        next(c for c in checks.process_checks("retriever", slow, served, ServingValidatorConfig())
             if c["name"] == "latency")
        for served in (False, True)
    )  # fmt: skip
    assert (told["passed"], told["value"]) == (True, 900.0)
    assert "not judged" in told["reason"]
    assert not judged["passed"]


@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=6),
    place=st.integers(0, 5),
    by=st.sampled_from([0.0, 0.5, float("nan")]),
)
def test_differences_are_found_wherever_they_are(values, place, by):
    one = {"score": np.asarray(values, np.float64), "item_id": objects(*[b"a"] * len(values))}
    other = {name: array.copy() for name, array in one.items()}
    assert probe.differences(one, other) == ([], 0.0)
    other["score"][place % len(values)] += by
    unequal, gap = probe.differences(one, other)
    if by != by:
        assert unequal == ["score"]
    else:
        assert (unequal, gap) == ([], pytest.approx(by))
    other["item_id"][0] = b"b"
    assert "item_id" in probe.differences(one, other)[0]
    assert probe.differences(one, {"score": one["score"]})[0] == ["item_id"]


def test_a_refused_request_is_told_in_one_line():
    error = RuntimeError(
        "Graph execution error:\n\nDetected at node a/add defined at (most recent call last):\n"
        "<stack traces unavailable>\nIncompatible shapes: [0,20,0] vs. [0,20,16]\n"
        "\t [[{{node a/add}}]] [Op:__inference_signature_wrapper_7]"
    )
    assert probe.in_one_line(error) == "Incompatible shapes: [0,20,0] vs. [0,20,16]"
    assert probe.in_one_line(ValueError("inputs ['a'],\n but")) == "inputs ['a'], but"


def test_the_overlap_counts_the_exact_paths_items():
    asked = [Case("replay 0", "retrieve", {}), Case("batch of 1", "retrieve", {})]
    lists = [
        [[b"a", b"b", b""], [b"c", b"d", b""]],
        [[b"b", b"x", b""], [b"d", b"c", b"y"]],
    ]
    exact, scann = ([{"outputs": {"item_id": objects(*rows)}, "error": ""}] * 2 for rows in lists)
    assert checks.overlap(asked, scann, exact) == 3 / 4
