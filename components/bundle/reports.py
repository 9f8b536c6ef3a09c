"""Reports of the runs that published versions, beside these in the serving folder.

TensorFlow Serving and every reader here take a folder for a version by its number, so a folder of
another name is none.
"""

from __future__ import annotations

from pathlib import Path

from core.files import staged_file
from core.storage import ObjectStore, is_remote

_FOLDER = "reports"


def report_name(version: int) -> str:
    """Returns the name of a version's report in the folder of its model."""
    return f"{_FOLDER}/{version}.html"


def report_path(serving_dir: str, name: str, version: int) -> str:
    """Returns path or URL of a version's report."""
    return f"{serving_dir.rstrip('/')}/{name}/{report_name(version)}"


def write_report_page(serving_dir: str, name: str, version: int, page: str) -> str:
    """Writes a version's report and returns where it is.

    Args:
      serving_dir: folder or URL of pushed bundles.
      name: of the model.
      version: published one.
      page: HTML.

    Raises:
      TesseraError: it cannot be written.
      OSError: likewise.
    """
    path = report_path(serving_dir, name, version)
    if is_remote(serving_dir):
        ObjectStore(serving_dir).write(f"{name}/{report_name(version)}", page.encode())
        return path
    with staged_file(Path(path)) as staging:
        staging.write_text(page, encoding="utf-8")
    return path
