"""The work of the ServingValidator, free of TFX."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from components.config import ServingValidatorConfig
from components.evaluator.items import Items
from components.evaluator.replay import load_signature
from components.index_builder.layout import (
    EMBEDDINGS_FILE,
    INDEX_FILE,
    ITEMS_FILE,
    RETRIEVER,
    SCANN_RETRIEVER,
)
from components.serving_validator.answers import KnownItems
from components.serving_validator.cases import Arrays, Case, make_cases
from components.serving_validator.checks import (
    answer_checks,
    check,
    contract_check,
    is_replay,
    latency_ms,
    overlap,
    process_checks,
    skew,
)
from components.serving_validator.exact import exact_answers
from components.serving_validator.layout import OVERLAY, REQUESTS_FILE, VALIDATION_FILE
from components.serving_validator.probe import in_one_line
from components.serving_validator.process import run_probe
from components.serving_validator.sample import (
    kept_requests,
    request_of,
    sample_requests,
    write_requests,
)
from components.serving_validator.warmup import WARMUP_FILE, write_warmup
from core.errors import BundleError
from core.files import read_json, write_json
from core.progress import track
from trainer.config import RetrievalConfig
from trainer.retrieval import signature

_LOG = logging.getLogger("tessera")

SEED = 1
_ITEM_SAMPLE = 64


@dataclass(frozen=True)
class ValidatorPaths:
    """Where the ServingValidator reads and writes.

    Attributes:
      index: the RetrievalIndex to validate.
      examples: raw examples; requests come from `eval`, else from `validation`.
      validation: output folder.
    """

    index: str
    examples: str
    validation: str


@dataclass(frozen=True)
class _World:
    """What every SavedModel of the index is asked and judged by."""

    index: Path
    served: str
    #: The SavedModels that search every item.
    exact: frozenset[str]
    sample: pa.Table
    #: The sample as the bundle may hold it.
    shown: pa.Table
    cases: list[Case]
    timed: list[Arrays]
    items: Items
    embeddings: np.ndarray
    retrieval: RetrievalConfig
    config: ServingValidatorConfig


def validate(paths: ValidatorPaths, config: ServingValidatorConfig) -> dict[str, Any]:
    """Validates, decides and writes; returns what `validation.json` holds.

    A SavedModel that does not serve is a result, not an error.

    Raises:
      DataError: the examples cannot be read.
    """
    index, out = Path(paths.index), Path(paths.validation)
    overlay = out / OVERLAY
    shutil.rmtree(overlay, ignore_errors=True)  # of an attempt that was killed
    description = read_json(index / INDEX_FILE)
    most = max(config.sample_requests, config.requests)
    split, sample = sample_requests(paths.examples, most, SEED)
    result: dict[str, Any] = {
        "served": description["serve"],
        "split": split,
        "requests": min(config.requests, sample.num_rows),
        "latency_ms": {},
        "load_s": {},
        "rss_mb": {},
        "recall": None,
        "skew": None,
        "checks": [_requests_check(split, sample)],
    }
    if sample.num_rows:
        world = _world(index, description, sample, config)
        scann = [SCANN_RETRIEVER] if description["kind"] == "scann" else []
        _validate(world, [RETRIEVER, *scann], overlay, result)
        if config.sample != "none":
            kept = spread(sample.num_rows, config.sample_requests)
            write_requests(world.shown.take(pa.array(kept)), overlay / REQUESTS_FILE)
    result = {"validated": all(c["passed"] for c in result["checks"]), **result}
    write_json(overlay / VALIDATION_FILE, result)
    write_json(out / VALIDATION_FILE, result)
    _log_summary(result)
    return result


def spread(total: int, count: int) -> np.ndarray:
    """Returns at most `count` places of `total`, rising and evenly spread."""
    return np.arange(min(count, total)) * total // max(1, min(count, total))


def _requests_check(split: str, sample: pa.Table) -> dict[str, Any]:
    if not sample.num_rows:
        reason = (
            "neither the eval nor the validation split holds an example: there is no real "
            "request to replay"
        )
        return check("requests", "", False, reason, 0)
    reason = f"a sample of {sample.num_rows:,} of the {split} split"
    return check("requests", "", True, reason, sample.num_rows)


def _world(
    index: Path, description: dict[str, Any], sample: pa.Table, config: ServingValidatorConfig
) -> _World:
    items = Items.read(index / ITEMS_FILE)
    chosen = spread(len(items), _ITEM_SAMPLE)
    table = pq.read_table(index / ITEMS_FILE).drop(["item_id"]).take(pa.array(chosen))
    texts = {n: table[n].cast(pa.list_(pa.binary())).to_pylist() for n in table.column_names}
    rows = spread(sample.num_rows, config.requests)
    timed = np.resize(rows, config.latency_requests)
    retrieval = RetrievalConfig.model_validate(description["retrieval"])
    return _World(
        index=index,
        served=description["serve"],
        exact=frozenset({RETRIEVER} if _stock_is_exact(description) else ()),
        sample=sample,
        shown=kept_requests(sample, config.sample, items.ids, SEED),
        cases=make_cases(
            sample,
            rows,
            [items.ids[i] for i in chosen],
            texts["topics"],
            bool(retrieval.filters),
            texts.get("features"),
        ),
        timed=[request_of(sample, np.asarray([row])) for row in timed],
        items=items,
        embeddings=np.load(index / EMBEDDINGS_FILE, mmap_mode="r"),
        retrieval=retrieval,
        config=config,
    )


def _stock_is_exact(description: dict[str, Any]) -> bool:
    """Returns whether `retriever/` searches every item; older indices do not say, and do."""
    return bool(description.get("stock", {"kind": "exact"})["kind"] == "exact")


def _validate(world: _World, models: list[str], overlay: Path, result: dict[str, Any]) -> None:
    """Asks and judges every SavedModel; adds verdicts and figures to `result`."""
    found: dict[str, dict[str, Any]] = {}
    with track("validating for serving", len(models) + 1) as bar:
        for model in models:
            checks, findings = _validate_model(world, model, overlay)
            result["checks"] += checks
            if findings is not None:
                found[model] = findings
                result["latency_ms"][model] = latency_ms(findings)
                result["load_s"][model] = round(findings["load_s"], 3)
                result["rss_mb"][model] = round(findings["rss_mb"], 1)
            bar.advance()
        if world.served in found:
            verdict = _skew_check(world, found[world.served]["answers"])
            result["checks"].append(verdict)
            result["skew"] = verdict["value"]
        for verdict in _recall_checks(world, found):
            result["checks"].append(verdict)
            if verdict["model"] == world.served:
                result["recall"] = verdict["value"]
        bar.advance()


def _validate_model(
    world: _World, model: str, overlay: Path
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Returns the verdicts on one SavedModel and, where it could be asked, the findings."""
    saved_model, scann = world.index / model, model == SCANN_RETRIEVER
    # In a bundle the stock SavedModel lies at the top.
    warmup = overlay / ("" if model == RETRIEVER else model) / WARMUP_FILE
    filtered = bool(world.retrieval.filters)
    write_warmup(warmup, world.shown, world.config.warmup_requests, filtered)
    plan = {
        "cases": [{"signature": c.signature, "inputs": c.inputs} for c in world.cases],
        "timed": world.timed,
        "timed_signature": signature.RETRIEVE,
    }
    checks = [contract_check(model, saved_model, filtered)]
    try:
        findings = run_probe(saved_model, warmup, plan, scann, world.config.timeout_s)
    except (BundleError, OSError) as error:
        return [*checks, check("loads", model, False, f"does not serve: {error}")], None
    catalogue = KnownItems(
        items=world.items,
        embeddings=world.embeddings,
        retrieval=world.retrieval,
        exact=model in world.exact,
    )
    checks += process_checks(model, findings, model == world.served, world.config)
    return [*checks, *answer_checks(model, world.cases, findings, catalogue)], findings


