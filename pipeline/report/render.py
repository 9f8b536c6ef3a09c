"""Writes `report.json` and `report.html`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.files import staged_file, write_json
from pipeline.report.view import build_view

JSON_NAME = "report.json"
HTML_NAME = "report.html"
_FOLDER = Path(__file__).parent


def render(report: Mapping[str, Any]) -> str:
    """Returns one HTML page that refers to nothing outside itself.

    Args:
      report: what `collect_report` returned, or read from `report.json`.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    # Figures escape their own text; everything else is escaped by the template.
    environment.filters["svg"] = Markup
    style = Markup((_FOLDER / "style.css").read_text(encoding="utf-8"))
    page: str = environment.get_template("page.html.j2").render(**build_view(report), style=style)
    return page


def write_report(report: Mapping[str, Any], directory: str | Path) -> tuple[Path, Path]:
    """Writes both files and returns their paths (JSON, HTML)."""
    json_path, html_path = Path(directory) / JSON_NAME, Path(directory) / HTML_NAME
    write_json(json_path, dict(report))
    with staged_file(html_path) as staging:
        staging.write_text(render(report), encoding="utf-8")
    return json_path, html_path
