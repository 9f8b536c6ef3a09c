"""The whole pipeline with tables and bundles in S3: nothing of either stays on this disk."""

import datetime as dt
import json
import logging

import pytest

from components.bundle import pushed_spans
from tests.components.store_fixtures import visible
from tests.e2e.conftest import DAILY, LAST_DAY, tessera, write_config
from tests.object_store import BEST_KIND, running_s3

pytestmark = [
    pytest.mark.slow("two days of the whole chain and a refresh"),
    pytest.mark.nightly,
    pytest.mark.timeout(2400),
]
logging.getLogger("werkzeug").setLevel(logging.ERROR)


def test_two_days_a_rerun_a_refresh_and_a_question_over_s3(tables, tmp_path):
    with running_s3(BEST_KIND) as store:
        data_root, serving = store.put_tree(tables, store.url("tables")), store.url("serving")
        work, scratch = tmp_path / "work", tmp_path / "scratch"
        scratch.mkdir()
        conf = write_config(
            tmp_path / "conf.yaml",
            data_root,
            work,
            serving_dir=serving,
            trainer={"epochs": 1},
            data={"root": data_root, "layout": "spans", "window_days": 10},
            **DAILY,
        )

        def run(day, *more):
            return tessera(
                "run", "--conf", conf, "--set", f"data.run_date={day}", "--json", *more,
                env={"TMPDIR": str(scratch)},
            )  # fmt: skip

        for version, day in enumerate((LAST_DAY - dt.timedelta(days=1), LAST_DAY), start=1):
            done = run(day)
            assert done.code == 0, done.err
            report = done.json()
            assert report["pushed_version"] == version
            assert report["bundle"] == f"{serving}/e2e/{version}"
        assert "baseline is version 1" in done.err and "from scratch" not in done.err
        again = run(LAST_DAY)
        assert again.code == 0 and again.err.count("reused") >= 10, again.err
        keys = store.keys(serving)
        assert visible(keys, "e2e") == [1, 2]
        assert json.loads(keys["e2e/2/manifest.json"])["data_root"] == data_root
        assert pushed_spans(serving, "e2e") == {
            LAST_DAY - dt.timedelta(days=1): 1,
            LAST_DAY: 2,
        }

        missing = run(LAST_DAY + dt.timedelta(days=1))
        assert missing.code == 2
        assert f"{data_root}/engagements/span=2024-04-01" in missing.err

        refreshed = run(LAST_DAY, "--set", "pipeline=refresh")
        assert refreshed.code == 0, refreshed.err
        assert visible(store.keys(serving), "e2e")[:2] == [1, 2]

        answer = tessera("recommend", "--bundle", serving, "--history", "i1", "--json")
        assert answer.code == 0, answer.err
        assert answer.json()["items"]
        assert not [path for path in scratch.iterdir() if path.name.startswith("tessera-")]
