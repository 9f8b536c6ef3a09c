"""Claims about implicit and explicit interests together."""

from __future__ import annotations

from research.paper import verdicts
from research.paper.results import METRIC, Interval, Published, ResultSet
from research.paper.verdicts import (
    FAILS,
    GAIN_RULE,
    HOLDS,
    OPEN,
    Claim,
    ClaimVerdict,
    MarkdownTable,
)

EXPERIMENT, SEGMENTS = "paper-union", "paper-segments"
UNION, IMPLICIT, EXPLICIT, ONE = "dcm+cr_80_20", "dcm", "cr", "two_tower"
CONTROL = "dcm+two_tower_80_20"
_OVERLAP_LIMIT = 0.2
#: Without follows cr has its null condition alone, which is an implicit interest.
_FOLLOWERS = ("follows", "followers")
_SLICES = (("followed_target", "source"), ("followed_target", "no_source"))


def _overlap(published: Published) -> ClaimVerdict:
    sets = published.sets(EXPERIMENT, UNION)
    shares = [part.stat(UNION, "overlap_implicit", _FOLLOWERS).mean for part in sets]
    lines = []
    for part in sets:
        cells = [
            verdicts.stat_text(part.find(row, figure, _FOLLOWERS) if part.has(row) else None, 3)
            for row in (UNION, CONTROL, "dcm_cr")
            for figure in ("overlap_implicit", "overlap_jaccard")
        ]
        pairs = [" / ".join(cells[i : i + 2]) for i in (0, 2, 4)]
        lines.append((part.name, f"{part.content.get('items', 0):,}", *pairs))
    columns = ("data set", "items", "dcm, cr", "control: dcm, two_tower", "slots of dcm_cr")
    states = [HOLDS if share <= _OVERLAP_LIMIT else FAILS for share in shares]
    status = verdicts.unanimous(states)
    figure = ", ".join(f"{share:.1%}" for share in shares)
    reason = (
        f"{figure} of the 100 implicit candidates are explicit candidates too; 100 of a small "
        "catalogue overlap more by chance than 100 of a billion."
    )
    return ClaimVerdict(status, reason, MarkdownTable(columns, lines), figure)


def _together(published: Published) -> ClaimVerdict:
    sets = published.sets(EXPERIMENT, UNION, IMPLICIT, EXPLICIT)
    found, lines, weak = [], [], []
    for part in sets:
        single = max((IMPLICIT, EXPLICIT), key=lambda row: part.mean(row, METRIC))
        found.append(part.difference(UNION, single, METRIC))
        if part.has(CONTROL) and part.mean(CONTROL, METRIC) >= part.mean(UNION, METRIC):
            weak.append(part.name)
        lines += [_line(part, str(entry["row"])) for entry in part.content["rows"]]
    columns = ("data set", "row", METRIC, "− dcm", "source", "no source", "relevance", "covered")  # noqa: RUF001
    status = verdicts.gain_status(found)
    reason = f"The union (80 of 100 implicit) minus the better part is {verdicts.gain_words(found)}"
    if weak:
        reason += f"; the control without topics gains as much on {', '.join(weak)}"
        status = OPEN if status == HOLDS else status
    return ClaimVerdict(
        status, reason + ".", MarkdownTable(columns, lines), verdicts.gaps_text(found)
    )


def _line(part: ResultSet, row: str) -> tuple[str, ...]:
    gap = "" if row == IMPLICIT else verdicts.interval_text(part.difference(row, IMPLICIT, METRIC))
    slices = [verdicts.stat_text(part.find(row, METRIC, at), 3) for at in _SLICES]
    topics = [
        verdicts.stat_text(part.find(row, f), 3) for f in ("topic_relevance", "topics_covered")
    ]
    return (part.name, row, verdicts.stat_text(part.stat(row, METRIC)), gap, *slices, *topics)


def _who_gains(published: Published) -> ClaimVerdict:
    implicit, explicit, lines = [], [], []
    for part in published.sets(SEGMENTS, IMPLICIT, ONE):
        short, longer = (_gain(part, IMPLICIT, ONE, third) for third in ("short", "long"))
        implicit.append(longer.minus(short))
        lines.append((part.name, "dcm − two_tower", *_cells(short, longer, implicit[-1])))  # noqa: RUF001
    for part in published.sets(EXPERIMENT, UNION, IMPLICIT):
        short, longer = (_gain(part, UNION, IMPLICIT, third) for third in ("short", "long"))
        explicit.append(short.minus(longer))
        lines.append((part.name, "union − dcm", *_cells(short, longer, explicit[-1])))  # noqa: RUF001
    columns = ("data set", "gain", "short histories", "long histories", "as claimed")
    states = [verdicts.gain_status(implicit), verdicts.gain_status(explicit)]
    status = FAILS if FAILS in states else HOLDS if set(states) == {HOLDS} else OPEN
    reason = (
        f"Implicit gains on long minus short histories are {verdicts.gain_words(implicit)}; "
        f"explicit ones on short minus long are {verdicts.gain_words(explicit)}."
    )
    figure = f"{verdicts.gaps_text(implicit)}; {verdicts.gaps_text(explicit)}"
    return ClaimVerdict(status, reason, MarkdownTable(columns, lines), figure)


def _gain(part: ResultSet, row: str, other: str, third: str) -> Interval:
    return part.difference(row, other, METRIC, ("history_tercile", third))


def _cells(*intervals: Interval) -> tuple[str, ...]:
    return tuple(verdicts.interval_text(interval) for interval in intervals)


CLAIMS = (
    Claim(
        "H16",
        "Implicit and explicit interests retrieve nearly disjoint sets.",
        "`paper-union`: share of the 100 candidates of dcm that are among the 100 of cr, users who "
        "follow a topic; Jaccard index.",
        f"holds when the share is at most {_OVERLAP_LIMIT:.0%} on every data set, does not hold "
        "when it is above on every one",
        "3.2 %",
        _overlap,
    ),
    Claim(
        "H17",
        "Both together beat either alone at an equal total.",
        f"`paper-union`: {METRIC} of the union of 80 candidates of dcm and 20 of cr minus the "
        "better of the two alone.",
        f"{GAIN_RULE}; not decidable where a union with a second model without topics gains as "
        "much",
        "online: repins +1.09 % for the whole framework",
        _together,
    ),
    Claim(
        "H18",
        "Implicit interests help users with long histories, explicit ones those with short.",
        f"`paper-segments`, `paper-union`: gain in {METRIC} by thirds of history length.",
        f"both parts: {GAIN_RULE}; it holds when both do, and does not when one does not",
        "repins: core +1.23 % against all +0.86 %; non-core +3.04 % against all +0.98 %",
        _who_gains,
    ),
)
