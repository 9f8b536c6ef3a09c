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
        f"improving or the same budget ends, which `{EXPERIMENT}` states (a best epoch that is the "
        "budget's last one could have gone on), and all rows but those "
        "named otherwise merge by `balanced` (`/agreement`: by score, with `retrieval.agreement` "
        f"0.1). The last column is {ROW} minus the row.\n",
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
    shown = (figure.replace("_", " ") for figure in _FIGURES)
    columns = ("data set", "row", *shown, f"{METRIC}, difference")
    return MarkdownTable(columns, lines)


def _sentence(part: ResultSet) -> str:
    """Compares the default with the best other model or union of the same merge."""
    others = [name for name in _rows(part) if name != ROW and "/" not in name]
    if not others:
        return ""
    best = max(others, key=lambda name: part.mean(name, METRIC))
    gap = verdicts.interval_text(part.difference(ROW, best, METRIC))
    return f"The best other row of the same merge is {best}; {ROW} minus {best} is {gap}."


def _rows(part: ResultSet) -> list[str]:
    return [str(entry["row"]) for entry in part.content["rows"]]
