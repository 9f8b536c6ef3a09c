"""Claims about several embeddings against one, and about one extractor against another."""

from __future__ import annotations

from research.paper import verdicts
from research.paper.results import METRIC, Interval, MissingResultError, Published
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

_ONE, _DCM, _CONTROL = "two_tower", "dcm", "last_k"
_PEERS = ("self_attention", "interest_token", "mind")
_AGREEMENT_CLEAR, _AGREEMENT_NONE = 0.05, 0.02


def _tail_gains_more(published: Published) -> ClaimVerdict:
    sets = published.sets("paper-segments", _ONE, _DCM)
    contrasts, lines = [], []
    for part in sets:
        gains = {
            rank: part.difference(_DCM, _ONE, METRIC, ("interest", rank))
            for rank in ("head", "torso", "tail")
        }
        contrast = gains["tail"].minus(gains["head"])
        contrasts.append(contrast)
        cells = (*gains.values(), contrast)
        lines.append((part.name, *(verdicts.interval_text(cell) for cell in cells)))
    columns = ("data set", "head", "torso", "tail", "tail − head")  # noqa: RUF001
    reason = "The gain on the tail minus that on the head is {}."
    return verdicts.gain_verdict(contrasts, reason, columns, lines)


def _order(published: Published) -> ClaimVerdict:
    sets = published.sets("paper-order", _DCM, *_PEERS)
    shown = (*_PEERS, _CONTROL)
    states, lines, controls = [], [], []
    for part in sets:
        gaps = {row: part.difference(row, _DCM, METRIC) for row in shown if part.has(row)}
        states.append(_place(gaps))
        if _CONTROL in gaps and not verdicts.is_loss(gaps[_CONTROL]):
            controls.append(part.name)
        cells = [verdicts.interval_text(gaps[row]) if row in gaps else "" for row in shown]
        lines.append((part.name, verdicts.stat_text(part.stat(_DCM, METRIC)), *cells))
    table = MarkdownTable(("data set", _DCM, *(f"{row} − dcm" for row in shown)), lines)  # noqa: RUF001
    first = states.count(HOLDS)
    reason = (
        f"dcm is ahead of the three others, intervals apart, on {first} of "
        f"{verdicts.counted(len(sets))}, and not the best on {states.count(FAILS)}"
    )
    if controls:
        reason += f"; the control last_k is not behind it on {', '.join(controls)}"
    return ClaimVerdict(
        verdicts.majority(states), reason + ".", table, f"first on {first} of {len(sets)}"
    )


def _place(gaps: dict[str, Interval]) -> Status:
    peers = [gaps[row] for row in _PEERS]
    if all(verdicts.is_loss(gap) for gap in peers):
        return HOLDS
    return FAILS if any(gap.difference > 0 for gap in peers) else OPEN


def _clusters_and_topics(published: Published) -> ClaimVerdict:
    sets = published.sets("paper-order", _DCM)
    sets = [part for part in sets if part.find(_DCM, "cluster_nmi_random") is not None]
    if not sets:
        raise MissingResultError("`paper-order` has no history of five items with topics")
    states: list[Status] = []
    lines, above = [], []
    for part in sets:
        own, chance = part.mean(_DCM, "cluster_nmi"), part.mean(_DCM, "cluster_nmi_random")
        above.append(own - chance)
        clear, none = own - chance >= _AGREEMENT_CLEAR, own - chance < _AGREEMENT_NONE
        states.append(HOLDS if clear else FAILS if none else OPEN)
        peers = [part.find(row, "cluster_nmi") if part.has(row) else None for row in _NMI_PEERS]
        cells = (f"{own:.3f}", f"{chance:.3f}", *(verdicts.stat_text(p, 3) for p in peers))
        lines.append((part.name, *cells))
    span = f"{verdicts.signed(min(above), 3)} to {verdicts.signed(max(above), 3)}"
    columns = ("data set", "NMI dcm", "shuffled", *(f"NMI {row}" for row in _NMI_PEERS))
    reason = (
        f"NMI of clusters and primary topics is {span} above that "
        "of shuffled clusters; the item vectors hold topics here, so it shows agreement, not that "
        "topics are unneeded."
    )
    figure = f"NMI {span} over chance"
    return ClaimVerdict(verdicts.majority(states), reason, MarkdownTable(columns, lines), figure)


_NMI_PEERS = ("pfs", "mind")


CLAIMS = (
    Claim(
        "H1",
        "K conditioned embeddings beat one two-tower embedding.",
        f"`paper-implicit`: {METRIC} of dcm minus two_tower, equal N, an item's score its best "
        "slot's.",
        GAIN_RULE,
        "no offline figure of a single embedding is known",
        verdicts.row_minus_row(
            "paper-implicit",
            _DCM,
            _ONE,
            (_ONE, _DCM, "dcm − two_tower", "n"),  # noqa: RUF001
            f"The difference in {METRIC} is {{}}.",
            lambda part: (f"{part.users(_DCM):,}",),
        ),
    ),
    Claim(
        "H2",
        "The gain of several embeddings is larger on torso and tail interests than on the head.",
        f"`paper-segments`: gain in {METRIC} of dcm over two_tower by the place of the target's "
        "topic in the user's history; the gain on the tail minus that on the head.",
        GAIN_RULE,
        "an example in a figure, no number",
        _tail_gains_more,
    ),
    Claim(
        "H3",
        "dcm is better than interest tokens, MIND and self-attention.",
        f"`paper-order`: {METRIC} of each minus dcm, all with the same association rule.",
        "it is so where all three intervals are below 0, refuted where one of the three has the "
        f"higher mean; {verdicts.MAJORITY_RULE}",
        "HR@100 .185 / .180 / .175 / .167",
        _order,
    ),
    Claim(
        "H20",
        "Clusters trained end to end beat fixed offline clusters.",
        f"`paper-order`: {METRIC} of dcm minus pfs (K-means clusters of the catalogue).",
        GAIN_RULE,
        "online: repins +0.86 % against +0.47 %",
        verdicts.row_minus_row(
            "paper-order",
            _DCM,
            "pfs",
            ("pfs", _DCM, "dcm − pfs", "coverage@100 pfs", "coverage@100 dcm"),  # noqa: RUF001
            f"The difference in {METRIC} is {{}}.",
            lambda part: [
                verdicts.stat_text(part.find(row, "coverage@100"), 3) for row in ("pfs", _DCM)
            ],
        ),
    ),
    Claim(
        "H21",
        "End-to-end clusters need no item category, yet align with it.",
        "`paper-order`: normalised mutual information (NMI) of history clusters and the items' "
        "primary topics, beside that of shuffled clusters.",
        f"it is so where NMI is at least {_AGREEMENT_CLEAR} above chance, refuted where it is less "
        f"than {_AGREEMENT_NONE} above; {verdicts.MAJORITY_RULE}",
        "case study only",
        _clusters_and_topics,
    ),
)
