"""Results for every claim under which it holds, and under which it does not."""

from tests.research.paper.sample import dataset, experiment, row, stat

UP, DOWN = (0.01, 0.03), (-0.03, -0.01)
HEAD, TORSO, TAIL = (("interest", rank) for rank in ("head", "torso", "tail"))
FOLLOWERS = ("follows", "followers")
SHORT, LONG = (("history_tercile", third) for third in ("short", "long"))


def _one(name, *rows, baseline, **more):
    return {name: experiment(name, toy=dataset(*rows, baseline=baseline, **more))}


def several_embeddings(sign):
    rows = row("two_tower"), row("dcm", 0.2 + sum(sign) / 2, against=("two_tower", *sign))
    return _one("paper-implicit", *rows, baseline="two_tower")


def by_rank(head, tail):
    slices = {
        HEAD: (300, 0.3, ("two_tower", *head)),
        TORSO: (300, 0.3, ("two_tower", 0.0, 0.01)),
        TAIL: (300, 0.1, ("two_tower", *tail)),
    }
    plain = {rank: (300, 0.1, None) for rank in (HEAD, TORSO, TAIL)}
    rows = row("two_tower", slices=plain), row("dcm", slices=slices)
    return _one("paper-segments", *rows, baseline="two_tower")


def order(token, sign):
    rows = [row(name, 0.18, against=("dcm", *DOWN)) for name in ("self_attention", "mind")]
    rows.append(row("interest_token", token, against=("dcm", *sign)))
    return _one("paper-order", row("dcm", 0.2), *rows, baseline="dcm")


def ablation(single, both, by_k=(0.16, 0.18), spread=0.01):
    rows = [row("k7_neither", 0.16, against=("k7_both", -both - 0.01, 0.01 - both))]
    rows += [row(name, 0.16 + single) for name in ("k7_sar", "k7_va_fpi")]
    rows.append(row("k7_both", 0.2))
    rows += [row(name, value, against=("k7_both", value - 0.2 - spread, value - 0.2 + spread))
             for name, value in zip(("k2_both", "k4_both"), by_k, strict=True)]  # fmt: skip
    return _one("paper-ablation", *rows, baseline="k7_both")


def invalid(aware, unaware):
    rows = []
    for share in (10, 20):
        rows.append(row(f"aware_{share}", figures={"centroid_cosine": aware}))
        rows.append(row(f"unaware_{share}", figures={"centroid_cosine": unaware}))
    return _one("limits-invalid", *rows, baseline="unaware_20")


def association(used, mended=True, argmax=DOWN):
    def learned(name, fine, **more):
        figures = {"user_cosine": 0.5, "slots_total": 7, "dead_slots": 0.0 if fine else 5.0}
        return row(name, figures=figures, **more)

    rows = [learned("dcm_best_slot", True)]
    rows.append(learned("dcm_argmax", True, against=("dcm_best_slot", *argmax)))
    for model in ("self_attention", "interest_token"):
        rows += [learned(f"{model}_argmax", used), learned(f"{model}_gumbel", mended)]
    return _one("paper-association", *rows, baseline="dcm_best_slot")


def adaptive(sign, by_mass=DOWN):
    rows = [row(f"adaptive_{rule}", against=("dcm", *value))
            for rule, value in (("history_size", sign), ("cluster_mass", by_mass))]  # fmt: skip
    return _one("adaptive", row("dcm"), *rows, baseline="dcm")


def merge(recall, entropy):
    versus = {"topic_entropy@50": ("dcm/round_robin", *entropy)}
    score = row("dcm", against=("dcm/round_robin", *recall), versus=versus)
    return _one("paper-serving-merge", row("dcm/round_robin"), score, baseline="dcm/round_robin")


def budgets(sign):
    versus = {"topic_entropy@50": ("dcm/round_robin", -0.1, 0.1)}
    equal = row("dcm/equal_budgets", against=("dcm/round_robin", *sign), versus=versus)
    return _one("paper-serving-merge", row("dcm/round_robin"), equal, baseline="dcm/round_robin")


def stale(recall):
    rows = row("dcm_stale_index", 0.2), row("dcm_stale_index/stale", recall)
    return _one("paper-serving-merge", *rows, baseline="dcm_stale_index")


def explicit(sign=UP, recall=0.2, unfiltered=0.2, match=0.6, plain=0.1, index=0.1):
    base = "cr_item/source_topic"
    floors = {"topic_popularity": {"recall@100": index}}
    rows = [
        row("two_tower/source_topic", figures={"topic_relevance": plain}),
        row(base, 0.18),
        row("cr_source/source_topic", recall, against=(base, *sign),
            figures={"topic_relevance": 1.0}),
        row("cr_source_logged/source_topic", recall, against=(base, *sign)),
        *(row(f"{model}/source_topic_unfiltered", unfiltered, figures={"topic_relevance": match})
          for model in ("cr_item", "cr_source")),
        *(row(name, figures={"topic_relevance": relevance}, slices={FOLLOWERS: (500, value, None)})
          for name, value, relevance in (
              ("cr_source", recall, 1.0), ("cr_source/unfiltered", unfiltered, match))),
    ]  # fmt: skip
    return _one("paper-explicit", *rows, baseline=base, floors_source_topic=floors)


