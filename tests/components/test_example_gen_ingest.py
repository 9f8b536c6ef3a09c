"""Tables to example files, through Beam."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.example_gen import window
from components.example_gen.columns import EXAMPLE_SCHEMA
from core.errors import ConfigError, DataError
from tests.components.example_gen_oracle import DAY, Event, Follow, Rules, examples
from tests.components.example_gen_tables import (
    config_for,
    files_of,
    ingest,
    rows_of,
    write_csv,
    write_tables,
)
from trainer import features

ODD = ["007", "7", "a,b", 'quo"te', "new\nline", "😀", "x" * 9 * 100]
ITEMS = {
    **{f"i{k}": [f"t{k % 5}", f"t{k % 3 + 5}"] for k in range(20)},
    **{name: ["t0"] for name in ODD},
    "plain": [],
    "unused": ["only here"],
}


def log(rows: int = 400, seed: int = 1) -> list[Event]:
    """Events of 15 users: one owns a third of the log, one item half of it."""
    chance = random.Random(seed)
    users = ["hot"] * 7 + [f"u{k}" for k in range(8)] + ODD[:6]
    items = ["i0"] * len(ITEMS) + [*ITEMS, "not in the catalogue"]
    return [
        Event(
            chance.choice(users),
            chance.choice(items),
            chance.randrange(60),
            chance.choice(["click", "like", "hide"]),
            chance.choice([None, "home"]),
            chance.choice([None, None, "t1"]),
        )
        for _ in range(rows)
    ]


FOLLOWS = [
    Follow("hot", "t0", 5),
    Follow("hot", "t7", 10, 20),
    Follow("u1", "t1"),
    Follow("u1", "never an item's topic", 3),
    Follow("only follows", "t1", 1),
    *[Follow("u2", f"t{k}", k) for k in range(8)],
]
RULES = Rules(history_max=6, follows_max=4, negative=("hide",), repeats="keep")


@pytest.mark.fault(19)
@pytest.mark.parametrize("bucket_rows", [10_000, 100])
def test_equals_the_naive_join_whatever_the_number_of_buckets(
    tmp_path: Path, bucket_rows: int
) -> None:
    root = write_tables(tmp_path / "data", log(), ITEMS, FOLLOWS)
    report = ingest(config_for(root, RULES, bucket_rows=bucket_rows), tmp_path)
    wanted = examples(log(), FOLLOWS, ITEMS, RULES)
    for split, rows in wanted.items():
        assert Counter(map(repr, rows_of(tmp_path, split))) == Counter(
            repr({name: row[name] for name in features.RAW_FEATURES}) for row in rows
        )
        assert report["examples"][split] == len(rows)
    assert report["users"] == 15
    assert report["events"]["total"] == 400
    assert report["dropped"]["target_not_in_catalogue"] > 0
    assert report["source_topic"]["derived"] > 0
    files = list((tmp_path / "examples").rglob("*"))
    files += list((tmp_path / "report").rglob("*"))
    assert not [path for path in files if path.name.startswith(".")]


def test_every_file_has_the_same_schema_and_every_split_a_file(tmp_path: Path) -> None:
    root = write_tables(tmp_path / "data", log(5), ITEMS)
    ingest(config_for(root, RULES, bucket_rows=100), tmp_path)
    assert {path.split("/")[1] for path in files_of(tmp_path)} == {
        f"Split-{split}" for split in features.SPLITS
    }
    for path in files_of(tmp_path):
        assert pq.read_schema(tmp_path / path).equals(EXAMPLE_SCHEMA)


def test_shuffled_rows_give_the_same_bytes(tmp_path: Path) -> None:
    events, follows, items = log(), list(FOLLOWS), list(ITEMS.items())
    root = write_tables(tmp_path / "data", events, ITEMS, follows)
    first = ingest(config_for(root, RULES, bucket_rows=100), tmp_path / "a")
    for rows in (events, follows, items):
        random.Random(2).shuffle(rows)
    root = write_tables(tmp_path / "data2", events, dict(items), follows)
    second = ingest(config_for(root, RULES, bucket_rows=100), tmp_path / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert first["fingerprint"] != second["fingerprint"]
    assert first | {"fingerprint": ""} == second | {"fingerprint": ""}


def test_corpus_holds_every_item_once(tmp_path: Path) -> None:
    root = write_tables(tmp_path / "data", log(20), ITEMS)
    report = ingest(config_for(root, RULES, bucket_rows=100), tmp_path)
    rows = rows_of(tmp_path, "corpus")
    assert {row["item_id"][0]: row["item_topics"] for row in rows} == ITEMS
    assert len(rows) == report["items"] == len(ITEMS)
    assert all(row["timestamp"] == [0] and row["user_id"] == [""] for row in rows)
    assert all(row["history_item_id"] == row["action"] == [] for row in rows)


def test_duplicate_items_become_dead_letters(tmp_path: Path) -> None:
    root = write_tables(tmp_path / "data", log(20), ITEMS)
    with open(root / "items.csv", "a", encoding="utf-8") as file:
        file.write("i1,t1|t2|t3\r\ni1,\r\n")
    report = ingest(config_for(root, RULES, max_bad_share=0.5), tmp_path)
    found = {row["item_id"][0]: row["item_topics"] for row in rows_of(tmp_path, "corpus")}
    assert found["i1"] == ["t1", "t2", "t3"]
    assert report["dead_letter_reasons"] == {"duplicate item_id": 2}
    lines = [
        json.loads(line)
        for path in (tmp_path / "report" / "dead_letter").iterdir()
        for line in path.read_text().splitlines()
    ]
    assert sorted(letter["row"] for letter in lines) == [3, len(ITEMS) + 3]
    assert {letter["table"] for letter in lines} == {"items"}


def _spoil(root: Path, bad: int) -> None:
    with open(root / "engagements.csv", "ab") as file:
        for number in range(bad):
            file.write(b"u1,i1\r\n" if number % 2 else b"u\xff1,i1,1,like,,\r\n")


@pytest.mark.fault(8)
def test_a_thousandth_of_bad_rows_passes_and_is_reported(tmp_path: Path) -> None:
    root = write_tables(tmp_path / "data", log(1_998), ITEMS)
    _spoil(root, 2)
    report = ingest(config_for(root, RULES), tmp_path)
    assert report["tables"]["engagements"]["rows"] == 2_000
    assert report["dead_letters"] == 2
    assert sum(report["dead_letter_reasons"].values()) == 2
    lines = [
        json.loads(line)
        for path in (tmp_path / "report" / "dead_letter").iterdir()
        for line in path.read_text().splitlines()
    ]
    assert sorted(letter["row"] for letter in lines) == [2_000, 2_001]
    assert all(letter["file"].endswith("engagements.csv") for letter in lines)


@pytest.mark.fault(8)
def test_a_twentieth_of_bad_rows_stops_the_run_and_keeps_them(tmp_path: Path) -> None:
    root = write_tables(tmp_path / "data", log(380), ITEMS)
    _spoil(root, 20)
    with pytest.raises(DataError) as caught:
        ingest(config_for(root, RULES), tmp_path)
    message = str(caught.value)
    assert "20 of 400 rows (5.00%)" in message
    assert "1.00%" in message
    assert str(tmp_path / "kept") in message
    assert message.count("engagements.csv:") == 3
    kept = [line for p in (tmp_path / "kept").iterdir() for line in p.read_text().splitlines()]
    assert len(kept) == 20


def test_header_only_tables_are_refused(tmp_path: Path) -> None:
    root = write_tables(tmp_path / "data", [], {})
    with pytest.raises(DataError, match="engagements: no rows under the header"):
        ingest(config_for(root), tmp_path)


def test_days_of_tables_without_time_are_refused(tmp_path: Path) -> None:
    root = write_tables(tmp_path / "data", log(5), ITEMS)
    with pytest.raises(ConfigError, match="leave_last_two_out"):
        ingest(config_for(root, Rules(strategy="time")), tmp_path)


def test_no_follows_table_is_fine(tmp_path: Path) -> None:
    root = write_tables(tmp_path / "data", log(50), ITEMS, follows=None)
    ingest(config_for(root, RULES), tmp_path)
    assert all(row["followed_topic"] == [] for row in rows_of(tmp_path, "train"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a table", b"a,b\n1,2\n"])
def test_a_file_without_the_contract_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    root = write_tables(tmp_path / "data", log(5), ITEMS)
    (root / "items.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"items\.csv"):
        ingest(config_for(root), tmp_path)


def test_a_truncated_file_is_a_data_error(tmp_path: Path) -> None:
    root = write_tables(tmp_path / "data", log(4_000), ITEMS)
    whole = gzip.compress((root / "engagements.csv").read_bytes())
    (root / "engagements.csv").unlink()
    (root / "engagements.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"engagements\.csv\.gz"):
        ingest(config_for(root), tmp_path)


@pytest.mark.fault(25)
def test_a_read_only_input_folder_is_enough(tmp_path: Path) -> None:
    root = write_tables(tmp_path / "data", log(50), ITEMS)
    before = sorted(os.listdir(root))
    for path in root.iterdir():
        path.chmod(0o444)
    root.chmod(0o555)
    try:
        ingest(config_for(root, RULES), tmp_path)
        assert sorted(os.listdir(root)) == before
    finally:
        root.chmod(0o755)


def _span(root: Path, table: str, day: int, rows: list[tuple]) -> None:
    write_csv(root / table / f"span=2024-01-{day:02d}" / "part-0.csv", table, rows)


def _spans(root: Path, days: range) -> Path:
    start = 1_704_067_200  # 2024-01-01
    for day in days:
        noon = start + (day - 1) * DAY + DAY // 2
        events = [Event(f"u{k}", f"i{(k + day) % 7}", noon + k, "like") for k in range(5)]
        _span(root, "engagements", day, events)
        _span(root, "items", day, [(f"i{k}", "t") for k in range(7)])
        _span(root, "follows", day, [("u1", "t", noon, None)])
    return root


def _span_config(root: Path, day: int, days: int = 3):
    rules = Rules(strategy="time", repeats="keep")
    data = {"root": str(root), "run_date": f"2024-01-{day:02d}", "window_days": days}
    return config_for(root, rules, data=data, time_unit="seconds")


def test_a_window_of_spans_ends_with_the_run_date(tmp_path: Path) -> None:
    root = _spans(tmp_path / "data", range(1, 6))
    report = ingest(_span_config(root, 4), tmp_path)
    assert report["window"] == {"first": "2024-01-02", "last": "2024-01-04"}
    assert {s: report["examples"][s] for s in ("train", "validation", "eval")} == {
        "train": 5,
        "validation": 5,
        "eval": 5,
    }
    assert {row["timestamp"][0] // DAY - 19_723 for row in rows_of(tmp_path, "eval")} == {3}


def test_periods_become_longer_until_they_hold_their_share(tmp_path: Path) -> None:
    root = _spans(tmp_path / "data", range(1, 6))
    config = _span_config(root, 4, days=4)
    longer = config.split.model_copy(update={"min_share": 0.25, "eval_days": 0.1})
    report = ingest(config.model_copy(update={"split": longer}), tmp_path)
    assert [report["examples"][s] for s in ("train", "validation", "eval")] == [10, 5, 5]
    assert report["period_days"] == {"eval": 0.5, "validation": 1}
    assert {row["timestamp"][0] // DAY - 19_723 for row in rows_of(tmp_path, "eval")} == {3}


@pytest.mark.fault(9)
def test_a_missing_span_is_never_replaced(tmp_path: Path) -> None:
    root = _spans(tmp_path / "data", range(1, 4))
    with pytest.raises(DataError, match="2024-01-04"):
        window.resolve(_span_config(root, 4), {})


@pytest.mark.fault(10)
def test_the_same_span_delivered_again_has_the_same_fingerprint(tmp_path: Path) -> None:
    root = _spans(tmp_path / "data", range(1, 4))
    config = _span_config(root, 3)
    first = window.resolve(config, {})
    delivered = root / "engagements" / "span=2024-01-02"
    (delivered / "part-0.csv").rename(delivered / "again.csv")
    os.utime(delivered / "again.csv", (1, 1))
    assert window.resolve(config, {}).fingerprint == first.fingerprint
    _span(root, "engagements", 2, [("late", "i1", 1_704_153_600, "like", None, None)])
    assert window.resolve(config, {}).fingerprint != first.fingerprint
    assert first.span == 19_725
