"""Columns of the items table that requests filter by: from the table to the served answer."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.config import IndexConfig
from components.example_gen.attributes import read_attributes
from components.index_builder.attributes import attributes_table, filter_attributes
from components.index_builder.build import IndexPaths, build_index
from components.index_builder.catalogue import Catalogue
from components.refresh.catalogue_gen.config import CatalogueGenConfig
from components.refresh.catalogue_gen.generate import CataloguePaths, read_catalogue
from components.refresh.catalogue_gen.window import resolve
from core.errors import DataError
from core.files import write_json
from input_tables.config import DataConfig
from tests.components.bundle_fixtures import write_tree
from tests.components.example_gen_oracle import Event
from tests.components.example_gen_tables import config_for, ingest, write_tables
from tests.components.refresh_world import items_of, publish_world
from tests.trainer.retrieval.fake_model import request
from trainer.config import RetrievalConfig
from trainer.retrieval.signature import bind

RETRIEVAL = RetrievalConfig(
    num_results=20, filters=("topics", "created_at", "region", "price:number", "item_id")
)
NAMES = RETRIEVAL.attribute_columns()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A published bundle without filters and what a BundleSource hands on of it."""
    root = tmp_path_factory.mktemp("world")
    version = publish_world(root)
    kept = [path for path in version.iterdir() if path.is_file()]
    write_tree(root / "bundle", {path.name: path.read_bytes() for path in kept})
    write_json(root / "bundle" / "source.json", {"version": 1, "path": str(version)})
    return root, version


def rows(world):
    """The served items, every second one in `de`, the first ten without a price."""
    return [
        (item, "|".join(topics), 1000 + n, "de" if n % 2 else "at", "" if n < 10 else f"{n}.5")
        for n, (item, topics) in enumerate(items_of(world[1]).items())
    ]


def csv_of(table):
    head = "item_id,topics,created_at,region,price,colour\n"
    return (head + "".join(",".join(map(str, row)) + ",red\n" for row in table)).encode()


def generate(world, root, out, names=NAMES):
    data = DataConfig(root=str(root))
    config = CatalogueGenConfig(data=data, time_unit="order", attributes=names)
    paths = CataloguePaths(world[0] / "bundle", out / "examples", out / "report", out / "kept")
    return read_catalogue(config, resolve(config, {}), paths)["catalogue"]


def build(world, out):
    paths = IndexPaths(str(world[0] / "model"), str(out / "examples"), str(out / "index"))
    build_index(paths, IndexConfig(kind="exact"), RETRIEVAL)
    return out / "index"


