"""The paper's future work, done: does it pay?"""

from __future__ import annotations

from dataclasses import dataclass

from research.paper import verdicts
from research.paper.results import METRIC, Interval, MissingResultError, Published
from research.paper.verdicts import WORTH, MarkdownTable


@dataclass(frozen=True)
class FutureQuestion:
    """One thing that was left for the future.

    Attributes:
      text: what is asked.
      experiment: that answers it.
      row: the row to look at.
      other: the row that it is compared with.
    """

    text: str
    experiment: str
    row: str
    other: str


QUESTIONS = (
    FutureQuestion("K by the size of the history", "adaptive", "adaptive_history_size", "dcm"),
    FutureQuestion("K by the mass of the clusters", "adaptive", "adaptive_cluster_mass", "dcm"),
    FutureQuestion("Action types of history items", "signals", "dcm", "no_action_types"),
    FutureQuestion("Negative actions masked instead of fed", "signals", "dcm", "negatives_fed"),
    FutureQuestion("Views as extra history", "signals", "dcm", "without_views"),
)


def answers(published: Published) -> MarkdownTable:
    """Returns a line per question and data set: the difference, and whether it pays."""
    lines = []
    for question in QUESTIONS:
        shown = f"{question.row} − {question.other}"  # noqa: RUF001
        try:
            sets = published.sets(question.experiment, question.row, question.other)
        except MissingResultError as error:
            lines.append((question.text, "", shown, "", f"{verdicts.OPEN}: {error}"))
            continue
        for part in sets:
            gap = part.difference(question.row, question.other, METRIC)
            cells = (part.name, shown, verdicts.interval_text(gap), pays(gap))
            lines.append((question.text, *cells))
    columns = ("signal or rule", "data set", "rows", f"{METRIC}, difference", "does it pay?")
    return MarkdownTable(columns, lines)


def pays(gap: Interval) -> str:
    """Says what an interval means for somebody who has to decide."""
    if verdicts.is_gain(gap):
        return "yes"
    if verdicts.is_loss(gap):
        return "no, it costs"
    if verdicts.is_no_gain(gap):
        return f"no gain of {WORTH:.0%} or more"
    return verdicts.OPEN
