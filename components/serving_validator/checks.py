"""Verdicts on one SavedModel, each with its reason, from what the probe found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.config import ServingValidatorConfig
from components.index_builder.layout import SCANN_RETRIEVER
from components.serving_validator import contract
from components.serving_validator.answers import (
    RULES,
    KnownItems,
    broken_rules,
    misshapen,
    read_answer,
)
from components.serving_validator.cases import Arrays, Case
from components.serving_validator.probe import differences
from components.serving_validator.warmup import MOST_RECORDS
from core.errors import BundleError
from trainer import features
from trainer.retrieval import signature

#: Largest difference of an embedding, or of a score, that two batch sizes may make.
ROUNDING = 1e-4
_RETRIEVING = ("serving_default", signature.RETRIEVE)
_SCANN = "Scann>"


def check(name: str, model: str, passed: bool, reason: str, value: Any = None) -> dict[str, Any]:
    """Returns one verdict; a number that is not finite becomes None."""
    if isinstance(value, float) and not math.isfinite(value):
        value = None
    return {"name": name, "model": model, "passed": bool(passed), "reason": reason, "value": value}


def contract_check(model: str, folder: Path, filtered: bool = False) -> dict[str, Any]:
    """Judges names, dtypes, shapes and defaults of the signatures."""
    try:
        problems = contract.broken_promises(folder, filtered)
    except BundleError as error:
        problems = [str(error)]
    reason = "; ".join(problems) or "names, dtypes, shapes and defaults are as promised"
    return check("signatures", model, not problems, reason, len(problems))


def process_checks(
    model: str, findings: Mapping[str, Any], served: bool, config: ServingValidatorConfig
) -> list[dict[str, Any]]:
    """Judges how the fresh process loaded and ran the SavedModel.

    Args:
      model: name of the SavedModel.
      findings: of `probe.run`.
      served: whether the evaluator measures this one; the latency of another is told only.
      config: the latency budget.
    """
    scann = model == SCANN_RETRIEVER
    forbidden = findings["forbidden"]
    foreign = [op for op in findings["unknown_ops"] if not (scann and op.startswith(_SCANN))]
    stock = "TensorFlow's and ScaNN's" if scann else "TensorFlow's own"
    return [
        check(
            "loads",
            model,
            True,
            f"by the TF1 loader in {findings['load_s']:.2f} s, and by tf.saved_model.load",
        ),
        check(
            "stands alone",
            model,
            not forbidden,
            f"imported {', '.join(forbidden)}" if forbidden else "imports nothing of the project",
        ),
        check(
            "operations",
            model,
            not foreign,
            f"not known to TensorFlow: {', '.join(foreign)}" if foreign else f"{stock} only",
        ),
        _warmup(model, findings["warmup"]),
        _latency(model, findings, config.latency_budget_ms, served),
    ]


def latency_ms(findings: Mapping[str, Any]) -> dict[str, float]:
    """Returns median and 99th percentile of the single requests."""
    p50, p99 = np.percentile(findings["latency_ms"], [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


def answer_checks(
    model: str, cases: Sequence[Case], findings: Mapping[str, Any], catalogue: KnownItems
) -> list[dict[str, Any]]:
    """Judges every answer by itself and against the others."""
    answers = findings["answers"]
    refused = [
        f"{case.name}: {answer['error']}"
        for case, answer in zip(cases, answers, strict=True)
        if answer["error"]
    ]
    outputs = {case.name: answer["outputs"] for case, answer in zip(cases, answers, strict=True)}
    reason = "; ".join(refused[:3]) or f"{len(cases)} requests, of 0 to 64 rows"
    checks = [
        check("answered", model, not refused, reason, len(cases) - len(refused)),
        _loaders(model, cases, answers),
        _same_whatever_the_signature(model, cases, outputs),
    ]
    complete = [case for case in cases if _is_complete(case, outputs[case.name])]
    retrieving = [case for case in complete if case.signature in _RETRIEVING]
    return [
        *checks,
        *_rules(model, retrieving, outputs, catalogue),
        _item_embeddings(model, complete, outputs, catalogue),
        _scores(model, complete, outputs, catalogue),
        *_filters(model, complete, outputs),
    ]


def skew(
    cases: Sequence[Case], answers: Sequence[Any], reference: Sequence[Arrays]
) -> tuple[float, str]:
    """Compares the fresh process's answers with the evaluator's.

    Returns:
      The largest difference of a number, and what else differs in words ('' if nothing).
    """
    largest, words = 0.0, ""
    for case, answer, wanted in zip(cases, answers, reference, strict=True):
        unequal, gap = differences(answer["outputs"], wanted)
        largest = max(largest, gap)
        if unequal and not words:
            words = f"{case.name}: {', '.join(unequal)} differ"
    return largest, words


def is_replay(case: Case) -> bool:
    """Returns whether a case replays real requests through `retrieve`."""
    return case.name.startswith("replay")


def overlap(cases: Sequence[Case], one: Sequence[Any], exact: Sequence[Any]) -> float:
    """Returns the share of exact search's items that another path returns, over the replays."""
    found = wanted = 0
    for case, ours, theirs in zip(cases, one, exact, strict=True):
        if not is_replay(case) or ours["error"] or theirs["error"]:
            continue
        pairs = zip(ours["outputs"]["item_id"], theirs["outputs"]["item_id"], strict=True)
        for mine, his in pairs:
            truth = set(his.tolist()) - {b""}
            found += len(truth & set(mine.tolist()))
            wanted += len(truth)
    return found / wanted if wanted else math.nan


