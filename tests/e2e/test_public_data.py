"""Real tables through the real chain; skipped where the data sets are not at hand."""

import os
from pathlib import Path

import pytest

from tests.e2e.conftest import REPOSITORY, tessera
from tests.markers import nightly

pytestmark = [pytest.mark.slow("the whole chain on a public data set"), pytest.mark.data]

DATA = Path(os.environ.get("TESSERA_DATA") or REPOSITORY.parent / "shared" / "data")
#: Sets whose timestamps are positions.
POSITIONS = ("goodbooks-10k", "amazon-beauty")
SETS = ("goodbooks-10k", "quantum-stackexchange", "amazon-beauty", *nightly("movietweetings"))


def root_of(name):
    root = DATA / name
    if not root.is_dir():
        pytest.skip(f"{root} is not there; TESSERA_DATA names the folder of the public data sets")
    return root


@pytest.mark.parametrize("name", SETS)
def test_the_tables_of_a_public_set_keep_the_contract(name):
    unit = ("--time-unit", "order" if name in POSITIONS else "seconds")
    done = tessera("data", "check", "--root", root_of(name), *unit, "--json")
    assert done.code == 0, done.err


@pytest.mark.nightly
def test_quantum_stackexchange_is_run_pushed_and_asked(tmp_path):
    root = root_of("quantum-stackexchange")
    done = tessera(
        "run", "--conf", REPOSITORY / "conf/quantum-stackexchange.yaml", "--json",
        "--set", f"data.root={root}", "--set", f"work_dir={tmp_path}",
        "--set", f"serving_dir={tmp_path / 'serving'}", "--set", "trainer.epochs=2",
        "--set", "evaluator.thresholds={recall@100: {min: 0.001}}",
    )  # fmt: skip
    assert done.code == 0, done.err
    report = done.json()
    assert report["data"]["rows"]["engagements"] == 5082 and report["pushed_version"] == 1
    answer = tessera("recommend", "--bundle", report["bundle"], "--user", "100", "--json", "-n", 5)
    assert answer.code == 0, answer.err
    assert len(answer.json()["items"]) == 5