def overlap(share):
    figures = {"overlap_implicit": share, "overlap_jaccard": share / 2}
    union_row = row("dcm+cr_80_20", slices={FOLLOWERS: (500, 0.2, None)})
    for name, value in figures.items():
        union_row["slices"]["follows"]["followers"]["figures"][name] = stat(value)
    return _one("paper-union", row("dcm"), union_row, baseline="dcm")


def union(sign, control=0.19, both=0.22):
    rows = [
        row("dcm", 0.2),
        row("cr", 0.1, against=("dcm", *DOWN)),
        row("dcm+cr_80_20", both, against=("dcm", *sign)),
        row("dcm+two_tower_80_20", control, against=("dcm", -0.02, 0.02)),
    ]
    return _one("paper-union", *rows, baseline="dcm")


def thirds(implicit_short, implicit_long, explicit_short, explicit_long):
    def slices(base, short, longer):
        return {SHORT: (300, 0.2, (base, *short)), LONG: (300, 0.3, (base, *longer))}

    plain = {third: (300, 0.2, None) for third in (SHORT, LONG)}
    implicit = slices("two_tower", implicit_short, implicit_long)
    explicit_ = slices("dcm", explicit_short, explicit_long)
    one = row("two_tower", slices=plain), row("dcm", slices=implicit)
    two = row("dcm", slices=plain), row("dcm+cr_80_20", slices=explicit_)
    return _one("paper-segments", *one, baseline="two_tower") | _one(
        "paper-union", *two, baseline="dcm"
    )


def offline(sign):
    return _one("paper-order", row("dcm"), row("pfs", against=("dcm", *sign)), baseline="dcm")


def agreement(nmi):
    figures = {"cluster_nmi": nmi, "cluster_nmi_random": 0.4}
    return _one("paper-order", row("dcm", figures=figures), baseline="dcm")


def latency(*ms):
    """Milliseconds of dcm at each history length; two_tower takes 10 everywhere."""
    points = [
        {"model": model, "axis": "history_length", "value": 20 * number}
        | dict.fromkeys(("embed_user_p50_ms", "retrieve_p50_ms"), value)
        for number, own in enumerate(ms, 1)
        for model, value in (("two_tower", 10.0), ("dcm", own))
    ]
    return {"cost": {**experiment("cost"), "points": points}}


def logq(sign):
    rows = row("in_batch_no_logq"), row("in_batch_logq", against=("in_batch_no_logq", *sign))
    return _one("paper-negatives", *rows, baseline="in_batch_no_logq")


SMALL, LARGE = (0.0, 0.01), (0.03, 0.05)
HOLDING = {
    "H1": several_embeddings(UP),
    "H2": by_rank(SMALL, LARGE),
    "H3": order(0.19, DOWN),
    "H4": ablation(0.0, 0.04),
    "H5": ablation(0.0, 0.04),
    "H6": invalid(0.2, 0.5),
    "H7": association(used=False),
    "H8": association(used=False, argmax=UP),
    "H9": adaptive(DOWN),
    "H10": merge((-0.01, 0.01), (-0.5, -0.3)),
    "H11": budgets(DOWN),
    "H12": explicit(UP),
    "H13": explicit(match=0.6, plain=0.1),
    "H14": explicit(recall=0.2, unfiltered=0.2),
    "H15": explicit(recall=0.3, index=0.1),
    "H16": overlap(0.03),
    "H17": union(UP),
    "H18": thirds(SMALL, LARGE, LARGE, SMALL),
    "H19": logq(UP),
    "H20": offline(DOWN),
    "H21": agreement(0.6),
    "H22": latency(13.0, 15.0),
    "H23": stale(0.01),
}
FAILING = {
    "H1": several_embeddings(DOWN),
    "H2": by_rank(LARGE, SMALL),
    "H3": order(0.21, UP),
    "H4": ablation(0.035, 0.04),
    "H5": ablation(0.0, 0.04, by_k=(0.21, 0.2)),
    "H6": invalid(0.4, 0.4),
    "H7": association(used=True),
    "H8": association(used=False, argmax=DOWN),
    "H9": adaptive(UP),
    "H10": merge(UP, (0.1, 0.2)),
    "H11": budgets(UP),
    "H12": explicit(DOWN, recall=0.16),
    "H13": explicit(match=0.15, plain=0.1),
    "H14": explicit(recall=0.15, unfiltered=0.2),
    "H15": explicit(recall=0.1, index=0.3),
    "H16": overlap(0.4),
    "H17": union(DOWN, both=0.18),
    "H18": thirds(SMALL, LARGE, SMALL, LARGE),
    "H19": logq(DOWN),
    "H20": offline(UP),
    "H21": agreement(0.41),
    "H22": latency(25.0, 30.0),
    "H23": stale(0.15),
}
