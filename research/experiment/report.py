"""Writes `report.md` and `report.html` of an experiment from its results alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.files import staged_file
from pipeline.report import render
from pipeline.report.render import environment
from research.experiment import figures, glossary
from research.experiment.report_tables import (
    SLICE_METRIC,
    Cell,
    Line,
    Table,
    cost_tables,
    dataset_tables,
    fixed,
)

MARKDOWN_NAME = "report.md"
HTML_NAME = "report.html"
_TEMPLATE = "page.html.j2"
_FOLDER = Path(__file__).parent
_STYLE = Path(render.__file__).with_name("style.css")


def write_report(results: Mapping[str, Any], out_dir: str | Path) -> tuple[Path, Path]:
    """Writes both files and returns their paths (Markdown, HTML).

    Args:
      results: content of `results.json`; figures that are missing leave gaps.
      out_dir: folder of the experiment.
    """
    paths = Path(out_dir) / MARKDOWN_NAME, Path(out_dir) / HTML_NAME
    for path, text in zip(paths, (markdown(results), page(results)), strict=True):
        with staged_file(path) as staging:
            staging.write_text(text, encoding="utf-8")
    return paths


def markdown(results: Mapping[str, Any]) -> str:
    """Returns the report as Markdown."""
    parts = [f"# {_title(results)}", ""]
    parts += [f"- {name}: {value}" for name, value in facts(results)]
    for name, data in (results.get("datasets") or {}).items():
        parts += ["", f"## {name}", "", describe(data)]
        for table in dataset_tables(data):
            parts += ["", f"### {table.title}", "", *_markdown_table(table)]
        parts += _markdown_notes(data)
    for table in cost_tables(results.get("points") or []):
        parts += ["", f"## {table.title}", "", *_markdown_table(table)]
    parts += ["", "## What the columns are", ""]
    parts += [f"- **{label}**: {note}" for label, note in used_columns(results)]
    return "\n".join(parts) + "\n"


def page(results: Mapping[str, Any]) -> str:
    """Returns the report as one HTML page that refers to nothing outside itself."""
    from markupsafe import Markup

    text: str = (
        environment(_FOLDER)
        .get_template(_TEMPLATE)
        .render(
            title=_title(results),
            name=str(results.get("experiment") or ""),
            created=str(results.get("created") or ""),
            facts=facts(results),
            sections=[
                _section(name, data) for name, data in (results.get("datasets") or {}).items()
            ],
            costs=_costs(results.get("points") or []),
            columns=used_columns(results),
            style=Markup(_STYLE.read_text(encoding="utf-8")),
        )
    )
    return text


def facts(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns what stands at the head of a report: name and words."""
    machine = results.get("machine") or {}
    size = machine.get("memory_gib")
    parts = [
        str(machine.get("cpu") or ""),
        f"{machine['cores']} cores" if machine.get("cores") else "",
        f"{size:.0f} GiB of memory" if isinstance(size, (int, float)) else "",
    ]
    rows = [
        ("claims", ", ".join(map(str, results.get("claims") or []))),
        ("search budget", str(results.get("search_budget") or "")),
        ("machine", ", ".join(part for part in parts if part)),
        ("time", _time(results)),
        ("created", str(results.get("created") or "")),
        ("code", str(results.get("code_digest") or "")[:16]),
        ("configuration", str(results.get("config_digest") or "")[:16]),
    ]
    return [(name, value) for name, value in rows if value]


def describe(data: Mapping[str, Any]) -> str:
    """Returns one sentence about a data set."""
    seeds = data.get("seeds") or []
    parts = [
        f"{fixed(data.get('users'), 0)} users, {fixed(data.get('items'), 0)} items, "
        f"{fixed(data.get('topics'), 0)} topics",
        f"{fixed(data.get('train_examples'), 0)} training examples",
        f"{fixed(data.get('eval_examples'), 0)} eval examples of "
        f"{fixed(data.get('eval_users'), 0)} users",
        f"history {fixed(data.get('history_mean'), 1)} items on average, median "
        f"{fixed(data.get('history_median'), 0)}",
    ]
    share = data.get("follows_share")
    if isinstance(share, (int, float)):
        parts.append(f"{share:.0%} of the examples with follows")
    if data.get("time_unit") == "order":
        parts.append("the order of events is known, their time is not")
    parts.append(f"seeds {', '.join(map(str, seeds))}")
    return "; ".join(parts) + "."


