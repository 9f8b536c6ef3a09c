"""A small good data root that field tests damage in one way each."""

import csv
import gzip
import io
from pathlib import Path

from click.testing import CliRunner

from cli.main import tessera

START = 1_718_000_000  # June 2024
HEADERS = {
    "engagements": ["user_id", "item_id", "timestamp", "action"],
    "items": ["item_id", "topics", "title"],
    "follows": ["user_id", "topic", "timestamp"],
}
TOPICS = [f"topic{n}" for n in range(12)]


def good():
    """Returns {table: rows}: 40 users, 120 items, 800 engagements over 20 days."""
    items = [
        [f"i{n:03d}", f"{TOPICS[n % 12]}|{TOPICS[(n * 5 + 1) % 12]}", f"Title {n}"]
        for n in range(120)
    ]
    engagements = [
        [f"u{n % 40:02d}", f"i{n * 7 % 120:03d}", str(START + n * 2_160), "click"]
        for n in range(800)
    ]
    for row in engagements[::10]:
        row[3] = "hide"
    follows = [[f"u{n % 40:02d}", TOPICS[n % 12], str(START - 50_000)] for n in range(60)]
    return {"engagements": engagements, "items": items, "follows": follows}


def text_of(header, rows, quoting=csv.QUOTE_MINIMAL):
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n", quoting=quoting)
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def write(root: Path, tables=None, **texts):
    """Writes good tables, or `tables`; `texts` replaces the whole text of a table (None: none)."""
    root.mkdir(parents=True, exist_ok=True)
    for table, rows in (tables or good()).items():
        text = texts.get(table, text_of(HEADERS[table], rows))
        if text is not None:
            content = text if isinstance(text, bytes) else text.encode()
            (root / f"{table}.csv").write_bytes(content)
    return root


def changed(table, column, change):
    """Returns good tables in which one column has gone through a function."""
    tables = good()
    place = HEADERS[table].index(column)
    for number, row in enumerate(tables[table]):
        row[place] = change(row[place], number)
    return tables


def lines(table):
    """Returns the good table as lines of CSV, header first."""
    return text_of(HEADERS[table], good()[table]).splitlines()


def check(root, *options):
    """Returns (exit code, all that `tessera data check` says)."""
    return told("data", "check", "--root", root, *options)


def dry_run(root, tmp_path, **examples):
    """Returns (exit code, all that `tessera run --dry-run` says)."""
    conf = tmp_path / "run.yaml"
    setting = "".join(f"  {key}: {value}\n" for key, value in examples.items())
    examples_text = f"examples:\n{setting}" if examples else ""
    conf.write_text(f"name: field\ndata:\n  root: {root}\n{examples_text}")
    return told("run", "--conf", conf, "--dry-run")


def told(*arguments):
    result = CliRunner().invoke(tessera, [str(argument) for argument in arguments])
    error = result.exception
    said = "" if error is None or isinstance(error, SystemExit) else str(error)
    code = getattr(error, "exit_code", result.exit_code)
    assert error is None or hasattr(error, "exit_code") or isinstance(error, SystemExit), error
    return code, f"{result.output}\n{said}"


def gzipped(text):
    return gzip.compress(text.encode())


def refused(root, *words, options=()):
    code, said = check(root, *options)
    assert code == 2, said
    for word in words:
        assert word in said, f"{word!r} is not in: {said}"
    return said


def passes(root, *words, options=()):
    code, said = check(root, *options)
    assert code == 0, said
    for word in words:
        assert word in said, f"{word!r} is not in: {said}"
    return said
