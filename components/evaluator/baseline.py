"""The published bundle, measured on the same examples as the candidate."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from components.config import EvaluatorConfig
from components.evaluator import metrics
from components.evaluator.examples import EvalExamples
from components.evaluator.items import Items
from components.evaluator.replay import replay
from components.evaluator.slices import SliceMasks, SliceMetrics, slice_metrics
from components.index_builder.layout import INDEX_FILE, RETRIEVER, SCANN_RETRIEVER
from core.errors import BundleError
from core.files import read_json

_ERROR_MAX_CHARS = 500


@dataclass(frozen=True)
class MeasuredBaseline:
    """Figures of the published bundle; all empty when there is none.

    Attributes:
      metrics: as of the candidate, None when nothing was measured.
      slices: as of the candidate.
      values: per-example metrics.
      error: why a bundle that is there could not be measured.
    """

    metrics: dict[str, float] | None = None
    slices: SliceMetrics = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    error: str = ""


def evaluate_baseline(
    bundle: str,
    examples: EvalExamples,
    items: Items,
    slices: SliceMasks,
    config: EvaluatorConfig,
) -> MeasuredBaseline:
    """Replays the examples through a published bundle.

    A damaged bundle is a finding, told in `error`: a comparison that silently
    did not happen would look like a first run.

    Args:
      bundle: folder of the version, '' when there is none.
      examples: the candidate's examples.
      items: the candidate's catalogue; other items of the bundle match no target.
      slices: of the examples.
      config: cut-offs and batch size.
    """
    if not bundle:
        return MeasuredBaseline()
    root = Path(bundle)
    try:
        if not (root / INDEX_FILE).is_file():
            raise BundleError(f"{root / INDEX_FILE} is missing")
        scann = read_json(root / INDEX_FILE)["serve"] == SCANN_RETRIEVER
        # A bundle holds the stock SavedModel at its top.
        folder = root / SCANN_RETRIEVER if scann else _stock_model(root)
        results = replay(folder, scann, examples, items, config.batch_size)
    except (BundleError, OSError, ValueError, KeyError) as error:
        text = " ".join(str(error).split())[:_ERROR_MAX_CHARS]
        return MeasuredBaseline(error=text or type(error).__name__)
    values = metrics.per_example(metrics.target_ranks(results.lists, examples.target), config.ks)
    return MeasuredBaseline(
        metrics=metrics.summarise(results.lists, examples.target, items.topics, config.ks),
        slices=slice_metrics(slices, values),
        values=values,
    )


def _stock_model(root: Path) -> Path:
    nested = root / RETRIEVER
    return nested if (nested / "saved_model.pb").is_file() else root