@pytest.fixture(scope="module")
def index(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("refreshed")
    write_tree(out / "data", {"items.csv": csv_of(rows(world)[::-1])})
    assert not generate(world, out / "data", out)["unchanged"]  # the bundle has no filters yet
    return build(world, out)


def test_the_index_holds_the_columns_in_the_order_of_its_items(world, index):
    table = pq.read_table(index / "item_attributes.parquet")
    assert table.column_names == ["item_id", *NAMES]
    found = [tuple(row.values()) for row in table.to_pylist()]
    wanted = {row[0]: row[2:] for row in rows(world)}
    assert [item.decode() for item, *_ in found] == list(items_of(index))
    for item, *values in found:
        texts = tuple("" if value is None else value.decode() for value in values)
        assert texts == tuple(map(str, wanted[item.decode()]))


def test_the_served_answer_holds_the_items_that_fit(world, index):
    model = tf.saved_model.load(str(index / "retriever"))
    conditions = tf.constant([[b"region=de", b"created_at<=1040", b"price>=20"]])
    got = bind(model, "retrieve_filtered")(**request([["i3"]], [[]]), filter=conditions)
    wanted = {
        item.encode()
        for item, _, created, region, price in rows(world)
        if region == "de" and created <= 1040 and price and float(price) >= 20
    }
    assert {item for item in got["item_id"].numpy().ravel() if item} == wanted
    assert len(wanted) == int(got["count"][0])


def test_a_refresh_notices_other_attributes_and_nothing_else(world, index, tmp_path):
    write_tree(tmp_path / "data", {"items.csv": csv_of(rows(world))})
    served = world[0] / "bundle" / "item_attributes.parquet"
    served.write_bytes((index / "item_attributes.parquet").read_bytes())
    try:
        assert generate(world, tmp_path / "data", tmp_path)["unchanged"]
        assert not generate(world, tmp_path / "data", tmp_path, ())["unchanged"]
        moved = [(*row[:3], "fr", row[4]) if row[0] == "i7" else row for row in rows(world)]
        write_tree(tmp_path / "data", {"items.csv": csv_of(moved)})
        found = generate(world, tmp_path / "data", tmp_path)
        assert (found["unchanged"], found["added"], found["topics_changed"]) == (False, 0, 0)
    finally:
        served.unlink()


@pytest.mark.parametrize("buckets", [1, 3])
def test_columns_travel_through_the_join(tmp_path, buckets, monkeypatch):
    monkeypatch.setattr(
        "components.example_gen.ingest.bucket_numbers", lambda *_: (buckets, buckets)
    )
    items = {f"i{n}": ["t"] for n in range(20)}
    write_tables(tmp_path / "data", [Event("u", f"i{n}", n, "click") for n in range(20)], items)
    table = pa.table(
        {
            "item_id": list(items),
            "topics": list(items.values()),
            "created_at": list(range(20)),
            "available": [n % 3 == 0 if n else None for n in range(20)],
            "price": [n / 4 for n in range(20)],
        }
    )
    (tmp_path / "data" / "items.csv").unlink()
    pq.write_table(table, tmp_path / "data" / "items.parquet")
    names = ("price", "created_at", "available")
    ingest(config_for(tmp_path / "data", attributes=names), tmp_path)
    rows_ = read_attributes(str(tmp_path / "examples"), names).to_pylist()
    found = {row["item_id"]: row for row in rows_}
    assert found[b"i9"] == {
        "item_id": b"i9", "price": b"2.25", "created_at": b"9", "available": b"true"
    }  # fmt: skip
    assert found[b"i0"]["available"] is None
    assert len(found) == 20
    catalogue = Catalogue([b"i9", b"i0"], [[b"t"], []], None)
    retrieval = RetrievalConfig(filters=("price:number", "created_at", "available"))
    made = filter_attributes(
        attributes_table(str(tmp_path / "examples"), catalogue, retrieval), catalogue, retrieval
    )
    assert made.texts == {"available": [[b"true"], []]}
    assert {name: list(values) for name, values in made.numbers.items()} == {
        "price": [2.25, 0.0], "created_at": [9.0, 0.0]
    }  # fmt: skip


def test_a_column_that_is_missing_is_named_before_anything_is_read(tmp_path, world):
    write_tree(tmp_path / "data", {"items.csv": b"item_id,topics\ni1,t\n"})
    with pytest.raises(DataError, match=r"items\.csv:1: required column 'region' is missing"):
        generate(world, tmp_path / "data", tmp_path, ("region",))


def test_a_number_that_is_none_is_named_with_its_item(tmp_path, world):
    broken = [(*row[:4], "cheap") if row[0] == "i7" else row for row in rows(world)]
    write_tree(tmp_path / "data", {"items.csv": csv_of(broken)})
    generate(world, tmp_path / "data", tmp_path)
    with pytest.raises(DataError, match="'cheap' of item 'i7'"):
        build(world, tmp_path)


def test_examples_of_another_configuration_are_refused(tmp_path):
    with pytest.raises(DataError, match="region"):
        read_attributes(str(tmp_path), ("region",))


def test_the_index_says_what_requests_may_filter_by(index):
    described = json.loads((index / "index.json").read_text())
    assert RetrievalConfig.model_validate(described["retrieval"]) == RETRIEVAL


@pytest.mark.parametrize("filters", [["title"], ["topics:number"], ["a b"], ["x", "x:number"]])
def test_filters_that_make_no_sense_are_refused(filters):
    with pytest.raises(ValueError, match="filters"):
        RetrievalConfig(filters=filters)
