"""A validation of an index whose requests are filtered and explore."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.example_gen.attributes import FOLDER
from components.serving_validator import validate
from components.serving_validator.checks import check, contract_check
from tests.components import retrieval_world as world
from tests.components.test_serving_validator import QUICK

pytestmark = [pytest.mark.nightly, pytest.mark.slow("loads each SavedModel in a fresh process")]


@pytest.fixture(scope="module", params=["exact", "scann"])
def index(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    world.write_world(root, n_eval=40)
    folder = root / "examples" / FOLDER
    folder.mkdir()
    created = [b"%d" % (1000 + n) for n in range(world.ITEMS)]
    table = {"item_id": [item.encode() for item in world.IDS], "created_at": created}
    pq.write_table(pa.table(table), folder / "one.parquet")
    filters = ("topics", "created_at")
    return world.build(root, kind=request.param, filters=filters, explore_share=0.2)


def test_filtered_signatures_are_asked_and_judged(index):
    root = index.parent
    paths = validate.ValidatorPaths(str(index), str(root / "examples"), str(root / "validation"))
    result = validate.validate(paths, QUICK)
    assert [c for c in result["checks"] if not c["passed"]] == []
    judged = {c["model"] for c in result["checks"] if c["name"] == "filters"}
    scann = json.loads((index / "index.json").read_text())["kind"] == "scann"
    assert judged == ({"retriever", "retriever_scann"} if scann else {"retriever"})


def test_a_model_that_lost_its_filters_is_noticed(index, tmp_path):
    assert contract_check("retriever", index / "retriever", filtered=True)["passed"]
    root = tmp_path / "plain"
    root.mkdir()
    world.write_world(root, n_eval=10)
    plain = world.build(root)
    verdict = contract_check("retriever", plain / "retriever", filtered=True)
    assert verdict == check("signatures", "retriever", False, verdict["reason"], 2)
    assert "retrieve_filtered" in verdict["reason"]
    assert contract_check("retriever", plain / "retriever")["passed"]
