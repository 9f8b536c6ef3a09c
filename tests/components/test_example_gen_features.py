"""Features of items in the corpus, of users in every example; a refresh reads those of items."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.example_gen.columns import FEATURED_SCHEMA
from components.examples_io import read_split
from components.requests import user_request
from core.feature_config import FeaturesConfig
from tests.components.example_gen_oracle import Event
from tests.components.example_gen_tables import config_for, ingest, rows_of, write_tables
from trainer import features

FURTHER = FeaturesConfig(
    items={
        "studio": "category",
        "tags": {"kind": "list", "separator": ";"},
        "year": {"kind": "number", "column": "title", "pattern": r"\((\d{4})\)"},
    },
    users={"age": "number", "region": "category"},
)
ITEMS = """item_id,topics,studio,tags,title
i0,t0,A,x;y;x,Heat (1995)
i1,t1,,z,Nothing
i2,,B,,(2001) Two
i2,t2,C,,Two rows
i3,t0,,,
"""
USERS = """user_id,age,region
u0,30,north
u1,,south
u1,41,south
u2,,
nobody,50,north
"""


@pytest.fixture(scope="module", params=[200_000, 4])
def out(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("featured")
    events = [Event(f"u{n % 4}", f"i{n % 3}", n, "click", None, None) for n in range(24)]
    root = write_tables(folder / "data", events, {})
    (root / "items.csv").write_text(ITEMS)
    (root / "users.csv").write_text(USERS)
    rules = {"bucket_rows": request.param, "repeat_targets": "keep", "max_bad_share": 0.5}
    ingest(config_for(root, features=FURTHER, **rules), folder)
    return folder


def test_the_corpus_holds_what_is_known_of_each_item(out: Path) -> None:
    found = {r["item_id"][0]: r[features.ITEM_VALUES] for r in rows_of(out, "corpus")}
    assert found == {
        "i0": ["studio=A", "tags=x", "tags=y", "year=1995"],
        "i1": ["tags=z"],
        "i2": ["studio=C"],
        "i3": [],
    }
    assert all(not row[features.USER_VALUES] for row in rows_of(out, "corpus"))


def test_examples_hold_what_is_known_of_their_user(out: Path) -> None:
    rows = [row for split in ("train", "validation", "eval") for row in rows_of(out, split)]
    assert len(rows) == 24
    wanted = {
        "u0": ["age=30", "region=north"],
        "u1": ["age=41", "region=south"],
        "u2": [],
        "u3": [],
    }
    assert all(row[features.USER_VALUES] == wanted[row["user_id"][0]] for row in rows)
    assert all(not row[features.ITEM_VALUES] for row in rows)


def test_every_split_has_the_columns_and_requests_take_them(out: Path) -> None:
    for split in features.SPLITS:
        for batch in read_split(str(out / "examples"), split):
            assert batch.schema.equals(FEATURED_SCHEMA)
    batch = next(read_split(str(out / "examples"), "train"))
    given = user_request(batch)[features.USER_VALUES]
    assert {text for text in given.ravel() if text} <= {
        b"age=30",
        b"age=41",
        b"region=north",
        b"region=south",
    }


def test_columns_of_features_may_be_missing_where_others_may_not(tmp_path: Path) -> None:
    root = write_tables(tmp_path / "data", [Event("u", "i", 1, "click", None, None)], {"i": ["t"]})
    ingest(config_for(root), tmp_path)
    columns = ["item_id", features.ITEM_VALUES]
    batch = next(read_split(str(tmp_path / "examples"), "corpus", columns))
    assert batch.schema.names == ["item_id"]
