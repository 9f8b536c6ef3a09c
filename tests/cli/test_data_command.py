import json
import shlex
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import tessera
from core.errors import ConfigError, DataError
from tests.input_tables.tiny import put, write_single, write_spans


def call(*arguments):
    return CliRunner().invoke(tessera, ["data", *(str(a) for a in arguments)])


def answer(*arguments):
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


SIZES = ("--users", 50, "--items", 100, "--topics", 10, "--days", 3, "--engagements", 500)


def test_generate_then_check(tmp_path):
    out = tmp_path / "demo"
    made = answer("generate", "--out", out, *SIZES)
    checked = answer("check", "--root", out)
    assert checked["passed"] and checked["bad"] == 0
    assert checked["tables"]["engagements"]["rows"] == made["engagements"]
    assert checked["facts"]["engagements whose item is in the catalogue"] == 1.0


def test_generate_spans_ending_on_a_date_then_check(tmp_path):
    out = tmp_path / "demo"
    answer("generate", "--out", out, *SIZES, "--layout", "spans", "--end-date", "2024-02-29")
    day = ("--run-date", "2024-02-29", "--window-days", 3)
    checked = answer("check", "--root", out, *day)
    assert checked["window"] == ["2024-02-27", "2024-02-29"]
    assert checked["tables"]["engagements"]["files"] == 3


def test_generate_says_what_it_made(tmp_path):
    result = call("generate", "--out", tmp_path / "demo", *SIZES)
    assert "engagements of 50 users with 100 items" in result.output


def test_generate_makes_long_histories_and_further_streams(tmp_path):
    bounds = ("--user-events-min", 20, "--user-events-max", 30)
    made = answer("generate", "--out", tmp_path / "long", *SIZES, *bounds)
    assert 50 * 10 < made["engagements"] <= 50 * 30
    streams = ("--view-share", 1.0, "--search-share", 0.2)
    more = answer("generate", "--out", tmp_path / "more", *SIZES, *bounds, *streams)
    assert more["engagements"] > 1.3 * made["engagements"]


def test_generate_refuses_bounds_that_contradict_each_other(tmp_path):
    bounds = ("--user-events-min", 31, "--user-events-max", 30)
    result = call("generate", "--out", tmp_path / "x", *SIZES, *bounds)
    assert result.exit_code == 2
    assert "user-events-min must not exceed user-events-max" in result.output
    assert not (tmp_path / "x").exists()


def test_generate_does_not_overwrite(tmp_path):
    put(tmp_path / "x", b"")
    result = call("generate", "--out", tmp_path, *SIZES)
    assert isinstance(result.exception, ConfigError) and result.exception.exit_code == 2


def test_import_and_its_list(tmp_path):
    put(tmp_path / "s/ratings.dat", b"1::2::3::964982703\n")
    put(tmp_path / "s/movies.dat", b"2::T::Drama\n")
    result = call("import", "movielens", tmp_path / "s", "--out", tmp_path / "o")
    assert "1 engagements of 1 users with 1 items, no follows" in result.output
    assert "zhihurec" in call("import", "--list").output


def test_check_shows_reasons_and_fails(tmp_path):
    write_single(tmp_path)
    with (tmp_path / "engagements.csv").open("ab") as stream:
        stream.write(b"u3,i1,-7,click\n")
    result = call("check", "--root", tmp_path)
    assert isinstance(result.exception, DataError) and result.exception.exit_code == 2
    assert "1 x engagements: timestamp is negative" in result.output
    assert "engagements.csv:4: timestamp is negative: 'u3,i1,-7,click'" in result.output
    allowed = call("check", "--root", tmp_path, "--max-bad-share", "0.5")
    assert allowed.exit_code == 0


def test_check_of_header_only_tables_fails(tmp_path):
    for name, header in (("engagements", b"user_id,item_id,timestamp,action\n"),):
        put(tmp_path / f"{name}.csv", header)
    put(tmp_path / "items.csv", b"item_id,topics\n")
    assert isinstance(call("check", "--root", tmp_path).exception, DataError)


def test_check_of_spans_needs_a_run_date(tmp_path):
    write_spans(tmp_path, ["2024-05-03"], "2024-05-03")
    assert "run date" in str(call("check", "--root", tmp_path).exception)
    assert call("check", "--root", tmp_path, "--layout", "spans").exit_code == 2


@pytest.mark.parametrize("command", ["generate", "import", "check"])
def test_help_shows_an_example(command):
    assert f"tessera data {command}" in call(command, "--help").output


def test_the_commands_of_the_guide_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("ml-1m.zip", "w") as archive:
        archive.writestr("ml-1m/ratings.dat", "1::2::3::964982703\n")
        archive.writestr("ml-1m/movies.dat", "2::T::Drama\n")
    guide = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    lines = guide.replace("\\\n", " ").splitlines()
    # Those of `import table` run in tests/input_tables/test_importers_table_guide.py.
    commands = [
        line
        for line in lines
        if line.startswith("tessera data ") and not line.startswith("tessera data import table")
    ]
    assert len(commands) >= 8
    for command in commands:
        result = call(*shlex.split(command)[2:])
        assert result.exit_code == 0, f"{command}: {result.output} {result.exception}"
