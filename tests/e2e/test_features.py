"""What features do for items that have no training events, through the whole chain."""

import json

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from tests.e2e.conftest import tessera, write_config

FEATURES = {
    "items": {
        "studio": "category",
        "tags": "list",
        "year": "number",
        "embedding": {"kind": "embedding", "size": 8},
    },
    "users": {"region": "category", "age": "number"},
}

pytestmark = [pytest.mark.nightly, pytest.mark.slow("trains twice, on 800 users")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same tables and training with and without features: folder and report of each."""
    root = tmp_path_factory.mktemp("features")
    # Items that appear late: a quarter of the targets of the last days has no training event.
    sizes = ("--users", 800, "--items", 1200, "--topics", 20, "--engagements", 30_000)
    made = tessera("data", "generate", "--out", root / "data", "--features", *sizes)
    assert made.code == 0, made.err
    found = {}
    for name, features in (("with", FEATURES), ("without", {})):
        conf = write_config(
            root / f"{name}.yaml",
            root / "data",
            root / name,
            features=features,
            model={"embedding_dim": 32, "item_id_dropout": 0.1},
            trainer={"epochs": 8, "batch_size": 256},
            retrieval={"filters": ["topics"]},
        )
        done = tessera("run", "--conf", conf, "--json", timeout=1800)
        assert done.code == 0, done.err
        found[name] = root / name, json.loads(done.out)
    return found


def recall(report, k):
    return report["slices"]["target_events"]["0"][f"recall@{k}"]


def test_items_without_training_events_are_found_by_their_features(runs):
    reports = {name: report for name, (_, report) in runs.items()}
    new = reports["with"]["slices"]["target_events"]["0"]["n"]
    assert new > 100
    # Two standard errors of a share of .5 over so many examples.
    noise = 2 * (0.25 / new) ** 0.5
    assert recall(reports["with"], 50) > recall(reports["without"], 50) + noise
    # What has events is not paid for it.
    old = {n: r["slices"]["target_events"]["10+"]["recall@50"] for n, r in reports.items()}
    assert old["with"] > 0.95 * old["without"]


def test_the_report_counts_their_values(runs):
    facts = runs["with"][1]["data"]["facts"]["features"]
    assert 0.8 < facts["items.year"]["given"] < 1.0
    assert facts["users with a row"] > 0.9
    assert "features" not in runs["without"][1]["data"]["facts"]


def test_the_bundle_answers_for_users_and_for_items_nobody_knows(runs):
    bundle = runs["with"][0] / "serving"

    def answer(command, *arguments):
        done = tessera(command, "--bundle", bundle, "--json", *arguments)
        assert done.code == 0, done.err
        return [item["item_id"] for item in done.json()["items"]]

    asked = ("--history", "i1,i2")
    assert answer("recommend", *asked) == answer("recommend", *asked, "--feature", "age=unknown")
    assert answer("recommend", *asked) != answer(
        "recommend", *asked, "--feature", "region=region 3"
    )
    assert answer("recommend", "--user", "u1")
    new = answer("similar", "--item", "new", "--feature", "studio=studio 3")
    assert new != answer("similar", "--item", "new", "--feature", "studio=studio 4")


def test_a_refresh_gives_a_new_item_its_place(runs):
    folder = runs["with"][0]
    root = folder.parent / "data"
    items = pq.read_table(root / "items.parquet")
    known = items.filter(pc.is_valid(items["embedding"])).slice(0, 1)
    twin = known.set_column(0, "item_id", pa.array(["twin"]))
    new = folder.parent / "more"
    new.mkdir()
    pq.write_table(pa.concat_tables([items, twin]), new / "items.parquet")
    conf = folder.parent / "refresh.yaml"
    places = {"work_dir": str(folder / "refresh"), "serving_dir": str(folder / "serving")}
    tree = {"pipeline": "refresh", "name": "e2e", **places, "data": {"root": str(new)}}
    conf.write_text(yaml.safe_dump(tree))
    done = tessera("run", "--conf", conf, "--json", timeout=900)
    assert done.code == 0, done.err
    nearest = tessera("similar", "--bundle", folder / "serving", "--item", "twin", "--json").json()
    assert nearest["known"]
    shared = set(known["topics"][0].as_py())
    topics = dict(zip(items["item_id"].to_pylist(), items["topics"].to_pylist(), strict=True))
    carried = [topics[item["item_id"]] for item in nearest["items"][:10]]
    assert sum(bool(shared & set(names)) for names in carried) >= 5
