"""`tessera forget`."""

import json

import pytest
from click.testing import CliRunner

from cli.forget import forget
from core.errors import ConfigError
from tests.pipeline.forget.left_behind import write_bundle, write_day


def call(*arguments):
    result = CliRunner().invoke(forget, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_user_is_removed_and_the_tables_are_named(tmp_path):
    write_bundle(tmp_path / "serving/demo", 1, ["u1", "u2"])
    write_day(tmp_path / "candidates", "2025-01-01", ["u1", "u2"])
    where = ("--serving-dir", tmp_path / "serving", "--candidates", tmp_path / "candidates")
    planned = call("--user", "u1", *where, "--dry-run", "--json")
    document = json.loads(planned.stdout)
    assert planned.exit_code == 0 and document["tables"] == ["/tables"]
    assert [row["kind"] for row in document["found"]] == ["bundle", "candidates"]
    done = call("--user", "u1", *where).stdout.splitlines()
    assert [line.split(":")[0] for line in done] == [
        "changed bundle", "changed candidates", "change yourself"
    ]  # fmt: skip
    assert call("--user", "u1", *where).stdout.startswith("the user is in none of these places")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--serving-dir", "s3://bucket/serving"), "replaced together in one step"),
        (("--work-dir", "/no/such/folder"), "no such folder"),
    ],
)
def test_other_places_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        call("--user", "u1", *arguments)


def test_a_place_must_be_said():
    assert call("--user", "u1").exit_code == 2
