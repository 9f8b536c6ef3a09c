"""The work of the RetrievalEvaluator, free of TFX."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.config import EvaluatorConfig
from components.evaluator import metrics
from components.evaluator.baseline import MeasuredBaseline, evaluate_baseline
from components.evaluator.blessing import Evidence, decide
from components.evaluator.comparison import paired_bootstrap
from components.evaluator.contribution import cluster_sizes, slot_report
from components.evaluator.examples import EvalExamples, read_eval_examples
from components.evaluator.floors import Floors
from components.evaluator.items import Items
from components.evaluator.limits import rank_limits, read_truth
from components.evaluator.merge_curve import merge_curve
from components.evaluator.replay import Results, load_signature, replay_signature
from components.evaluator.several_targets import measure, read_user_questions
from components.evaluator.slices import SliceMasks, cold_slices, make_slices, slice_metrics
from components.evaluator.training_log import TrainingLog, read_training_log
from components.index_builder.layout import INDEX_FILE, ITEMS_FILE, SCANN_RETRIEVER
from core.errors import ConfigError
from core.files import read_json, staged_file, write_json
from trainer import features
from trainer.config import RetrievalConfig
from trainer.retrieval import signature

_LOG = logging.getLogger("tessera")

EVALUATION_FILE = "evaluation.json"
BLESSING_FILE = "blessing.json"
BLESSED = "BLESSED"
NOT_BLESSED = "NOT_BLESSED"


@dataclass(frozen=True)
class EvaluatorPaths:
    """Where the evaluator reads and writes.

    Attributes:
      examples: raw examples.
      index: the RetrievalIndex to judge.
      baseline: the published bundle to compare with, '' when there is none.
      evaluation: output folder of the figures.
      blessing: output folder of the decision.
    """

    examples: str
    index: str
    baseline: str
    evaluation: str
    blessing: str


def evaluate(paths: EvaluatorPaths, config: EvaluatorConfig) -> dict[str, Any]:
    """Evaluates, compares, decides and writes; returns what `blessing.json` holds.

    A retriever that is not blessed is a result, not an error.

    Raises:
      ConfigError: a k exceeds the number of results that the retriever returns.
    """
    index = Path(paths.index)
    description = read_json(index / INDEX_FILE)
    _check_depth(description, config)
    items = Items.read(index / ITEMS_FILE)
    truth = read_truth(config.truth, items)
    extra = [features.USER_ID] if truth is not None else []
    examples = read_eval_examples(paths.examples, items, config.max_examples, config.seed, extra)
    folder = index / description["serve"]
    retrieve = load_signature(folder, description["serve"] == SCANN_RETRIEVER)

    def ask(asked: EvalExamples) -> Results:
        return replay_signature(retrieve, str(folder), asked, items, config.batch_size)

    results = ask(examples)
    log = read_training_log(paths.examples, items, refit=description.get("refit", False))
    slices = _slices(examples, items, log)
    measured, evaluation = _measure(results, examples, items, slices, config)
    floors = Floors(log, items, max(config.ks), config.ease_max_items)
    evaluation["floors"] = _summaries(
        floors.rank(examples, config.batch_size), examples, items, config
    )
    evaluation["floors_left_out"] = floors.left_out
    if truth is not None:
        limits = rank_limits(truth, log, examples, items, max(config.ks), config.batch_size)
        evaluation["limits"] = _summaries(limits, examples, items, config)
    evaluation["several_targets"] = _several_targets(paths, items, ask, floors, config)
    evaluation["merge_curve"] = merge_curve(
        index,
        signature.bind(retrieve.model, signature.EMBED_USER),  # type: ignore[attr-defined]
        RetrievalConfig.model_validate(description["retrieval"]),
        examples,
        items,
        config.ks,
        config.batch_size,
    )
    baseline = evaluate_baseline(paths.baseline, examples, items, slices, config)
    comparison = _compare(measured, baseline, config)
    evaluation |= {
        "primary_metric": config.primary_metric,
        "baseline": baseline.metrics,
        "baseline_error": baseline.error,
        "baseline_slices": baseline.slices,
        "baseline_comparison": comparison,
    }
    decision = _decide(evaluation, len(examples), baseline, config)
    write_json(Path(paths.evaluation) / EVALUATION_FILE, finite_json(evaluation))
    _write_blessing(Path(paths.blessing), decision)
    _log_summary(evaluation, decision)
    return decision


def _summaries(
    lists: dict[str, np.ndarray], examples: EvalExamples, items: Items, config: EvaluatorConfig
) -> dict[str, dict[str, float]]:
    return {
        name: metrics.summarise(found, examples.target, items.topics, config.ks)
        for name, found in lists.items()
    }


def _compare(
    measured: dict[str, np.ndarray], baseline: MeasuredBaseline, config: EvaluatorConfig
) -> dict[str, Any] | None:
    name = config.primary_metric
    if not baseline.values or name not in measured:
        return None
    return paired_bootstrap(measured[name], baseline.values[name], config.seed)


def _decide(
    evaluation: dict[str, Any], examples: int, baseline: MeasuredBaseline, config: EvaluatorConfig
) -> dict[str, Any]:
    measured = Evidence(
        metrics=evaluation["model"],
        floors=evaluation["floors"],
        slices=evaluation["slices"],
        n_examples=examples,
        baseline=baseline.metrics,
        baseline_slices=baseline.slices,
        baseline_error=baseline.error,
    )
    return decide(measured, config)


def _check_depth(description: dict[str, Any], config: EvaluatorConfig) -> None:
    results = int(description["retrieval"]["num_results"])
    if max(config.ks) > results:
        raise ConfigError(
            f"evaluator.ks asks for {max(config.ks)} results, but retrieval.num_results is "
            f"{results}: raise num_results or lower ks"
        )


def _slices(examples: EvalExamples, items: Items, log: TrainingLog) -> SliceMasks:
    known = examples.target >= 0
    new = ~(known & log.seen[np.maximum(examples.target, 0)])
    usual = make_slices(examples.history_length, examples.follows, new)
    return usual | cold_slices(examples, items, log)


def _several_targets(
    paths: EvaluatorPaths,
    items: Items,
    ask: Callable[[EvalExamples], Results],
    floors: Floors,
    config: EvaluatorConfig,
) -> dict[str, Any]:
    """Asks once per user for all of the user's events; {} where users have one each."""
    questions = read_user_questions(paths.examples, items, config.seed)
    if questions is None:
        return {}
    lists = {"model": ask(questions.examples).lists}
    lists |= floors.rank(questions.examples, config.batch_size)
    figures = {
        name: measure(found, questions.targets, questions.sizes, config.ks)
        for name, found in lists.items()
    }
    return {
        "users": len(questions.examples),
        "targets_mean": float(questions.sizes.mean()),
        "model": figures.pop("model"),
        "floors": figures,
    }


