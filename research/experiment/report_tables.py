"""From `results.json` to tables that both the Markdown and the HTML report show."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from research.experiment import glossary

_NONE = "–"  # noqa: RUF001
#: Metric of the slice tables.
SLICE_METRIC = "recall@100"
#: Most values of a slice whose intervals are spelled out.
_WITH_INTERVALS = 5
_Row = Mapping[str, Any]


@dataclass
class Cell:
    """One cell.

    Attributes:
      text: what it says.
      sub: smaller words below.
      tone: `good`, `bad` or ''.
      best: whether it is the best of its column.
    """

    text: str
    sub: str = ""
    tone: str = ""
    best: bool = False


@dataclass
class Line:
    """One row of a table: its name, what is said below it, its cells."""

    name: str
    cells: list[Cell]
    sub: str = ""
    marked: bool = False


@dataclass
class Table:
    """One table.

    Attributes:
      title: heading.
      note: words below the heading.
      columns: (heading, what it is).
      lines: the rows.
    """

    title: str
    note: str
    columns: list[tuple[str, str]]
    lines: list[Line] = field(default_factory=list)


def dataset_tables(data: Mapping[str, Any]) -> list[Table]:
    """Returns the tables of one data set, those without content left out."""
    rows, baseline = data.get("rows") or [], data.get("baseline") or ""
    tables = [
        _accuracy(rows, baseline),
        _floors("Floors", data.get("floors") or {}),
        _floors("Floors, asked by source topic", data.get("floors_source_topic") or {}),
        _floors("Limits", data.get("limits") or {}, "What the truth of generated data allows."),
        _variants(rows),
        _figures("Diversity", rows, baseline, glossary.DIVERSITY, ("topic_entropy@50",)),
        _figures("Divergence and slots", rows, baseline, glossary.INTERESTS),
        _figures("Implicit and explicit", rows, baseline, glossary.KINDS),
        _figures("Cost", rows, baseline, glossary.COST),
        *slice_tables(rows, baseline),
    ]
    return [table for table in tables if table.lines]


def slice_tables(rows: Sequence[_Row], baseline: str) -> list[Table]:
    """Returns a table per slice: `recall@100` of each row and value, with the difference."""
    names = dict.fromkeys(name for row in rows for name in row.get("slices") or {})
    return [_slice(name, rows, baseline) for name in names]


def cost_tables(points: Sequence[_Row]) -> list[Table]:
    """Returns a table per axis of the cost experiment, with growth since the smallest value."""
    axes = dict.fromkeys(str(point.get("axis")) for point in points)
    return [_axis(axis, [p for p in points if str(p.get("axis")) == axis]) for axis in axes]


def fixed(value: Any, digits: int) -> str:
    """Formats a number, an en dash stands for none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        return _NONE
    return f"{value:,.{digits}f}"


def mean_of(row: _Row, name: str) -> float | None:
    """Returns the mean of a row's figure, None when it has none."""
    value = ((row.get("figures") or {}).get(name) or {}).get("mean")
    return float(value) if isinstance(value, (int, float)) else None


def comparable(rows: Sequence[_Row], baseline: str) -> list[_Row]:
    """Returns the rows that were asked as many examples as the baseline; all without one."""
    sizes = [row.get("n") for row in rows if row.get("row") == baseline]
    return [row for row in rows if not sizes or row.get("n") == sizes[0]]


def _accuracy(rows: Sequence[_Row], baseline: str) -> Table:
    compared = ("recall@10", "recall@100", "ndcg@10")
    note = (
        "Mean ± standard deviation over seeds; bold is the best of a column among rows that were "
        f"asked as many examples as the baseline. Differences are to {baseline or 'the baseline'}, "
        "with the 95 % interval of a paired bootstrap over users; ▲ and ▼ where it excludes 0."
    )
    return _figures("Accuracy", rows, baseline, glossary.ACCURACY, compared, note)


