"""Measures one run's variant, or one union, on one seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluator import metrics
from components.evaluator.slices import SliceMasks
from core.files import read_json
from research.experiment import measures
from research.experiment.config import DEFAULT
from research.experiment.jobs import ITEMS_FILE, RUN_FILE, SLOTS_FILE
from research.experiment.population import Population
from research.experiment.reference import Reference
from research.experiment.unions import part_overlap, union
from trainer.retrieval.budgets import EXPLICIT, IMPLICIT

#: Figures of slots, which a training writes down as well.
_OF_SLOTS = ("user_cosine", "slots_valid", "slot_use", "dead_slots", "cluster_balance")
#: Seed of the shuffled clusters.
_SHUFFLE_SEED = 1


@dataclass(frozen=True)
class Measured:
    """Figures of one row on one seed.

    Attributes:
      count: examples asked.
      figures: name to figure over all examples asked.
      slices: slice -> value -> (number of examples, figures).
      values: compared metric to `[eval examples]` float64, NaN where not asked.
    """

    count: int
    figures: dict[str, float]
    slices: dict[str, dict[str, tuple[int, dict[str, float]]]]
    values: measures.Values


def measure_run(
    folder: Path, variant: str, reference: Reference, slices: SliceMasks, by_source: bool
) -> Measured:
    """Measures the lists that a run kept of one variant.

    Args:
      folder: of the run.
      variant: name of the variant.
      reference: of the data set.
      slices: of its eval examples.
      by_source: whether the examples were asked by their source topic.
    """
    population = reference.population
    stored = _load(folder / f"{variant}.npz")
    asked = stored["asked"].astype(np.int64)
    lists = measures.Lists(stored["lists"], stored["slot"], stored["kind"], stored["found_by"])
    wanted = (population.source if by_source else population.follows)[asked]
    values = measures.list_values(lists, population.target[asked], population.topics, wanted)
    explicit = np.unique(lists.slot[lists.kind == EXPLICIT])
    values |= measures.kind_overlap(lists, explicit.tolist())
    run = read_json(folder / RUN_FILE)
    figures = _list_figures(lists, values, population)
    figures["slots_valid"] = _slots_valid(stored["slot_valid"], explicit)
    if variant == DEFAULT:
        slots = _load(folder / SLOTS_FILE) if (folder / SLOTS_FILE).exists() else {}
        own, extra = slot_figures(slots, population, _best_slots(folder, slots, population, lists))
        values |= {name: _spread(column, len(asked)) for name, column in own.items()}
        noted = _numbers(run.get("figures"))
        # What the run noted of its slots is of validation examples, and 0 where there is one slot.
        noted = {name: value for name, value in noted.items() if name not in _OF_SLOTS}
        figures = noted | figures | measures.means(own) | extra
    figures |= _numbers(_of_variant(run.get("variants"), variant))
    return _measured(asked, values, figures, slices, len(population))


def measure_union(
    parts: Sequence[Path],
    shares: Sequence[float],
    num_results: int,
    reference: Reference,
    slices: SliceMasks,
    by_source: bool,
) -> Measured:
    """Measures the union of several stored lists, on the examples that all parts answered.

    The overlap is that of the first two parts' whole lists; `hits_second` is the share of
    hits that came from another part than the first.

    Args:
      parts: files of the parts' result lists.
      shares: of the results.
      num_results: results of the union.
      reference: of the data set.
      slices: of its eval examples.
      by_source: whether some part was asked by the examples' source topic.
    """
    population = reference.population
    stored = [_load(path) for path in parts]
    asked = stored[0]["asked"].astype(np.int64)
    for part in stored[1:]:
        asked = np.intersect1d(asked, part["asked"].astype(np.int64))
    at = [np.searchsorted(part["asked"], asked) for part in stored]
    rows = [part["lists"][i] for part, i in zip(stored, at, strict=True)]
    kinds = [part["kind"][i] for part, i in zip(stored, at, strict=True)]
    merged = union(rows, kinds, shares, num_results)
    lists = measures.Lists(merged.lists, merged.part, merged.kind, merged.found_by)
    target = population.target[asked]
    wanted = (population.source if by_source else population.follows)[asked]
    values = measures.list_values(lists, target, population.topics, wanted)
    ranks = metrics.target_ranks(lists.rows, target)
    found = ranks > 0
    second = np.full(len(asked), np.nan)
    second[found] = merged.part[found, ranks[found] - 1] > 0
    share, jaccard = part_overlap(rows[0], rows[1])
    values |= {"hits_second": second, "overlap_implicit": share, "overlap_jaccard": jaccard}
    figures = _list_figures(lists, values, population)
    return _measured(asked, values, figures, slices, len(population))


def slot_figures(
    slots: Mapping[str, np.ndarray], population: Population, best: np.ndarray
) -> tuple[measures.Values, dict[str, float]]:
    """Measures the implicit slots of the first examples.

    Args:
      slots: content of `slots.npz`; may be empty.
      population: the eval examples.
      best: `[users]` int, the slot that suits each user's target best.

    Returns:
      Per-example values of the first examples, and figures of all of them together.
    """
    if not slots:
        return {}, {}
    valid = slots["slot_valid"].astype(bool)
    kind = np.broadcast_to(slots["slot_kind"], valid.shape)
    implicit = valid & (kind == IMPLICIT)
    values = {"user_cosine": measures.pairwise_cosine(slots["embeddings"], implicit)}
    columns = int((kind == IMPLICIT).any(axis=0).sum())
    figures: dict[str, float] = {}
    if columns > 1:
        figures = {"slots_total": columns, **measures.slot_use(best[best < columns], columns)}
    if "conditions" in slots:  # of a sample of its own, so no values by example
        cosine = measures.pairwise_cosine(slots["conditions"], slots["condition_valid"])
        figures |= measures.means({"centroid_cosine": cosine})
    if columns > 1 and "history_slot" in slots:
        history_slot = slots["history_slot"]
        topic = history_topics(population, *history_slot.shape)
        values["cluster_balance"] = measures.cluster_balance(history_slot, implicit)
        values |= measures.cluster_agreement(history_slot, topic, _SHUFFLE_SEED)
    return values, figures


def history_topics(population: Population, examples: int, length: int) -> np.ndarray:
    """Returns the primary topic of the newest history items, `[examples, length]`, -1 for none."""
    topics = np.full((examples, length), -1, np.int32)
    start = population.history_start[:examples]
    size = np.minimum(population.history_start[1 : examples + 1] - start, length)
    owner = np.repeat(np.arange(examples), size)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(size) - size, size)
    item = population.history[start[owner] + place]
    topics[owner, place] = np.where(item >= 0, population.primary[item], -1)
    return topics


def _best_slots(
    folder: Path,
    slots: Mapping[str, np.ndarray],
    population: Population,
    lists: measures.Lists,
) -> np.ndarray:
    """Returns the best implicit slot for each target: by score, else the one that found it."""
    path = folder / ITEMS_FILE
    stored = _load(path) if path.exists() else {}
    if slots and "embeddings" in stored:
        target = population.target[: len(slots["embeddings"])]
        known = target >= 0
        vectors = stored["embeddings"][target[known]].astype(np.float32)
        users = slots["embeddings"][known].astype(np.float32)
        scores = np.einsum("usd,ud->us", users, vectors)
        kind = np.broadcast_to(slots["slot_kind"], slots["slot_valid"].shape)[known]
        usable = slots["slot_valid"][known].astype(bool) & (kind == IMPLICIT)
        best = np.where(usable, scores, -np.inf).argmax(axis=1)
        return np.asarray(best[usable.any(axis=1)])
    hit = (lists.rows == population.target[:, None]) & (lists.kind == IMPLICIT)
    return np.asarray(lists.slot[hit], np.int64)


def _list_figures(
    lists: measures.Lists, values: measures.Values, population: Population
) -> dict[str, float]:
    return {
        **measures.means(values),
        "coverage@100": metrics.coverage(lists.rows, population.topics.shape[0], 100),
        **measures.kind_shares(lists),
    }


def _measured(
    asked: np.ndarray,
    values: measures.Values,
    figures: dict[str, float],
    slices: SliceMasks,
    total: int,
) -> Measured:
    by_slice: dict[str, dict[str, tuple[int, dict[str, float]]]] = {}
    for name, masks in slices.items():
        for value, mask in masks.items():
            inside = mask[asked]
            if inside.any():
                found = measures.means(values, inside)
                by_slice.setdefault(name, {})[value] = (int(inside.sum()), found)
    compared = {}
    for name in measures.COMPARED:
        compared[name] = np.full(total, np.nan)
        compared[name][asked] = values[name]
    return Measured(len(asked), figures, by_slice, compared)


def _slots_valid(slot_valid: np.ndarray, explicit: np.ndarray) -> float:
    """Returns the mean number of valid implicit slots (of all, when no slot is implicit)."""
    implicit = np.setdiff1d(np.arange(slot_valid.shape[1]), explicit)
    chosen = slot_valid[:, implicit] if len(implicit) else slot_valid
    return float(chosen.sum(axis=1).mean()) if len(chosen) else 0.0


def _spread(column: np.ndarray, length: int) -> np.ndarray:
    """Extends values of the first examples to all, NaN for the rest."""
    full = np.full(length, np.nan)
    full[: len(column)] = column[:length]
    return full


def _of_variant(variants: Any, name: str) -> Any:
    found = variants.get(name) if isinstance(variants, Mapping) else None
    return found.get("figures", found) if isinstance(found, Mapping) else None


def _numbers(figures: Any) -> dict[str, float]:
    if not isinstance(figures, Mapping):
        return {}
    return {
        str(name): float(value)
        for name, value in figures.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}
