"""The step refuses what `tessera data check` refuses, in the same words."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import pytest

from components.config import ExampleGenConfig
from components.example_gen.ingest import ingest
from components.example_gen.window import resolve
from core.errors import DataError
from input_tables.checking import check_tables
from input_tables.config import DataConfig
from tests.input_tables.field import START, changed, good, write
from tests.markers import nightly

CASES = {
    "times": changed("engagements", "timestamp", lambda value, _: str(int(value) // 86_400)),
    "log": changed("engagements", "item_id", lambda value, _: f" {value}"),
    "follows": changed("follows", "user_id", lambda value, _: f"{value}.0"),
    "topics": changed("items", "topics", lambda value, _: value.replace("|", ";")),
    "late": changed(
        "engagements", "timestamp", lambda value, n: str(int(value) - (n != 5) * 300_000_000)
    ),
    "no items": good() | {"items": []},
    "no log": good() | {"engagements": []},
}


BY_DAY = ("log", "late", "no items")


def run(config: ExampleGenConfig, out: Path) -> dict:
    return ingest(
        config,
        resolve(config, {}),
        examples_uri=str(out / "examples"),
        report_uri=str(out / "report"),
        dead_letter_dir=str(out / "kept"),
        make_pipeline=lambda: beam.Pipeline(
            argv=["--runner=FnApiRunner", "--sdk_container_image=none"]
        ),
    )


def config_of(root: Path, **examples: object) -> ExampleGenConfig:
    return ExampleGenConfig(data=DataConfig(root=str(root)), **examples)


@pytest.mark.parametrize("case", [*BY_DAY, *nightly(*sorted(CASES.keys() - set(BY_DAY)))])
def test_check_and_step_refuse_in_the_same_words(tmp_path: Path, case: str) -> None:
    config = config_of(write(tmp_path / "data", CASES[case]), negative_actions=("hide",))
    checked = check_tables(config.data, config.rules(config.data))
    assert checked["errors"]
    with pytest.raises(DataError) as caught:
        run(config, tmp_path)
    assert str(caught.value).split("\n  ")[1:] == checked["errors"]


def test_facts_and_warnings_are_those_of_the_check(tmp_path: Path) -> None:
    tables = changed("follows", "user_id", lambda value, n: value.upper() if n == 0 else value)
    config = config_of(write(tmp_path / "data", tables))
    checked = check_tables(config.data, config.rules(config.data))
    report = run(config, tmp_path)
    assert report["facts"] == checked["facts"]
    assert report["warnings"] == checked["warnings"] != []
    assert report["tables"]["items"]["lines"] == checked["tables"]["items"]["lines"] == 121
    assert report["facts"]["timestamps"][0] == START
