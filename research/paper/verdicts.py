"""What a claim is, how evidence becomes a verdict, and how both are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from research.paper.results import METRIC, Interval, MissingResultError, Published, ResultSet, Stat

Status = Literal["holds", "does not hold", "not decidable here"]
HOLDS: Status = "holds"
FAILS: Status = "does not hold"
OPEN: Status = "not decidable here"

#: A gain below this share of the figure compared with is no gain.
WORTH = 0.02
GAIN_RULE = (
    "holds when the interval is above 0 on more than half of the data sets and below 0 on none; "
    "does not hold when more than half show no gain, or when any is below 0 and no more than half "
    "are above"
)


@dataclass(frozen=True)
class MarkdownTable:
    """A table of evidence; the first column names what the line is about."""

    columns: Sequence[str]
    lines: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Returns the table as Markdown."""
        head = [row_text(self.columns), "|---" * len(self.columns) + "|"]
        return "\n".join([*head, *(row_text(line) for line in self.lines)])


@dataclass(frozen=True)
class ClaimVerdict:
    """What the experiments say of a claim.

    Attributes:
      status: holds, does not hold, or not decidable here.
      reason: one sentence.
      evidence: our figures; None where there are none.
      figure: the figure that decides, in a few words.
    """

    status: Status
    reason: str
    evidence: MarkdownTable | None = None
    figure: str = "–"  # noqa: RUF001


@dataclass(frozen=True)
class Claim:
    """One claim of the paper as a hypothesis.

    Attributes:
      id: H1 to H23.
      text: the claim.
      measure: how it is measured here.
      rule: when it holds and when not.
      paper: the paper's figure.
      judge: turns results into the verdict; raises `MissingResultError`.
    """

    id: str
    text: str
    measure: str
    rule: str
    paper: str
    judge: Callable[[Published], ClaimVerdict]


def decide(claim: Claim, published: Published) -> ClaimVerdict:
    """Returns the verdict of a claim; what was not measured is not decidable."""
    try:
        return claim.judge(published)
    except MissingResultError as error:
        return ClaimVerdict(OPEN, f"{error}.")


def row_minus_row(
    experiment: str,
    row: str,
    other: str,
    columns: Sequence[str],
    words: str,
    more: Callable[[ResultSet], Sequence[str]] = lambda part: (),
) -> Callable[[Published], ClaimVerdict]:
    """Returns the judge of a claim that one row has the higher `METRIC`, by `GAIN_RULE`.

    Args:
      experiment: that has both.
      row: the row that the claim is for.
      other: the row that it is compared with.
      columns: of the evidence, after the data set: the other row, the row, the difference, `more`.
      words: the reason; `{}` stands for where there is a gain.
      more: further cells of a data set.
    """

    def judge(published: Published) -> ClaimVerdict:
        sets = published.sets(experiment, row, other)
        gaps = [part.difference(row, other, METRIC) for part in sets]
        lines = []
        for part, gap in zip(sets, gaps, strict=True):
            figures = (stat_text(part.stat(name, METRIC)) for name in (other, row))
            lines.append((part.name, *figures, interval_text(gap), *more(part)))
        return gain_verdict(gaps, words, ("data set", *columns), lines)

    return judge


def gain_verdict(
    gaps: Sequence[Interval], words: str, columns: Sequence[str], lines: Sequence[Sequence[str]]
) -> ClaimVerdict:
    """Returns the verdict of `GAIN_RULE` on differences; `words` as in `row_minus_row`."""
    reason = words.format(gain_words(gaps))
    return ClaimVerdict(gain_status(gaps), reason, MarkdownTable(columns, lines), gaps_text(gaps))


def gain_status(intervals: Sequence[Interval]) -> Status:
    """Weighs differences of several data sets; `GAIN_RULE` says how."""
    half = len(intervals) / 2
    gains = sum(is_gain(i) for i in intervals)
    losses = sum(is_loss(i) for i in intervals)
    if gains > half and not losses:
        return HOLDS
    if sum(is_no_gain(i) for i in intervals) > half or (losses and gains <= half):
        return FAILS
    return OPEN


MAJORITY_RULE = (
    "holds when it is so on more than half of the data sets and refuted on none; does not hold "
    "when it is refuted on more than half"
)


def majority(states: Sequence[Status]) -> Status:
    """Weighs what single data sets say; `MAJORITY_RULE` says how."""
    if states.count(HOLDS) > len(states) / 2 and FAILS not in states:
        return HOLDS
    return FAILS if states.count(FAILS) > len(states) / 2 else OPEN


def unanimous(states: Sequence[Status]) -> Status:
    """Returns what all say, open where they differ."""
    return states[0] if len(set(states)) == 1 else OPEN


def is_gain(interval: Interval) -> bool:
    """True where the interval is above 0 and no seed says otherwise."""
    return interval.low > 0 and interval.steady


def is_loss(interval: Interval) -> bool:
    """True where the interval is below 0 and no seed says otherwise."""
    return interval.high < 0 and interval.steady


def is_no_gain(interval: Interval) -> bool:
    """True where the interval excludes a gain worth a name."""
    return not is_gain(interval) and interval.high < WORTH * abs(interval.scale)


def gain_words(intervals: Sequence[Interval]) -> str:
    """Says in how many data sets there is a gain, a loss, or neither."""
    gains = sum(is_gain(i) for i in intervals)
    losses = sum(is_loss(i) for i in intervals)
    same = sum(is_no_gain(i) and not is_loss(i) for i in intervals)
    parts = [
        f"above 0 on {gains}",
        f"below 0 on {losses}",
        f"no gain of {WORTH:.0%} possible on {same}" if same else "",
    ]
    return f"{', '.join(part for part in parts if part)} of {counted(len(intervals))}"


def counted(number: int) -> str:
    """Returns `1 data set`, `3 data sets`."""
    return f"{number} data set{'s' if number != 1 else ''}"


def row_text(cells: Sequence[str]) -> str:
    """Returns one line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def stat_text(stat: Stat | None, digits: int = 4) -> str:
    """Returns `mean ± deviation`; the deviation where there are several seeds."""
    if stat is None:
        return "–"  # noqa: RUF001
    spread = f" ± {stat.std:.{digits}f}" if stat.seeds > 1 else ""
    return f"{stat.mean:.{digits}f}{spread}"


def interval_text(interval: Interval, digits: int = 4) -> str:
    """Returns `+0.0100 [+0.0050, +0.0150]`; a star where the interval is not paired."""
    star = "" if interval.paired else " \\*"
    low, high = signed(interval.low, digits), signed(interval.high, digits)
    return f"{signed(interval.difference, digits)} [{low}, {high}]{star}"


def signed(value: float, digits: int = 4) -> str:
    """Returns a number with its sign; what rounds to 0 has none."""
    text = f"{value:+.{digits}f}"
    if float(text) == 0.0:
        return text[1:]
    return text.replace("-", "−")  # noqa: RUF001


def gaps_text(intervals: Sequence[Interval]) -> str:
    """Returns the differences alone, one per data set, in their order."""
    return ", ".join(signed(interval.difference) for interval in intervals)