def _figures(
    title: str,
    rows: Sequence[_Row],
    baseline: str,
    names: Sequence[str],
    compared: Sequence[str] = (),
    note: str = "",
) -> Table:
    """Builds a table of figures and differences; columns and rows without any are left out."""
    shown = [n for n in names if any(mean_of(row, n) is not None for row in rows)]
    against = [n for n in compared if any(n in (row.get("versus") or {}) for row in rows)]
    columns = [(glossary.figure(n).label, glossary.figure(n).note) for n in shown]
    columns += [(f"Δ {glossary.figure(n).label}", "difference to the baseline") for n in against]
    lines = []
    for row in rows:
        if all(mean_of(row, name) is None for name in shown):
            continue
        cells = [_stat_cell(row, name) for name in shown]
        cells += [_difference((row.get("versus") or {}).get(name), name) for name in against]
        lines.append(_line(row, baseline, cells, note=bool(note)))
    table = Table(title, note, columns, lines)
    present = [row for row in rows if any(mean_of(row, name) is not None for name in shown)]
    # A row that was asked fewer examples is not comparable as it stands.
    most = max((int(row.get("n") or 0) for row in rows), default=0)
    asked_as_baseline = comparable(rows, baseline)
    seeds = max((len(row.get("seeds") or []) for row in rows), default=0)
    for line, row in zip(table.lines, present, strict=True):
        own, parts = row.get("seeds") or [], [line.sub]
        if note and int(row.get("n") or 0) < most:
            parts.append(f"asked {fixed(row.get('n'), 0)} of {fixed(most, 0)} examples")
        if note and len(own) < seeds:
            parts.append(f"seeds {', '.join(map(str, own))} only")
        line.sub = ", ".join(part for part in parts if part)
    for column, name in enumerate(shown):
        values = [mean_of(row, name) if row in asked_as_baseline else None for row in present]
        _mark_best(table, column, values, name)
    return table


def _variants(rows: Sequence[_Row]) -> Table:
    """Differences of variants to the default of their own model."""
    found = [row for row in rows if row.get("versus_default")]
    names = dict.fromkeys(name for row in found for name in row["versus_default"])
    ordered = [n for n in (*glossary.ACCURACY, "topic_entropy@50") if n in names]
    columns = [("examples", "eval examples that were asked")]
    columns += [(f"Δ {glossary.figure(n).label}", "difference to the default") for n in ordered]
    lines = [
        Line(
            str(row["row"]),
            [Cell(fixed(row.get("n"), 0))]
            + [_difference(row["versus_default"].get(name), name) for name in ordered],
            str(row.get("note") or ""),
        )
        for row in found
    ]
    note = "The same trained model, asked in another way, against its own default."
    return Table("Variants against their own model", note, columns, lines)


def _slice(name: str, rows: Sequence[_Row], baseline: str) -> Table:
    title, note = glossary.SLICES.get(name, (name.replace("_", " "), ""))
    values = list(dict.fromkeys(v for row in rows for v in (row.get("slices") or {}).get(name, {})))
    sizes: dict[str, int] = {}
    for row in rows:
        for value, part in (row.get("slices") or {}).get(name, {}).items():
            sizes[value] = max(sizes.get(value, 0), int(part.get("n") or 0))
    table = Table(
        title,
        f"{SLICE_METRIC}; below it the difference to {baseline or 'the baseline'}. {note}",
        [(v.replace("_", "-"), f"n = {fixed(sizes[v], 0)}") for v in values],
    )
    narrow = len(values) <= _WITH_INTERVALS  # beyond, the table would be wider than a page
    asked_as_baseline = comparable(rows, baseline)
    means: list[list[float | None]] = []
    for row in rows:
        parts = (row.get("slices") or {}).get(name, {})
        if not parts:
            continue
        against = (row.get("slice_versus") or {}).get(name, {})
        found = [mean_of(parts.get(value) or {}, SLICE_METRIC) for value in values]
        cells = []
        for value, mean in zip(values, found, strict=True):
            cell = _difference((against.get(value) or {}).get(SLICE_METRIC), SLICE_METRIC)
            change = f"{cell.text} {cell.sub if narrow else ''}".strip()
            change = change if cell.text != _NONE else ""
            cells.append(Cell(fixed(mean, 4), change, cell.tone))
        table.lines.append(_line(row, baseline, cells, note=False))
        means.append(found if row in asked_as_baseline else [None] * len(values))
    for column in range(len(values)):
        _mark_best(table, column, [found[column] for found in means], SLICE_METRIC)
    return table


