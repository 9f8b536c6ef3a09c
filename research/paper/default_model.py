"""This repository's default model, as it is served, beside its parts and their unions."""

from __future__ import annotations

from research.paper import verdicts
from research.paper.results import METRIC, Published, ResultSet
from research.paper.verdicts import MarkdownTable

EXPERIMENT, ROW = "joint", "dcm_cr"
_FIGURES = ("recall@10", "recall@50", METRIC, "ndcg@10", "topic_entropy@50", "best_epoch")


def section(published: Published) -> str:
    """Returns the part of the page; nothing where the experiment was not published."""
    if EXPERIMENT not in published.experiments:
        return ""
    parts = [
        "## The default model of this repository\n",
        "Not the paper's rule: one association over implicit and explicit slots, items without a "
        "training target known by their topics. Every model trains until validation stops "
        "improving within the same budget, then once more on training and validation examples; "
        f"the budget stands in `{EXPERIMENT}`. The last column is {ROW} minus the row.\n",
    ]
    for part in published.sets(EXPERIMENT, ROW):
        parts += [_table(part).markdown() + "\n", _sentence(part) + "\n"]
    return "\n".join(parts)


def _table(part: ResultSet) -> MarkdownTable:
    lines = []
    for name in _rows(part):
        cells = (verdicts.stat_text(part.find(name, figure), 3) for figure in _FIGURES)
        gap = "" if name == ROW else verdicts.interval_text(part.difference(ROW, name, METRIC))
        lines.append((part.name, name, *cells, gap))
    columns = ("data set", "row", *(figure.replace("_", " ") for figure in _FIGURES), METRIC)
    return MarkdownTable(columns, lines)


def _sentence(part: ResultSet) -> str:
    """Compares the default with the best other row that is no other merge of itself."""
    others = [name for name in _rows(part) if name.partition("/")[0] != ROW]
    if not others:
        return ""
    best = max(others, key=lambda name: part.mean(name, METRIC))
    gap = part.difference(ROW, best, METRIC)
    return f"The best row beside it is {best}; {ROW} minus {best} is {verdicts.interval_text(gap)}."


def _rows(part: ResultSet) -> list[str]:
    return [str(entry["row"]) for entry in part.content["rows"]]
