import pytest

from research.paper.page import CLAIMS
from research.paper.results import Published
from research.paper.verdicts import FAILS, HOLDS, OPEN, decide
from tests.research.paper import cases

BY_ID = {claim.id: claim for claim in CLAIMS}
IDS = [f"H{number}" for number in range(1, 24)]


def verdict(name, content):
    return decide(BY_ID[name], Published(content))


def test_there_is_one_claim_for_each_hypothesis_in_order():
    assert [claim.id for claim in CLAIMS] == IDS


@pytest.mark.parametrize("name", IDS)
def test_a_claim_holds_where_the_results_say_so(name):
    found = verdict(name, cases.HOLDING[name])
    assert found.status == HOLDS
    assert found.evidence is not None
    assert found.reason.endswith(".")


@pytest.mark.parametrize("name", IDS)
def test_a_claim_does_not_hold_where_the_results_contradict_it(name):
    assert verdict(name, cases.FAILING[name]).status == FAILS


@pytest.mark.parametrize("name", IDS)
def test_a_claim_whose_experiment_was_not_run_is_not_decidable(name):
    found = verdict(name, {})
    assert found.status == OPEN
    assert "was not run" in found.reason


@pytest.mark.parametrize("name", [name for name in IDS if name != "H22"])
def test_a_claim_whose_rows_are_missing_is_not_decidable(name):
    emptied = {
        key: {**content, "datasets": {"toy": {"rows": [], "baseline": ""}}}
        for key, content in cases.HOLDING[name].items()
    }
    found = verdict(name, emptied)
    assert found.status == OPEN
    assert "was not run with all of" in found.reason


def test_a_gain_that_seeds_and_users_leave_open_is_not_decidable():
    found = verdict("H1", cases.several_embeddings((-0.02, 0.04)))
    assert found.status == OPEN
    assert found.figure == "+0.0100"


def test_the_order_is_open_where_dcm_is_first_but_not_apart():
    assert verdict("H3", cases.order(0.19, (-0.03, 0.01))).status == OPEN


def test_a_control_that_keeps_up_with_dcm_is_named():
    content = cases.order(0.19, cases.DOWN)
    rows = content["paper-order"]["datasets"]["toy"]["rows"]
    rows.append(cases.row("last_k", 0.199, against=("dcm", -0.01, 0.01)))
    assert "the control last_k is not behind it on toy" in verdict("H3", content).reason


def test_parts_that_bring_nothing_together_refute_the_ablation():
    content = cases.ablation(0.0, 0.0)
    both = content["paper-ablation"]["datasets"]["toy"]["rows"][3]
    both["versus"]["recall@100"] = cases.row("x", against=("k7_neither", -0.002, 0.002))["versus"][
        "recall@100"
    ]
    assert verdict("H4", content).status == FAILS


def test_a_mask_that_raises_recall_helps_although_no_centroid_collapses():
    content = cases.invalid(0.4, 0.4)
    for entry in content["limits-invalid"]["datasets"]["toy"]["rows"]:
        if entry["row"].startswith("aware"):
            entry["figures"]["recall@100"] = cases.row("x", 0.4)["figures"]["recall@100"]
    assert verdict("H6", content).status == HOLDS


def test_collapse_that_gumbel_softmax_does_not_mend_is_named():
    found = verdict("H7", cases.association(used=False, mended=False))
    assert found.status == FAILS
    assert "self_attention_gumbel, interest_token_gumbel is still collapsed" in found.reason


def test_equal_embeddings_count_as_collapse_although_every_slot_is_used():
    content = cases.association(used=True)
    for entry in content["paper-association"]["datasets"]["toy"]["rows"]:
        if entry["row"] in ("self_attention_argmax", "interest_token_argmax"):
            entry["figures"]["user_cosine"]["mean"] = 0.99
    assert verdict("H7", content).status == HOLDS


def test_a_rise_that_users_leave_open_is_not_decidable():
    assert verdict("H5", cases.ablation(0.0, 0.04, spread=0.1)).status == OPEN


def test_another_adaptive_rule_does_not_decide_on_the_papers():
    assert verdict("H9", cases.adaptive(cases.UP, by_mass=cases.DOWN)).status == FAILS


def test_the_filter_is_judged_where_it_can_lose():
    content = cases.explicit()
    for entry in content["paper-explicit"]["datasets"]["toy"]["rows"]:
        if entry["row"] == "cr_source":
            entry["slices"]["follows"]["followers"]["figures"]["recall@100"]["mean"] = 0.1
    assert verdict("H14", content).status == FAILS


def test_latency_without_points_of_both_models_is_not_decidable():
    content = cases.latency(13.0)
    content["cost"]["points"] = [p for p in content["cost"]["points"] if p["model"] == "dcm"]
    assert verdict("H22", content).status == OPEN


def test_latency_beyond_the_limit_at_some_lengths_only_is_not_decidable():
    found = verdict("H22", cases.latency(13.0, 25.0))
    assert found.status == OPEN
    assert found.figure == "1.30 to 2.50 times"


def test_a_merge_that_trades_recall_for_topics_is_not_decidable():
    assert verdict("H10", cases.merge(cases.UP, (-0.5, -0.3))).status == OPEN


def test_a_union_is_not_decidable_where_a_control_gains_as_much():
    found = verdict("H17", cases.union(cases.UP, control=0.23))
    assert found.status == OPEN
    assert "the control without topics gains as much on toy" in found.reason


def test_the_union_is_compared_with_the_better_of_its_parts():
    content = cases.union(cases.UP)
    explicit = content["paper-union"]["datasets"]["toy"]["rows"][1]
    explicit["figures"]["recall@100"]["mean"] = 0.4
    assert verdict("H17", content).status == FAILS


def test_a_gain_that_one_seed_contradicts_is_not_decidable():
    content = cases.several_embeddings(cases.UP)
    dcm = content["paper-implicit"]["datasets"]["toy"]["rows"][1]
    dcm["figures"]["recall@100"]["values"] = [0.26, 0.18]
    assert verdict("H1", content).status == OPEN