def _latency(
    model: str, findings: Mapping[str, Any], budget: float, served: bool
) -> dict[str, Any]:
    """Exact search of a large catalogue is slow, which is why ScaNN is served there."""
    p50 = latency_ms(findings)["p50"]
    reason = f"median {p50:.1f} ms of {len(findings['latency_ms'])} single requests, "
    reason += f"budget {budget:g} ms" if served else "not judged: another one is served"
    return check("latency", model, p50 <= budget or not served, reason, p50)


def _warmup(model: str, warmup: Mapping[str, Any]) -> dict[str, Any]:
    records = warmup["records"]
    reason = (
        f"{records} requests to {', '.join(warmup['signatures'])} in batches of "
        f"{', '.join(map(str, warmup['batches']))}, {warmup['seconds']:.1f} s"
    )
    return check("warm-up", model, 1 <= records <= MOST_RECORDS, reason, records)


def _loaders(model: str, cases: Sequence[Case], answers: Sequence[Any]) -> dict[str, Any]:
    """The TF1 session and `tf.saved_model.load` must answer alike."""
    unequal = [
        f"{case.name}: {', '.join(answer['unequal'])}"
        for case, answer in zip(cases, answers, strict=True)
        if answer["unequal"]
    ]
    gap = max((answer["gap"] for answer in answers), default=0.0)
    if unequal:
        reason = f"the two loaders' answers differ in {'; '.join(unequal[:3])}"
    else:
        reason = f"the TF1 session answers as tf.saved_model.load, numbers differ by {gap:g}"
    return check("both loaders", model, not unequal and gap == 0.0, reason, gap)


def _same_whatever_the_signature(
    model: str, cases: Sequence[Case], outputs: Mapping[str, Arrays]
) -> dict[str, Any]:
    """`serving_default` and `retrieve_examples` answer as `retrieve` does."""
    problems = []
    for case in cases:
        one, other = outputs[case.name], outputs.get(case.like, {})
        if not case.like or not one or not other:
            continue
        # Lists of a dense request may be padded wider than those of an example.
        width = min(one["history_slot"].shape[1], other["history_slot"].shape[1])
        one, other = (
            {**answer, "history_slot": answer["history_slot"][:, :width]} for answer in (one, other)
        )
        unequal, gap = differences(one, other)
        if unequal or gap > ROUNDING:
            problems.append(f"{case.name}: {', '.join(unequal) or f'numbers by {gap:g}'}")
    reason = "; ".join(problems) or "serving_default and retrieve_examples answer as retrieve"
    return check("signatures agree", model, not problems, reason)


def _is_complete(case: Case, outputs: Arrays) -> bool:
    promised = {**contract.PROMISED, **contract.PROMISED_FILTERED}
    return set(promised[case.signature][1]) <= set(outputs)


