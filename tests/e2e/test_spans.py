"""Scheduled layout: a required run date, warm start from the day before, a missing day fails."""

import datetime as dt
import shutil

import pytest

from tests.e2e.conftest import DAILY, LAST_DAY, tessera, write_config

pytestmark = pytest.mark.slow("two days of the whole chain")


@pytest.fixture
def spans(tables, tmp_path_factory):
    work = tmp_path_factory.mktemp("spans-run")
    conf = write_config(
        work / "conf.yaml",
        tables,
        work,
        data={"root": str(tables), "layout": "spans", "window_days": 10},
        **DAILY,
    )
    return tables, work, conf


def run(conf, day, *more):
    return tessera("run", "--conf", conf, "--set", f"data.run_date={day}", "--json", *more)


@pytest.mark.nightly
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
