"""The notebook runs from its first cell to its last, and is kept without outputs."""

import json
import shutil

import nbclient
import nbformat
import pytest

from scripts.docs_site import NOTEBOOK, ROOT


def test_the_notebook_is_kept_as_nobody_has_run_it():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.get("outputs", []) == [] and cell.get("execution_count") is None


@pytest.mark.nightly
@pytest.mark.slow("the whole chain on 36,000 engagements, in steps that import TFX")
@pytest.mark.timeout(3600)
def test_the_notebook_runs(tmp_path):
    (tmp_path / "docs").mkdir()
    notebook = nbformat.read(shutil.copy(NOTEBOOK, tmp_path / "docs"), as_version=4)
    # What it writes lies below its working folder, which is found by this file.
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    place = {"metadata": {"path": str(tmp_path / "docs")}}
    nbclient.NotebookClient(notebook, timeout=3000, resources=place).execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 4
    (report,) = (tmp_path / "runs/tutorial/runs").glob("*/report.json")
    assert json.loads(report.read_text())["status"] == "pushed"
