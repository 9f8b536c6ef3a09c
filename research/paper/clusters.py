"""Claims about the parts of differentiable clustering and the number of clusters."""

from __future__ import annotations

from research.paper import verdicts
from research.paper.results import METRIC, Interval, Published, ResultSet
from research.paper.verdicts import FAILS, HOLDS, OPEN, Claim, ClaimVerdict, MarkdownTable, Status

ABLATION = "paper-ablation"
NEITHER, SAR, VA_FPI, BOTH = "k7_neither", "k7_sar", "k7_va_fpi", "k7_both"
BY_K = ("k2_both", "k4_both", BOTH)
_SINGLE_SHARE = 0.8
_COSINE_CLEAR = 0.02
_ADAPTIVE = ("adaptive_history_size", "adaptive_cluster_mass")


def _only_together(published: Published) -> ClaimVerdict:
    sets = published.sets(ABLATION, NEITHER, SAR, VA_FPI, BOTH)
    states, lines, joint_gains = [], [], []
    for part in sets:
        sar, va_fpi, joint = (part.difference(r, NEITHER, METRIC) for r in (SAR, VA_FPI, BOTH))
        states.append(_together(joint, max(sar.difference, va_fpi.difference)))
        joint_gains.append(joint)
        cells = [verdicts.interval_text(gap) for gap in (va_fpi, sar, joint)]
        lines.append((part.name, verdicts.stat_text(part.stat(NEITHER, METRIC)), *cells))
    table = MarkdownTable(("data set", "neither", "+ VA-FPI", "+ SAR", "+ both"), lines)
    reason = (
        f"The gain of both over neither is {verdicts.gain_words(joint_gains)}; it is joint on "
        f"{states.count(HOLDS)}."
    )
    return ClaimVerdict(
        verdicts.majority(states), reason, table, f"both: {verdicts.gaps_text(joint_gains)}"
    )


def _together(joint: Interval, best_single: float) -> Status:
    if verdicts.is_no_gain(joint):
        return FAILS
    if not verdicts.is_gain(joint):
        return OPEN
    return FAILS if best_single >= _SINGLE_SHARE * joint.difference else HOLDS


def _more_clusters(published: Published) -> ClaimVerdict:
    sets = published.sets(ABLATION, *BY_K)
    states: list[Status] = []
    lines, rises = [], []
    for part in sets:
        two, four, seven = (part.mean(row, METRIC) for row in BY_K)
        rises.append(part.difference(BOTH, BY_K[0], METRIC))
        rising = two < four < seven and verdicts.is_gain(rises[-1])
        states.append(HOLDS if rising else FAILS if seven <= max(two, four) else OPEN)
        cells = [verdicts.stat_text(part.stat(row, METRIC)) for row in BY_K]
        cosines = [verdicts.stat_text(part.find(row, "centroid_cosine"), 2) for row in BY_K]
        lines.append((part.name, *cells, verdicts.interval_text(rises[-1]), " / ".join(cosines)))
    columns = ("data set", "K = 2", "K = 4", "K = 7", "7 − 2", "centroid cosine")  # noqa: RUF001
    reason = (
        f"{METRIC} rises from K = 2 to 4 to 7 on {states.count(HOLDS)} of "
        f"{verdicts.counted(len(sets))}, and K = 7 is not the best on {states.count(FAILS)}."
    )
    return ClaimVerdict(
        verdicts.majority(states), reason, MarkdownTable(columns, lines), verdicts.gaps_text(rises)
    )


def _validity_mask(published: Published) -> ClaimVerdict:
    shares = (0, 10, 20, 40)
    decisive = [f"{kind}_{share}" for share in (10, 20) for kind in ("aware", "unaware")]
    sets = published.sets("limits-invalid", *decisive)
    states: list[Status] = []
    lines, gaps = [], []
    for part in sets:
        for share in shares:
            aware, unaware = f"aware_{share}", f"unaware_{share}"
            if not part.has(aware, unaware):
                continue
            gap = part.difference(aware, unaware, METRIC)
            lines.append((part.name, f"{share} %", *_mask_cells(part, aware, unaware, gap)))
            if share in (10, 20):
                states.append(_mask_helps(part, aware, unaware, gap))
                gaps.append(gap)
    pairs = ("centroid cosine with / without", "dead slots with / without")
    columns = ("data set", "without features", "with mask", "without mask", "difference", *pairs)
    reason = (
        f"With 10 and 20 % of the items without features the mask changes {METRIC} by "
        f"{verdicts.gaps_text(gaps)}; it helps in {states.count(HOLDS)} of {len(states)} cases."
    )
    status = verdicts.unanimous(states)
    return ClaimVerdict(status, reason, MarkdownTable(columns, lines), verdicts.gaps_text(gaps))