def _filters(
    model: str, cases: Sequence[Case], outputs: Mapping[str, Arrays]
) -> list[dict[str, Any]]:
    """A filtered answer holds nothing but allowed items; no verdict where there are no filters."""
    verdicts = []
    for case in cases:
        if signature.ALLOW not in case.inputs or not outputs[case.name]:
            continue
        allowed = {*case.inputs[signature.ALLOW].ravel()} - {*case.inputs[signature.DENY].ravel()}
        others = {*outputs[case.name]["item_id"].ravel()} - allowed - {b""}
        reason = f"{len(others)} items that the request does not allow, {sorted(others)[:1]}"
        words = reason if others else "answers hold allowed items only"
        verdicts.append(check("filters", model, not others, words, len(others)))
    return verdicts


def _rules(
    model: str, cases: Sequence[Case], outputs: Mapping[str, Arrays], catalogue: KnownItems
) -> list[dict[str, Any]]:
    """One verdict per rule over all answers, the first break as its reason."""
    broken: dict[str, list[str]] = {"shapes": [], **{name: [] for name in RULES}}
    for case in cases:
        problem = misshapen(case, outputs[case.name])
        if problem:
            broken["shapes"].append(f"{case.name}: {problem}")
            continue
        answer = read_answer(case, outputs[case.name], catalogue)
        for name, words in broken_rules(answer, catalogue):
            broken[name].append(f"{case.name}: {words}")
    good = {"shapes": "every output has a row per request", **{n: w for n, (_, w) in RULES.items()}}
    return [
        check(name, model, not problems, problems[0] if problems else good[name], len(problems))
        for name, problems in broken.items()
    ]


def _item_embeddings(
    model: str, cases: Sequence[Case], outputs: Mapping[str, Arrays], catalogue: KnownItems
) -> dict[str, Any]:
    """`embed_items` gives the vectors that the index was built from."""
    name = "item embeddings"
    for case in cases:
        if case.signature != signature.EMBED_ITEMS:
            continue
        vectors = outputs[case.name]["embeddings"]
        rows = catalogue.items.rows(case.inputs[features.ITEM_ID])
        known = rows >= 0
        wanted = catalogue.embeddings[rows[known]]
        if vectors.shape != (len(rows), catalogue.embeddings.shape[1]):
            return check(name, model, False, f"{vectors.shape} for {len(rows)} items")
        if not np.isfinite(vectors).all():
            return check(name, model, False, "a vector holds NaN or infinity")
        gap = float(np.abs(vectors[known] - wanted).max(initial=0.0))
        words = "differ" if gap > ROUNDING else "are the same"
        reason = f"the model's and the index's vectors {words}, by {gap:.2g} at most"
        return check(name, model, gap <= ROUNDING, reason, gap)
    return check(name, model, False, "embed_items was not answered")


def _scores(
    model: str, cases: Sequence[Case], outputs: Mapping[str, Arrays], catalogue: KnownItems
) -> dict[str, Any]:
    """A score is the dot product of the item's vector with the embedding of its slot."""
    gap, compared = 0.0, 0
    for case in cases:
        users = outputs.get(case.name.replace("replay", "user"), {})
        if not is_replay(case) or "embeddings" not in users:
            continue
        if misshapen(case, outputs[case.name]):
            continue
        rows = catalogue.items.rows(outputs[case.name]["item_id"])
        slots = outputs[case.name]["slot"]
        row, place = np.nonzero((rows >= 0) & (slots >= 0) & (slots < users["embeddings"].shape[1]))
        vectors = users["embeddings"][row, slots[row, place]]
        wanted = np.einsum("nd,nd->n", vectors, catalogue.embeddings[rows[row, place]])
        found = outputs[case.name]["score"][row, place]
        difference = np.abs(found - wanted) / np.maximum(1.0, np.abs(wanted))
        gap = max(gap, float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0)))
        compared += len(row)
    reason = f"{compared:,} scores are dot products of user and item, within {gap:.2g}"
    if gap > ROUNDING:
        reason = f"scores are not the dot products of user and item: off by {gap:.2g}"
    return check("scores", model, compared > 0 and gap <= ROUNDING, reason, gap)
