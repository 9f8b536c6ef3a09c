"""Claims about association rules and negatives."""

from __future__ import annotations

from research.paper import verdicts
from research.paper.results import METRIC, Published, ResultSet
from research.paper.verdicts import (
    FAILS,
    GAIN_RULE,
    HOLDS,
    OPEN,
    WORTH,
    Claim,
    ClaimVerdict,
    MarkdownTable,
)

_EXPERIMENT = "paper-association"
_MODELS = ("dcm", "self_attention", "interest_token")
_RULES = ("argmax", "gumbel", "best_slot")
_USED, _COSINE = 0.8, 0.95
_PLAIN, _CORRECTED = "in_batch_no_logq", "in_batch_logq"
_NEGATIVES = (_PLAIN, _CORRECTED, "in_batch_logq_streaming", "mixed_logq", "uniform")


def used_share(part: ResultSet, row: str) -> float:
    """Returns the share of a model's slots that suit the target best for 1 % of users or more."""
    return 1.0 - part.mean(row, "dead_slots") / part.mean(row, "slots_total")


def collapsed(part: ResultSet, row: str) -> bool:
    """True where slots lie idle or a user's embeddings are all the same."""
    return used_share(part, row) < _USED or part.mean(row, "user_cosine") >= _COSINE


def _collapse(published: Published) -> ClaimVerdict:
    needed = [f"{model}_argmax" for model in _MODELS]
    needed += [f"{model}_gumbel" for model in _MODELS[1:]]
    part = published.sets(_EXPERIMENT, *needed)[0]
    lines = []
    for model in _MODELS:
        for rule in _RULES:
            row = f"{model}_{rule}"
            if not part.has(row):
                continue
            figures = ("user_cosine", "dead_slots", "slot_use", METRIC)
            cells = [
                verdicts.stat_text(part.find(row, f), 4 if f == METRIC else 3) for f in figures
            ]
            state = "yes" if collapsed(part, row) else "no"
            lines.append((model, rule, *cells, f"{used_share(part, row):.0%}", state))
    columns = ("model", "association", "user cosine", "dead slots", "slot use", METRIC)
    table = MarkdownTable((*columns, "slots used", "collapsed"), lines)
    learned = {row: collapsed(part, row) for row in needed}
    free = [row for row in needed[1:3] if not learned[row]]
    unfixed = [row for row in needed[3:] if learned[row]]
    broken = [
        f"{', '.join(free)} does not collapse" if free else "",
        f"{', '.join(unfixed)} is still collapsed" if unfixed else "",
        "dcm_argmax collapses as well" if learned[needed[0]] else "",
    ]
    broken = [words for words in broken if words]
    share = f"self_attention_argmax uses {used_share(part, needed[1]):.0%} of its slots"
    reason = f"{share}; {'; '.join(broken) or 'Gumbel-softmax mends it and dcm needs no mending'}."
    return ClaimVerdict(FAILS if broken else HOLDS, reason, table, share.split(" uses ")[1])


def _chosen_slot_negatives(published: Published) -> ClaimVerdict:
    part = published.sets(_EXPERIMENT, "dcm_argmax", "dcm_best_slot")[0]
    lines = []
    for model in _MODELS:
        own, every = f"{model}_argmax", f"{model}_best_slot"
        if not part.has(own, every):
            continue
        gap = part.difference(own, every, METRIC)
        costs = [
            " / ".join(verdicts.stat_text(part.find(row, figure), 0) for row in (own, every))
            for figure in ("examples_per_s", "peak_mb")
        ]
        accuracy = [verdicts.stat_text(part.stat(row, METRIC)) for row in (own, every)]
        lines.append((model, *accuracy, verdicts.interval_text(gap), *costs))
    columns = ("model", "chosen slot", "best slot", "chosen − best", "examples/s", "peak MB")  # noqa: RUF001
    gap = part.difference("dcm_argmax", "dcm_best_slot", METRIC)
    status = FAILS if verdicts.is_loss(gap) else HOLDS if gap.low > -WORTH * gap.scale else OPEN
    words = {
        FAILS: "loses against their best slot",
        HOLDS: f"loses less than {WORTH:.0%}",
        OPEN: "may lose or gain: the interval is too wide",
    }
    reason = f"For dcm, scoring negatives with the target's slot {words[status]}."
    return ClaimVerdict(status, reason, MarkdownTable(columns, lines), verdicts.gaps_text([gap]))


def _logq(published: Published) -> ClaimVerdict:
    sets = published.sets("paper-negatives", _PLAIN, _CORRECTED)
    found = [part.difference(_CORRECTED, _PLAIN, METRIC) for part in sets]
    lines = []
    for part in sets:
        for row in _NEGATIVES:
            if not part.has(row):
                continue
            gap = "" if row == _PLAIN else part.difference(row, _PLAIN, METRIC)
            shown = gap if isinstance(gap, str) else verdicts.interval_text(gap)
            coverage = verdicts.stat_text(part.find(row, "coverage@100"), 3)
            accuracy = verdicts.stat_text(part.stat(row, METRIC))
            lines.append((part.name, row, accuracy, shown, coverage))
    columns = ("data set", "negatives", METRIC, "against uncorrected", "coverage@100")
    words = f"With the correction {METRIC} is {{}}."
    return verdicts.gain_verdict(found, words, columns, lines)


CLAIMS = (
    Claim(
        "H7",
        "Hard argmax association collapses self-attention heads and interest tokens; "
        "straight-through Gumbel-softmax mends it; dcm does not need it.",
        "`paper-association`: pairwise cosine of a user's embeddings and slots that suit the "
        "target best for under 1 % of users.",
        f"collapsed means under {_USED:.0%} of the slots used or a cosine of {_COSINE} or more; "
        "holds when both learned extractors collapse under argmax and not with Gumbel-softmax, "
        "and dcm does not collapse under argmax; does not hold otherwise",
        "text only",
        _collapse,
    ),
    Claim(
        "H8",
        "Scoring negatives with the target's slot only loses nothing against their best slot.",
        f"`paper-association`: {METRIC} of dcm with `argmax` (Eq. 8-9) minus `best_slot`.",
        f"does not hold when the interval is below 0; holds when it excludes a loss of {WORTH:.0%}",
        "argued for by memory, no number",
        _chosen_slot_negatives,
    ),
    Claim(
        "H19",
        "In-batch negatives need the logQ correction.",
        f"`paper-negatives`: {METRIC} of two_tower with in-batch negatives, corrected minus "
        "uncorrected.",
        GAIN_RULE,
        "PinnerFormer: R@10 .071 → .167",
        _logq,
    ),
)