def used_columns(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the figures that this report shows and what each is."""
    tables = [
        table for data in (results.get("datasets") or {}).values() for table in dataset_tables(data)
    ] + cost_tables(results.get("points") or [])
    shown = {heading for table in tables for heading, _ in table.columns}
    known = {entry.label: entry.note for entry in glossary.FIGURES.values()}
    return [(label, note) for label, note in known.items() if label in shown]


def _section(name: str, data: Mapping[str, Any]) -> dict[str, Any]:
    rows, baseline = data.get("rows") or [], str(data.get("baseline") or "")
    slug = "data-" + re.sub(r"[^a-z0-9-]+", "-", name.lower())
    tables = dataset_tables(data)
    titles = {title for title, _ in glossary.SLICES.values()}
    charts = [
        (
            figures.differences(rows, f"{slug}-versus", SLICE_METRIC),
            "Difference to the baseline",
            f"{SLICE_METRIC}, 95 % intervals; grey where 0 is inside",
        ),
        (
            figures.by_slice(rows, f"{slug}-slices", SLICE_METRIC, baseline),
            f"{SLICE_METRIC} by history",
            "the baseline and the best rows",
        ),
    ]
    return {
        "name": name,
        "slug": slug,
        "words": describe(data),
        "tables": [table for table in tables if table.title not in titles],
        "slices": [table for table in tables if table.title in titles],
        "charts": [chart for chart in charts if chart[0]],
        "missing": list((data.get("missing") or {}).items()),
    }


def _costs(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for table in cost_tables(points):
        own = [p for p in points if f"By {str(p.get('axis')).replace('_', ' ')}" == table.title]
        slug = re.sub(r"[^a-z0-9]+", "-", table.title.lower())
        charts = [
            (figures.growth(own, f"{slug}-{key}", key), glossary.figure(key).note, "")
            for key in ("step_ms", "retrieve_p50_ms")
        ]
        found.append({"table": table, "slug": slug, "charts": [c for c in charts if c[0]]})
    return found


def _title(results: Mapping[str, Any]) -> str:
    return str(results.get("title") or results.get("experiment") or "Experiment")


def _time(results: Mapping[str, Any]) -> str:
    seconds, minutes = results.get("seconds"), results.get("minutes")
    measured = f"{seconds / 60:.1f} min measured" if isinstance(seconds, (int, float)) else ""
    stated = f"{minutes:g} min stated" if isinstance(minutes, (int, float)) and minutes else ""
    return ", ".join(part for part in (measured, stated) if part)


def _markdown_table(table: Table) -> list[str]:
    heads = [
        f"{heading} ({note})" if note.startswith("n = ") else heading
        for heading, note in table.columns
    ]
    lines = [table.note, ""] if table.note else []
    lines += [f"| | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    lines += [f"| {_name(line)} | {' | '.join(map(_words, line.cells))} |" for line in table.lines]
    return lines


def _name(line: Line) -> str:
    return f"**{line.name}**" if line.marked else line.name


def _words(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.best else cell.text
    return f"{text} {cell.sub}".strip().replace("|", "\\|")


def _markdown_notes(data: Mapping[str, Any]) -> list[str]:
    notes = [f"- {row['row']}: {row['note']}" for row in data.get("rows") or [] if row.get("note")]
    notes += [f"- {row}: not shown, {why}" for row, why in (data.get("missing") or {}).items()]
    return ["", "### Rows", "", *notes] if notes else []