def _floors(
    title: str,
    floors: Mapping[str, Mapping[str, Any]],
    note: str = "What recommenders without a model reach.",
) -> Table:
    wanted = (*glossary.ACCURACY, "mrr", "topic_entropy@50", "distinct_topics", "coverage@100")
    names = [n for n in wanted if any(n in figures for figures in floors.values())]
    columns = [(glossary.figure(n).label, glossary.figure(n).note) for n in names]
    lines = [
        Line(
            floor.replace("_", " "),
            [Cell(fixed(figures.get(n), glossary.figure(n).digits)) for n in names],
        )
        for floor, figures in floors.items()
    ]
    return Table(title, note, columns, lines)


def _axis(axis: str, points: Sequence[_Row]) -> Table:
    names = [
        key
        for key in dict.fromkeys(key for point in points for key in point)
        if key not in ("model", "axis", "value")
        and any(isinstance(point.get(key), (int, float)) for point in points)
    ]
    columns = [(axis.replace("_", " "), "what is varied")]
    columns += [(glossary.figure(n).label, glossary.figure(n).note) for n in names]
    smallest: dict[Any, _Row] = {}
    for point in sorted(points, key=lambda p: p.get("value") or 0):
        smallest.setdefault(point.get("model"), point)
    lines = []
    for point in points:
        first = smallest[point.get("model")]
        cells = [Cell(fixed(point.get("value"), 0))]
        for name in names:
            text = fixed(point.get(name), glossary.figure(name).digits)
            cells.append(Cell(text, "" if point is first else _ratio(point, first, name)))
        lines.append(Line(str(point.get("model")), cells, marked=point is first))
    note = "Below each figure, how many times that of the smallest value it is."
    return Table(f"By {axis.replace('_', ' ')}", note, columns, lines)


def _ratio(point: _Row, first: _Row, name: str) -> str:
    value, start = point.get(name), first.get(name)
    if not isinstance(value, (int, float)) or not isinstance(start, (int, float)) or not start:
        return ""
    return f"× {value / start:.2f}"  # noqa: RUF001


def _line(row: _Row, baseline: str, cells: list[Cell], note: bool = True) -> Line:
    name = str(row.get("row"))
    marked = name == baseline
    words = [str(row.get("note") or "")] if note else []
    if marked:
        words.insert(0, "baseline")
    return Line(name, cells, ": ".join(word for word in words if word), marked)


def _stat_cell(row: _Row, name: str) -> Cell:
    stat = (row.get("figures") or {}).get(name) or {}
    digits = glossary.figure(name).digits
    several = sum(value is not None for value in stat.get("values") or []) > 1
    # A whole number that is the same for every seed needs no spread.
    shown = several and (digits > 0 or bool(stat.get("std")))
    spread = f"± {fixed(stat.get('std'), digits)}" if shown else ""
    return Cell(fixed(stat.get("mean"), digits), spread)


def _difference(found: Mapping[str, Any] | None, name: str) -> Cell:
    """Shows a difference with its interval; `▲` and `▼` where 0 lies outside."""
    if not found or not isinstance(found.get("difference"), (int, float)):
        return Cell(_NONE)
    digits = glossary.figure(name).digits
    low, high = found.get("low"), found.get("high")
    text, sub, tone = f"{found['difference']:+.{digits}f}", "", ""
    if isinstance(low, (int, float)) and isinstance(high, (int, float)):
        sub = f"[{low:+.{digits}f}, {high:+.{digits}f}]"
        if low > 0 or high < 0:
            text += " ▲" if low > 0 else " ▼"
            tone = "good" if low > 0 else "bad"
    return Cell(text, sub, tone)


def _mark_best(table: Table, column: int, values: Sequence[float | None], name: str) -> None:
    choose: Callable[..., float] | None = {"max": max, "min": min}.get(glossary.figure(name).best)
    known = [value for value in values if value is not None]
    if choose is None or len(set(known)) < 2:
        return
    best = choose(known)
    for line, value in zip(table.lines, values, strict=True):
        line.cells[column].best = value == best
