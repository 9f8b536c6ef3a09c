"""Claims about merging, budgets and versions."""

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
    Status,
)

_EXPERIMENT = "paper-serving-merge"
_SCORE, _ROBIN, _EQUAL = "dcm", "dcm/round_robin", "dcm/equal_budgets"
_FRESH, _STALE = "dcm_stale_index", "dcm_stale_index/stale"
_ENTROPY = "topic_entropy@50"
_LOSS = 0.5


def _merge(published: Published) -> ClaimVerdict:
    sets = published.sets(_EXPERIMENT, _SCORE, _ROBIN)
    states = [_merge_state(part) for part in sets]
    lines = [
        (
            part.name,
            *(verdicts.interval_text(_gap(part, metric)) for metric in (METRIC, _ENTROPY)),
            *(_pair(part, figure) for figure in ("distinct_topics", "coverage@100")),
        )
        for part in sets
    ]
    changes = ("topics, score → round-robin", "coverage@100, score → round-robin")
    columns = ("data set", METRIC, _ENTROPY, *changes)
    gaps = [_gap(part, METRIC) for part in sets]
    spread = [_gap(part, _ENTROPY) for part in sets]
    reason = (
        f"Round-robin minus score: {METRIC} {verdicts.gain_words(gaps)}, topic entropy "
        f"{verdicts.gain_words(spread)}; one held-out engagement per question favours score."
    )
    table = MarkdownTable(columns, lines)
    return ClaimVerdict(verdicts.majority(states), reason, table, verdicts.gaps_text(gaps))


def _merge_state(part: ResultSet) -> Status:
    hits, topics = _gap(part, METRIC), _gap(part, _ENTROPY)
    if verdicts.is_gain(topics) and not verdicts.is_loss(hits):
        return HOLDS
    return FAILS if verdicts.is_loss(hits) and topics.difference <= 0 else OPEN


def _gap(part: ResultSet, metric: str) -> Interval:
    return part.difference(_ROBIN, _SCORE, metric)


def _pair(part: ResultSet, figure: str) -> str:
    return " → ".join(verdicts.stat_text(part.find(row, figure), 3) for row in (_SCORE, _ROBIN))


def _stale(published: Published) -> ClaimVerdict:
    sets = published.sets(_EXPERIMENT, _FRESH, _STALE)
    losses, lines = [], []
    for part in sets:
        fresh, stale = part.mean(_FRESH, METRIC), part.mean(_STALE, METRIC)
        losses.append(1.0 - stale / max(fresh, 1e-9))
        cells = [verdicts.stat_text(part.stat(row, METRIC)) for row in (_FRESH, _STALE)]
        lines.append((part.name, *cells, f"{losses[-1]:.1%}"))
    columns = ("data set", "own index", "index of another training", "relative loss")
    states: list[Status] = [HOLDS if loss >= _LOSS else FAILS for loss in losses]
    shown = ", ".join(f"{loss:.1%}" for loss in losses)
    reason = f"With item embeddings of another training, {shown} of {METRIC} is lost."
    table, figure = MarkdownTable(columns, lines), f"−{shown}"  # noqa: RUF001
    return ClaimVerdict(verdicts.majority(states), reason, table, figure)


CLAIMS = (
    Claim(
        "H10",
        "Round-robin merging beats a global top-N by score.",
        f"`paper-serving-merge`: {METRIC} and topic entropy of dcm with both merges.",
        "it is so where the interval of the entropy, round-robin minus score, is above 0 and that "
        f"of {METRIC} not below 0; refuted where that of {METRIC} is below 0 and the entropy no "
        f"higher; {verdicts.MAJORITY_RULE}",
        "global top-N: −0.35 % repin users",  # noqa: RUF001
        _merge,
    ),
    Claim(
        "H11",
        "Budgets by routing mass beat equal budgets of implicit slots.",
        f"`paper-serving-merge`: {METRIC} of dcm with round-robin, by mass minus equal.",
        GAIN_RULE,
        "in words",
        verdicts.row_minus_row(
            _EXPERIMENT,
            _ROBIN,
            _EQUAL,
            ("equal", "by mass", f"mass − equal, {METRIC}", f"the same, {_ENTROPY}"),  # noqa: RUF001
            f"Budgets by mass minus equal ones in {METRIC} are {{}}.",
            lambda part: [verdicts.interval_text(part.difference(_ROBIN, _EQUAL, _ENTROPY))],
        ),
    ),
    Claim(
        "H23",
        "User model and index of different versions destroy recall.",
        f"`paper-serving-merge`: {METRIC} of the user model of one training with the item "
        "embeddings of another that began from other random weights.",
        f"it is so where {_LOSS:.0%} or more is lost, else refuted; {verdicts.MAJORITY_RULE}",
        "“drastically”, no number",
        _stale,
    ),
)