def _skew_check(world: _World, answers: list[Any]) -> dict[str, Any]:
    """The evaluator's path in this process must give what the fresh process gave."""
    model = world.served
    try:
        reference = _reference(world)
    except BundleError as error:
        return check("skew", model, False, f"the evaluator's path does not answer: {error}")
    gap, words = skew(world.cases, answers, reference)
    passed = gap == 0.0 and not words
    if passed:
        words = "ids, scores and reasons are those that the evaluator sees"
    return check("skew", model, passed, words or f"numbers differ by {gap:g}", gap)


def _reference(world: _World) -> list[Arrays]:
    """Answers every case as the offline evaluator does.

    Raises:
      BundleError: the SavedModel does not load or refuses a request.
    """
    # Served on the CPU, so compared there; a GPU rounds otherwise.
    with tf.device("/CPU:0"):
        scann = world.served == SCANN_RETRIEVER
        loaded = load_signature(world.index / world.served, scann).model  # type: ignore[attr-defined]
        return [_ask(loaded, case) for case in world.cases]


def _ask(loaded: Any, case: Case) -> Arrays:
    call = signature.bind(loaded, case.signature)
    specs = loaded.signatures[case.signature].structured_input_signature[1]
    try:
        given = {name: tf.constant(value, specs[name].dtype) for name, value in case.inputs.items()}
        return {name: value.numpy() for name, value in call(**given).items()}
    except (TypeError, ValueError, KeyError, tf.errors.OpError) as error:
        raise BundleError(f"{case.name}: {in_one_line(error)}") from error


