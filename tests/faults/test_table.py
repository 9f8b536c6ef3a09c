"""The table of faults in the documentation names tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (\d+) \|(.*)\|(.*)\|(.*)\|$", re.MULTILINE)
NODE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROWS = {
    int(number): (fault.strip(), outcome.strip(), NODE.findall(tests), tests)
    for number, fault, outcome, tests in ROW.findall(
        (REPOSITORY / "docs" / "faults.md").read_text(encoding="utf-8")
    )
}


@cache
def functions(path: str) -> set[str]:
    """Names of the test functions of a file."""
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_number_has_a_row():
    assert sorted(ROWS) == [*range(1, 33), 35, *range(46, 81)]


@pytest.mark.parametrize("number", sorted(ROWS))
def test_each_row_names_tests_that_exist(number):
    fault, outcome, nodes, cell = ROWS[number]
    assert fault and outcome and nodes
    assert cell.count("`") == 2 * len(nodes), "a test that is not path::function"
    for path, name in nodes:
        assert name in functions(path), f"{path}::{name}"


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("test_*.py")))
def test_every_numbered_test_stands_under_its_number(path):
    """A file's tests carry the number of their fault; each number named has a row."""
    for name in functions(str(path.relative_to(REPOSITORY))):
        number = re.match(r"test_(\d+)_", name)
        if number:
            assert int(number.group(1)) in ROWS
    for row, (_, _, nodes, _) in ROWS.items():
        for file, name in nodes:
            if file == str(path.relative_to(REPOSITORY)):
                assert re.match(rf"test_(\d+_)*{row}_", name), f"{name} stands under {row}"