def _measure(
    results: Results,
    examples: EvalExamples,
    items: Items,
    slices: SliceMasks,
    config: EvaluatorConfig,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns per-example metrics and the candidate's part of `evaluation.json`."""
    ranks = metrics.target_ranks(results.lists, examples.target)
    values = metrics.per_example(ranks, config.ks)
    depth = results.lists.shape[1]
    return values, {
        "n_examples": len(examples),
        "targets_not_in_catalogue": int((examples.target < 0).sum()),
        "model": metrics.summarise(results.lists, examples.target, items.topics, config.ks),
        "slices": slice_metrics(slices, values),
        "curve": metrics.recall_curve(ranks, depth),
        "slots": slot_report(results, ranks),
        "topic_coverage": metrics.topic_curve(results.lists, items.topics, depth),
        "cluster_sizes": cluster_sizes(results),
    }


def _write_blessing(folder: Path, decision: dict[str, Any]) -> None:
    write_json(folder / BLESSING_FILE, decision)
    with staged_file(folder / (BLESSED if decision["blessed"] else NOT_BLESSED)) as staging:
        staging.touch()


def finite_json(value: Any) -> Any:
    """Returns a JSON value with every number that is not finite replaced by None."""
    if isinstance(value, dict):
        return {key: finite_json(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_json(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _log_summary(evaluation: dict[str, Any], decision: dict[str, Any]) -> None:
    name = evaluation["primary_metric"]
    failed = [v["reason"] for v in decision["verdicts"] if not v["passed"]]
    floors = {f: m.get(name, math.nan) for f, m in evaluation["floors"].items()}
    best = max(floors, key=lambda f: floors[f]) if floors else ""
    _LOG.info(
        "%s examples, %s %.4f (best floor: %s %.4f), %s",
        f"{evaluation['n_examples']:,}",
        name,
        evaluation["model"].get(name, math.nan),
        best,
        floors.get(best, math.nan),
        "blessed" if decision["blessed"] else "not blessed: " + "; ".join(failed),
    )