def _mask_cells(part: ResultSet, aware: str, unaware: str, gap: Interval) -> tuple[str, ...]:
    pairs = [
        " / ".join(verdicts.stat_text(part.find(row, figure), 3) for row in (aware, unaware))
        for figure in ("centroid_cosine", "dead_slots")
    ]
    accuracy = [verdicts.stat_text(part.stat(row, METRIC)) for row in (aware, unaware)]
    return (*accuracy, verdicts.interval_text(gap), *pairs)


def _mask_helps(part: ResultSet, aware: str, unaware: str, gap: Interval) -> Status:
    cosines = [part.mean(row, "centroid_cosine") for row in (aware, unaware)]
    collapse = cosines[1] - cosines[0] >= _COSINE_CLEAR
    return HOLDS if (collapse and not verdicts.is_loss(gap)) or verdicts.is_gain(gap) else FAILS


def _fixed_or_adaptive(published: Published) -> ClaimVerdict:
    sets = published.sets("adaptive", "dcm", *_ADAPTIVE)
    lines, found = [], []
    for part in sets:
        gaps = [part.difference(row, "dcm", METRIC) for row in _ADAPTIVE]
        found.append(gaps[0])
        slots = [verdicts.stat_text(part.find(r, "slots_valid"), 2) for r in ("dcm", *_ADAPTIVE)]
        cells = [verdicts.interval_text(gap) for gap in gaps]
        lines.append(
            (part.name, verdicts.stat_text(part.stat("dcm", METRIC)), *cells, " / ".join(slots))
        )
    columns = ("data set", "fixed K", "by history size − fixed", "by cluster mass − fixed")  # noqa: RUF001
    flipped: dict[Status, Status] = {HOLDS: FAILS, FAILS: HOLDS, OPEN: OPEN}
    status = flipped[verdicts.gain_status(found)]
    gains = sum(verdicts.is_gain(gap) for gap in found)
    losses = sum(verdicts.is_loss(gap) for gap in found)
    reason = (
        f"K by history size is better on {gains}, worse on {losses} and not apart on "
        f"{len(found) - gains - losses} of {verdicts.counted(len(found))}."
    )
    table = MarkdownTable((*columns, "slots in use"), lines)
    return ClaimVerdict(status, reason, table, verdicts.gaps_text(found))


CLAIMS = (
    Claim(
        "H4",
        "VA-FPI and SAR help only together.",
        f"`paper-ablation`: {METRIC} at K = 7 with each, both and neither.",
        "it is so where both gain over neither and each alone gains less than "
        f"{_SINGLE_SHARE:.0%} of that, refuted where one alone gains as much or both bring no "
        f"gain; {verdicts.MAJORITY_RULE}",
        "HR@100 .175 / .176 / .175 / .185 (neither, SAR, VA-FPI, both)",
        _only_together,
    ),
    Claim(
        "H5",
        "More clusters help: K = 2, 4, 7.",
        f"`paper-ablation`: {METRIC} by K.",
        "it is so where it rises at each step and the interval of K = 7 minus K = 2 is above 0, "
        f"refuted where K = 7 is not the best; {verdicts.MAJORITY_RULE}",
        "HR@100 .176 / .180 / .185",
        _more_clusters,
    ),
    Claim(
        "H6",
        "The validity mask keeps centroids from collapsing when items lack features.",
        "`limits-invalid`: dcm with and without the mask while a share of the items has no "
        "features in histories.",
        f"the mask helps where it raises {METRIC} (interval above 0) or lowers the centroids' "
        f"cosine by {_COSINE_CLEAR} or more without a loss (interval below 0); holds when it does "
        "at 10 and at 20 %, does not hold when at neither",
        "a t-SNE figure, no number",
        _validity_mask,
    ),
    Claim(
        "H9",
        "A fixed K is at least as good as a K for each user.",
        f"`adaptive`: {METRIC} of dcm with K by history size, the paper's rule, minus fixed K; by "
        "cluster mass beside it.",
        "holds when K by history size shows no gain on more than half of the data sets, or when "
        "any interval is below 0 and no more than half are above; does not hold when the interval "
        "is above 0 on more than half and below 0 on none",
        "adaptive K: −0.12 % repins",  # noqa: RUF001
        _fixed_or_adaptive,
    ),
)
