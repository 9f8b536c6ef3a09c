"""The measurement of a refresh holds out what it says it holds out."""

import pyarrow.parquet as pq

from benchmarks.refresh import KS, RefreshLoad, table, write_tables

LOAD = RefreshLoad(users=40, items=60, topics=8, engagements=800, held_out=0.25)


def test_held_out_items_are_in_no_table_of_the_training(tmp_path):
    held_out = write_tables(LOAD, tmp_path)
    assert len(held_out) == 15
    for name in ("items", "engagements"):
        full = pq.read_table(tmp_path / "full" / f"{name}.parquet")["item_id"].to_pylist()
        known = pq.read_table(tmp_path / "known" / f"{name}.parquet")["item_id"].to_pylist()
        assert known == [item for item in full if item not in held_out]
        assert len(known) < len(full)
    follows = [(tmp_path / k / "follows.parquet").read_bytes() for k in ("full", "known")]
    assert follows[0] == follows[1]


def test_the_same_seed_holds_out_the_same_items(tmp_path):
    first = write_tables(LOAD, tmp_path / "a")
    assert write_tables(LOAD, tmp_path / "b") == first


def test_the_table_has_a_row_per_version_and_kind_and_what_chance_gives():
    recall = {f"recall@{k}": k / 1000 for k in KS}
    figures = {kind: {"requests": 1234, **recall} for kind in ("known", "unseen")}
    text = table({"trained": {"items": 900, **figures}, "refreshed": {"items": 1000, **figures}})
    assert len(text.splitlines()) == 2 + 4 + 1
    assert "| refreshed | unseen | 1,234 | 0.0100 | 0.0500 | 0.1000 |" in text
    assert "| by chance | any | | 0.0100 | 0.0500 | 0.1000 |" in text
