"""The generated pages say what the code says."""

import subprocess
import sys

import pytest

from scripts import reference_pages


@pytest.mark.parametrize("page", ["options", "commands"])
def test_the_page_is_the_one_that_the_code_gives(page):
    """To renew them: `python -m scripts.reference_pages`.

    In a process of its own: click's commands keep the help option of the first program that
    they were called from, which may be a test.
    """
    code = f"from scripts import reference_pages as r; print(r.{page}_page(), end='')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    made = ran.stdout
    assert (reference_pages.DOCS / f"{page}.md").read_text(encoding="utf-8") == made


def test_every_option_says_what_it_means():
    found = list(reference_pages.options())
    assert [option.key for option in found if not option.meaning] == []
    keys = [option.key for option in found]
    assert len(set(keys)) == len(keys) > 150
    # Into lists, mappings and sections within sections.
    for key in ("evaluator.thresholds.<name>.min", "kubeflow.schedule.cron", "model.name"):
        assert key in keys


def test_types_are_whole_and_without_constraints():
    for option in reference_pages.options():
        assert option.type.count("[") == option.type.count("]"), option
        assert "FieldInfo" not in option.type and "Annotated" not in option.type, option
    shown = {option.key: option.type for option in reference_pages.options()}
    assert shown["evaluator.thresholds"] == "`dict[str, ThresholdConfig]`"
    assert shown["model.hidden_units"] == "`tuple[int, ...]`"
    assert shown["data.run_date"] == "`date | None`"
