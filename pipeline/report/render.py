"""Writes `report.json` and `report.html`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.files import staged_file, write_json
from pipeline.report.view import FILTERS, build_view

if TYPE_CHECKING:
    import jinja2

JSON_NAME = "report.json"
HTML_NAME = "report.html"
_FOLDER = Path(__file__).parent


def environment(folder: Path) -> jinja2.Environment:
    """Returns an environment for the templates of a folder that escapes everything.

    Figures escape their own text and pass through the filter `svg`.
    """
    import jinja2
    from markupsafe import Markup

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters["svg"] = Markup
    return found


def render(report: Mapping[str, Any]) -> str:
    """Returns one HTML page that refers to nothing outside itself.

    Args:
      report: what `collect_report` returned, or read from `report.json`.
    """
    from markupsafe import Markup

    style = Markup((_FOLDER / "style.css").read_text(encoding="utf-8"))
    templates = environment(_FOLDER)
    templates.filters.update(FILTERS)
    page: str = templates.get_template("page.html.j2").render(**build_view(report), style=style)
    return page


def write_report(report: Mapping[str, Any], directory: str | Path) -> tuple[Path, Path]:
    """Writes both files and returns their paths (JSON, HTML)."""
    json_path, html_path = Path(directory) / JSON_NAME, Path(directory) / HTML_NAME
    write_json(json_path, dict(report))
    with staged_file(html_path) as staging:
        staging.write_text(render(report), encoding="utf-8")
    return json_path, html_path
