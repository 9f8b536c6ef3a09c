"""Tiny tables that tests write by hand, with nothing of the code under test."""

import csv
import io
from pathlib import Path

HEADERS = {
    "engagements": ["user_id", "item_id", "timestamp", "action"],
    "items": ["item_id", "topics"],
    "follows": ["user_id", "topic", "timestamp"],
}
ROWS = {
    "engagements": [["u1", "i1", "1600000100", "click"], ["u2", "i2", "1600000200", "save"]],
    "items": [["i1", "a|b"], ["i2", ""]],
    "follows": [["u1", "a", "1600000050"], ["u2", "b", ""]],
}


def csv_bytes(header, rows):
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode()


def table_bytes(table):
    return csv_bytes(HEADERS[table], ROWS[table])


def write_single(root: Path):
    root.mkdir(parents=True, exist_ok=True)
    for table in HEADERS:
        (root / f"{table}.csv").write_bytes(table_bytes(table))
    return root


def write_spans(root: Path, days, run_date):
    for day in days:
        put(root / "engagements" / f"span={day}" / "part-0.csv", table_bytes("engagements"))
    for table in ("items", "follows"):
        put(root / table / f"span={run_date}" / "part-0.csv", table_bytes(table))
    return root


def put(path: Path, data: bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
