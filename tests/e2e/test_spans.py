"""Scheduled layout: a required run date, warm start from the day before, a missing day fails."""

import datetime as dt
import shutil

import pytest

from tests.e2e.conftest import tessera, write_config

pytestmark = pytest.mark.slow

LAST_DAY = dt.date(2024, 3, 31)


@pytest.fixture(scope="module")
def spans(tmp_path_factory):
    root = tmp_path_factory.mktemp("spans") / "tables"
    done = tessera(
        "data", "generate", "--out", root, "--users", 250, "--items", 300, "--topics", 12,
        "--days", 12, "--engagements", 5000, "--seed", 5, "--layout", "spans",
        "--end-date", LAST_DAY.isoformat(),
    )  # fmt: skip
    assert done.code == 0, done.err
    work = tmp_path_factory.mktemp("spans-run")
    conf = write_config(
        work / "conf.yaml",
        root,
        work,
        data={"root": str(root), "layout": "spans", "window_days": 10},
        examples={
            "split": {"strategy": "time", "eval_days": 2, "validation_days": 1},
            "negative_actions": ["hide"],
        },
        evaluator={
            "thresholds": {"recall@100": {"min": 0.001}},
            "must_beat_floors": [],
            "max_drop_share": 1.0,
            "max_slice_drop_share": 1.0,
        },
    )
    return root, work, conf


def run(conf, day, *more):
    return tessera("run", "--conf", conf, "--set", f"data.run_date={day}", "--json", *more)


def test_the_second_day_starts_from_the_first_and_a_rerun_changes_nothing(spans):
    _, work, conf = spans
    first = run(conf, LAST_DAY - dt.timedelta(days=1))
    assert first.code == 0, first.err
    assert first.json()["pushed_version"] == 1
    assert "from scratch" in first.err

    second = run(conf, LAST_DAY)
    assert second.code == 0, second.err
    assert second.json()["pushed_version"] == 2
    assert "baseline is version 1" in second.err
    assert "from scratch" not in second.err

    again = run(conf, LAST_DAY)
    assert again.code == 0, again.err
    assert again.err.count("reused") >= 10, again.err
    assert sorted(p.name for p in (work / "serving" / "e2e").iterdir() if p.name.isdigit()) == [
        "1",
        "2",
    ]


def test_a_missing_day_fails_and_never_falls_back(spans, tmp_path):
    root, _, conf = spans
    broken = tmp_path / "tables"
    shutil.copytree(root, broken)
    missing = LAST_DAY - dt.timedelta(days=3)
    shutil.rmtree(broken / "engagements" / f"span={missing}")
    done = run(
        conf, LAST_DAY, "--set", f"data.root={broken}", "--set", f"work_dir={tmp_path / 'w'}"
    )
    assert done.code == 2
    assert missing.isoformat() in done.err


def test_spans_without_a_run_date_are_refused(spans):
    _, _, conf = spans
    done = tessera("run", "--conf", conf)
    assert done.code == 2
    assert "run_date" in done.err