def _recall_checks(world: _World, found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Lists of approximate searches against those of the exact one, merged as they are."""
    approximate = {name: run["answers"] for name, run in found.items() if name not in world.exact}
    if not approximate:
        return []
    try:
        exact = _exact_lists(world, found)
    except BundleError as error:
        return [check("recall", world.served, False, str(error))]
    return [_recall_check(world, name, run, exact) for name, run in approximate.items()]


def _exact_lists(world: _World, found: dict[str, dict[str, Any]]) -> list[Any]:
    """Returns the answers of a SavedModel that searches every item, or of such a retriever here."""
    for name in world.exact & found.keys():
        answers: list[Any] = found[name]["answers"]
        return answers
    replays = [case for case in world.cases if is_replay(case)]
    answered = exact_answers(world.index, replays, world.embeddings, world.retrieval)
    by_name = {case.name: one for case, one in zip(replays, answered, strict=True)}
    return [{"outputs": by_name.get(case.name, {}), "error": ""} for case in world.cases]


def _recall_check(
    world: _World, model: str, answers: list[Any], exact: list[Any]
) -> dict[str, Any]:
    """Judges the SavedModel that the evaluator measures; that of another is told only."""
    share, least = overlap(world.cases, answers, exact), world.config.scann_recall_min
    served = model == world.served
    reason = f"{share:.4f} of the items of exact search, "
    reason += f"wanted at least {least:g}" if served else "not judged: another one is served"
    return check("recall", model, share >= least or not served, reason, share)


def _log_summary(result: dict[str, Any]) -> None:
    served = result["latency_ms"].get(result["served"], {})
    failed = [f"{c['model']} {c['name']}: {c['reason']}".strip() for c in _failed(result)]
    _LOG.info(
        "%d of %d checks passed, median %s ms, %s",
        sum(c["passed"] for c in result["checks"]),
        len(result["checks"]),
        served.get("p50", "unknown"),
        "validated" if result["validated"] else "not validated: " + "; ".join(failed),
    )


def _failed(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [c for c in result["checks"] if not c["passed"]]
