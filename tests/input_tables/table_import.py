"""Runs `tessera data import table` and reads back what it wrote."""

import json

from click.testing import CliRunner

from cli.main import tessera
from tests.input_tables.public_sets import read_back


def call(*given):
    """Returns (exit code, everything that was said)."""
    arguments = ["data", "import", "table", *(str(each) for each in given)]
    result = CliRunner().invoke(tessera, arguments)
    if result.exception is None or isinstance(result.exception, SystemExit):
        return result.exit_code, result.output
    return getattr(result.exception, "exit_code", repr(result.exception)), str(result.exception)


def accepted(out, *given):
    """Returns (what was said, source.json, {table: rows}); all counts add up."""
    code, said = call(*given, "--out", out)
    assert code == 0, said
    told = json.loads((out / "source.json").read_text())
    tables = read_back(out, told["time_unit"])
    for name, counts in told["tables"].items():
        assert_adds_up(counts)
        assert counts["written"] == len(tables[name]) == told[name]
    return said, told, tables


def assert_adds_up(counts):
    used = counts["written"] + counts["refused"] + counts["left_out"] + counts["merged"]
    assert counts["read"] + counts["added"] == used
    assert counts["read"] <= counts["lines"]
    assert sum(counts["reasons"].values()) == counts["refused"]


def refused(out, *given, told=()):
    code, said = call(*given, "--out", out)
    assert code == 2, said
    for words in (told,) if isinstance(told, str) else told:
        assert words in said
    assert not out.exists()
