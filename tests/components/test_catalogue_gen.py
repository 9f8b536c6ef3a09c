"""The items table of a refresh: what is read, refused and said, and when an index is kept."""

import gzip
import json
import tempfile
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.bundle.manifest import read_manifest
from components.config import IndexConfig
from components.examples_io import read_split
from components.pusher.content import collect_content
from components.refresh.bundle_source.layout import KEPT_FILES
from components.refresh.catalogue_gen.changes import changes
from components.refresh.catalogue_gen.config import CatalogueGenConfig
from components.refresh.catalogue_gen.generate import CataloguePaths, read_catalogue
from components.refresh.catalogue_gen.sample_requests import request_examples
from components.refresh.catalogue_gen.window import resolve
from components.refresh.index_refresh.keep import index_files, keep, same_index
from components.serving_validator.sample import request_of, sample_requests, write_requests
from core.errors import BundleError, DataError
from core.files import write_json
from input_tables.config import DataConfig
from tests.components.bundle_fixtures import write_tree
from tests.components.raw_examples import write_split
from tests.components.refresh_world import CODE, INDEX, REQUESTS, RETRIEVAL, items_of, publish_world
from trainer import features
from trainer.config import RetrievalConfig

DAY = date(2024, 3, 31)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A published bundle and the `bundle` artifact that a BundleSource makes of it."""
    root = tmp_path_factory.mktemp("world")
    version = publish_world(root)
    files = {name: (version / name).read_bytes() for name in KEPT_FILES}
    write_tree(root / "bundle", files)
    write_json(root / "bundle" / "source.json", {"version": 1, "path": str(version)})
    return root, version


def csv_of(items):
    return "item_id,topics,title\n" + "".join(f"{i},{'|'.join(t)},A title\n" for i, t in items)


def generate(world, root, out, **settings):
    given = {"data": DataConfig(root=str(root)), "time_unit": "order", **settings}
    config = CatalogueGenConfig(**given)
    paths = CataloguePaths(world[0] / "bundle", out / "examples", out / "report", out / "kept")
    return read_catalogue(config, resolve(config, {}), paths)


def corpus_of(out):
    return {
        row[features.ITEM_ID][0].decode(): [t.decode() for t in row[features.ITEM_TOPICS]]
        for batch in read_split(str(out / "examples"), "corpus")
        for row in batch.to_pylist()
    }


def test_every_item_is_in_the_corpus_once_and_changes_are_counted(world, tmp_path):
    items = items_of(world[1])
    new = {**items, "new": ["t1"], "i3": ["t9"]}
    del new["i5"]
    write_tree(tmp_path / "data", {"items.csv": csv_of(new.items()).encode()})
    report = generate(world, tmp_path / "data", tmp_path)
    assert corpus_of(tmp_path) == new
    found = report["catalogue"]
    assert (found["added"], found["removed"], found["topics_changed"]) == (1, 1, 1)
    assert (found["served_version"], found["unchanged"]) == (1, False)
    assert (report["items"], report["tables"]["items"]["rows"]) == (len(new), len(new))
    assert report == json.loads((tmp_path / "report" / "data_report.json").read_text())


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
def test_the_same_items_in_any_format_and_order_change_nothing(world, tmp_path, kind):
    items = list(items_of(world[1]).items())[::-1]
    text = csv_of(items).encode()
    path = tmp_path / "data" / f"items.{kind}"
    path.parent.mkdir()
    if kind == "parquet":
        ids, topics = zip(*items, strict=True)
        pq.write_table(pa.table({"item_id": ids, "topics": list(topics)}), path)
    else:
        path.write_bytes(gzip.compress(text) if kind == "csv.gz" else text)
    assert generate(world, tmp_path / "data", tmp_path)["catalogue"]["unchanged"]


def test_the_requests_of_the_bundle_are_the_validation_split(world, tmp_path):
    write_tree(tmp_path / "data", {"items.csv": csv_of(items_of(world[1]).items()).encode()})
    generate(world, tmp_path / "data", tmp_path)
    split, again = sample_requests(str(tmp_path / "examples"), REQUESTS, seed=1)
    _, first = sample_requests(str(world[0] / "examples"), REQUESTS, seed=1)
    assert split == "validation" and again.num_rows == REQUESTS
    assert again.to_pylist() == first.to_pylist()


TEXTS = st.text(max_size=6)
REQUEST_ROWS = st.lists(
    st.tuples(
        TEXTS,
        st.integers(0, 2**62),
        st.lists(st.tuples(TEXTS, st.integers(-5, 2**62), TEXTS), max_size=4),
        st.lists(TEXTS, max_size=3),
    ),
    min_size=1,
    max_size=5,
)


@given(REQUEST_ROWS)
def test_requests_survive_the_way_through_a_bundle(rows):
    table = [
        {
            features.USER_ID: [user],
            features.TIMESTAMP: [now],
            features.HISTORY_ITEM_ID: [event[0] for event in history],
            features.HISTORY_TIMESTAMP: [event[1] for event in history],
            features.HISTORY_ACTION: [event[2] for event in history],
            features.FOLLOWED_TOPIC: follows,
        }
        for user, now, history, follows in rows
    ]
    with tempfile.TemporaryDirectory() as folder:
        write_split(f"{folder}/a", "eval", table)
        _, first = sample_requests(f"{folder}/a", len(rows), seed=0)
        write_requests(first, Path(folder) / "requests.parquet")
        batch = request_examples(Path(folder) / "requests.parquet")
        write_split(f"{folder}/b", "validation", pa.Table.from_batches([batch]))
        _, again = sample_requests(f"{folder}/b", len(rows), seed=0)
    every = list(range(len(rows)))
    before, after = request_of(first, every), request_of(again, every)
    assert {k: v.tolist() for k, v in before.items()} == {k: v.tolist() for k, v in after.items()}


def test_requests_that_cannot_be_read_are_named(tmp_path):
    path = tmp_path / "requests.parquet"
    pq.write_table(pa.table({"user_id": ["u"]}), path)
    with pytest.raises(BundleError, match=r"requests\.parquet: cannot be read as sample requests"):
        request_examples(path)


CATALOGUES = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.sampled_from(["x", "y", "xy"]), max_size=3)
)


@given(CATALOGUES, CATALOGUES)
def test_changes_are_those_of_a_comparison_by_hand(before, after):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.parquet"
        topics = pa.array(list(before.values()), pa.list_(pa.string()))
        pq.write_table(
            pa.table({"item_id": pa.array(list(before), pa.string()), "topics": topics}), path
        )
        table = pa.table(
            {
                "item_id": pa.array([k.encode() for k in after], pa.large_binary()),
                "topics": pa.array(
                    [[t.encode() for t in v] for v in after.values()],
                    pa.large_list(pa.large_binary()),
                ),
            }
        )
        found = changes(path, table)
    assert found["added"] == len(after.keys() - before.keys())
    assert found["removed"] == len(before.keys() - after.keys())
    assert found["topics_changed"] == sum(
        before[k] != after[k] for k in before.keys() & after.keys()
    )
    assert found["unchanged"] == (before == after)


def test_rows_that_break_the_contract_become_dead_letters(world, tmp_path):
    items = items_of(world[1])
    text = csv_of(items.items()) + ",t1,no id\ni1,t1,again\n"
    write_tree(tmp_path / "data", {"items.csv": text.encode()})
    report = generate(world, tmp_path / "data", tmp_path, max_bad_share=0.1)
    assert (report["dead_letters"], report["items"]) == (2, len(items))
    lines = (tmp_path / "report" / "dead_letter" / "rows.jsonl").read_text().splitlines()
    assert {json.loads(line)["table"] for line in lines} == {"items"}
    with pytest.raises(DataError, match=r"examples\.max_bad_share allows 0\.00%"):
        generate(world, tmp_path / "data", tmp_path / "strict", max_bad_share=0.0)
    assert list((tmp_path / "strict" / "kept").glob("*.jsonl"))


def test_an_empty_table_and_a_truncated_one_are_refused(world, tmp_path):
    write_tree(tmp_path / "empty", {"items.csv": csv_of([]).encode()})
    with pytest.raises(DataError, match="items table has no rows"):
        generate(world, tmp_path / "empty", tmp_path)
    some = list(items_of(world[1]).items())[:30]
    write_tree(tmp_path / "cut", {"items.csv": csv_of(some).encode()})
    with pytest.raises(DataError, match=r"50 of the 80 served items \(62%\).*max_removed_share"):
        generate(world, tmp_path / "cut", tmp_path)
    report = generate(world, tmp_path / "cut", tmp_path / "wanted", max_removed_share=0.7)
    assert report["catalogue"]["removed"] == 50


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"items.csv": b"id,topics\n1,a\n"}, r"items\.csv:1.*item_id"),
        ({"items.parquet": b"PAR1 not really"}, "cannot be read as Parquet"),
        ({"items.csv": b"item_id,topics\n", "items.parquet": b""}, "two files for one table"),
        ({"engagements.csv": b"user_id\n"}, "no items table found"),
        ({"items.csv": b"", "items/span=2024-03-31/a.csv": b""}, "set data.layout"),
        ({"items/span=2024-03-30/a.csv": b"item_id,topics\n"}, "set data.run_date"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(world, tmp_path, files, message):
    write_tree(tmp_path / "data", files)
    with pytest.raises(DataError, match=message):
        generate(world, tmp_path / "data", tmp_path)


def test_a_span_of_items_is_that_of_the_run_date_and_of_no_other_day(world, tmp_path):
    items = list(items_of(world[1]).items())
    folder = f"items/span={DAY}"
    write_tree(
        tmp_path / "data",
        {
            f"{folder}/a.csv": csv_of(items[:40]).encode(),
            f"{folder}/b.csv": csv_of(items[40:]).encode(),
            "items/span=2024-03-30/a.csv": csv_of([("old", [])]).encode(),
        },
    )
    data = DataConfig(root=str(tmp_path / "data"), run_date=DAY)
    report = generate(world, tmp_path / "data", tmp_path, data=data)
    assert report["catalogue"]["unchanged"] and report["run_date"] == DAY.isoformat()
    later = DataConfig(root=str(tmp_path / "data"), run_date=date(2024, 4, 1))
    with pytest.raises(DataError, match=r"span 2024-04-01 of items is missing.*deliver the span"):
        generate(world, tmp_path / "data", tmp_path, data=later)


def test_the_fingerprint_follows_the_items_and_nothing_else(world, tmp_path):
    config = CatalogueGenConfig(data=DataConfig(root=str(tmp_path)))
    write_tree(tmp_path, {"items.csv": b"item_id,topics\n1,a\n"})
    first = resolve(config, {}).fingerprint
    write_tree(tmp_path, {"engagements.csv": b"user_id,item_id,timestamp,action\n"})
    assert resolve(config, {}).fingerprint == first
    write_tree(tmp_path, {"items.csv": b"item_id,topics\n1,b\n"})
    assert resolve(config, {}).fingerprint != first


def test_a_kept_index_has_the_content_that_is_published(world, tmp_path):
    root, version = world
    keep(root / "bundle", tmp_path / "index")
    content = collect_content(tmp_path / "index", root / "trained", None)
    assert content.digest == read_manifest(version).content_digest
    assert (tmp_path / "index" / "retriever" / "saved_model.pb").exists()


def test_files_that_were_added_to_a_bundle_are_no_part_of_its_index(world):
    manifest = read_manifest(world[1])
    files = manifest.files | {
        f"retriever_scann/{name}": manifest.files["index.json"]
        for name in ("saved_model.pb", "assets.extra/tf_serving_warmup_requests")
    }
    found = index_files(manifest.model_copy(update={"files": files}))
    assert found["saved_model.pb"] == "retriever/saved_model.pb"
    assert found["retriever_scann/saved_model.pb"] == "retriever_scann/saved_model.pb"
    left_out = {"evaluation.json", "validation.json", "requests.parquet", "assets.extra/warmup",
                "warm_start/weights.npz", "model_card.md",
                "retriever_scann/assets.extra/tf_serving_warmup_requests"}  # fmt: skip
    assert files.keys() - found.keys() == left_out


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"catalogue": {"unchanged": False}}, False),
        ({"config": IndexConfig(kind="exact", recall_target=0.8)}, False),
        ({"retrieval": RetrievalConfig(num_results=20, explicit_share=0.1)}, False),
        ({"code_digest": "another"}, False),
    ],
)
def test_an_index_is_kept_only_where_a_new_one_would_be_the_same(world, changed, same):
    given = {
        "catalogue": {"unchanged": True},
        "config": INDEX,
        "retrieval": RETRIEVAL,
        "code_digest": CODE,
    }
    assert same_index(world[0] / "bundle", **given | changed) is same
