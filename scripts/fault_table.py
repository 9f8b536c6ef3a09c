"""Writes docs/faults.md: the texts of tests/faults/faults.yaml and the tests marked with them."""

from __future__ import annotations

import ast
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "faults.md"
HEAD = """# Faults and what happens then

Each row is a fault that a run may meet, what Tessera does, and the tests that inject the fault into
the real code. `python scripts/fault_table.py` writes this page from `tests/faults/faults.yaml` and
the tests' `@pytest.mark.fault(NUMBER, ...)`.

```bash
python -m pytest -m "fault and not nightly"
```

| # | fault | outcome | tests |
|---|---|---|---|
"""


def table() -> str:
    """Returns the page.

    Raises:
      ValueError: a fault without a test, or a test of a fault that has no text.
    """
    texts = yaml.safe_load((ROOT / "tests/faults/faults.yaml").read_text(encoding="utf-8"))
    tests: dict[int, list[str]] = {number: [] for number in texts}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                name = f"`{path.relative_to(ROOT).as_posix()}::{node.name}`"
                for number in _numbers(node):
                    if number not in texts:
                        raise ValueError(f"{name}: fault {number} is not in faults.yaml")
                    tests[number].append(name)
    untested = [number for number, names in tests.items() if not names]
    if untested:
        raise ValueError(f"faults without a test: {untested}")
    rows = (
        f"| {number} | {text['fault']} | {text['outcome']} | {' '.join(tests[number])} |\n"
        for number, text in sorted(texts.items())
    )
    return HEAD + "".join(rows)


def _numbers(test: ast.FunctionDef) -> list[int]:
    return [
        ast.literal_eval(number)
        for call in test.decorator_list
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.fault"
        for number in call.args
    ]


if __name__ == "__main__":
    PAGE.write_text(table(), encoding="utf-8")
