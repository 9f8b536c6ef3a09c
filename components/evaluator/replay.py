"""Asks a served retriever for the results of many examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from components.evaluator.examples import EvalExamples
from components.evaluator.items import Items
from components.requests import user_request
from core.errors import BundleError
from core.progress import track
from trainer.retrieval import signature
from trainer.retrieval.search import load_scann_ops

_OUTPUTS = ("item_id", "slot", "slot_kind", "found_by", "slot_valid", "history_slot")


@dataclass(frozen=True)
class Results:
    """What a retriever returned, `examples` rows each.

    Attributes:
      lists: `[examples, results]` int32 catalogue rows (-1 pads, -2 unknown items).
      slot: the same shape, int8 slot that brought the item, -1 pads.
      kind: the same shape, int8 kind of that slot (0 implicit, 1 explicit), -1 pads.
      found_by: the same shape, int64 bits of all slots that found the item.
      slot_valid: `[examples, slots]` bool.
      cluster_sizes: `[examples, slots]` int32 history items per slot.
    """

    lists: np.ndarray
    slot: np.ndarray
    kind: np.ndarray
    found_by: np.ndarray
    slot_valid: np.ndarray
    cluster_sizes: np.ndarray


def load_signature(folder: str | Path, scann: bool) -> Callable[..., dict[str, tf.Tensor]]:
    """Loads the `retrieve` signature of a SavedModel, which is the result's `model`.

    Args:
      folder: of the SavedModel.
      scann: whether it searches with ScaNN's ops.

    Raises:
      BundleError: it does not load or has no such signature.
    """
    if scann:
        load_scann_ops()
    try:
        model = tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises many kinds for a damaged SavedModel
        raise BundleError(f"{folder}: the SavedModel does not load: {error}") from error
    try:
        return signature.bind(model, signature.RETRIEVE)
    except BundleError as error:
        raise BundleError(f"{folder}: {error}") from None


def replay(
    folder: str | Path, scann: bool, examples: EvalExamples, items: Items, batch_size: int
) -> Results:
    """Sends every example through the served graph, merge and all.

    Raises:
      BundleError: the SavedModel does not load, refuses the request or answers
        without the outputs that are needed.
    """
    return replay_signature(load_signature(folder, scann), str(folder), examples, items, batch_size)


def replay_signature(
    retrieve: Callable[..., dict[str, tf.Tensor]],
    where: str,
    examples: EvalExamples,
    items: Items,
    batch_size: int,
) -> Results:
    """Asks a `retrieve` signature, or `Retriever.retrieve` itself, for every example.

    Args:
      retrieve: takes the features of a request by name.
      where: names the retriever in errors.
      examples: what is asked.
      items: the catalogue that the answers are counted in.
      batch_size: examples per request.

    Raises:
      BundleError: it refuses the request or answers without the outputs that are needed.
    """
    parts: list[list[np.ndarray]] = []
    with track("replaying eval examples", len(examples)) as bar:
        for batch in examples.batches(batch_size):
            request = user_request(batch)
            try:
                answer = retrieve(**{name: tf.constant(v) for name, v in request.items()})
                arrays = {name: answer[name].numpy() for name in _OUTPUTS}
            except (TypeError, ValueError, KeyError, tf.errors.OpError) as error:
                raise BundleError(f"{where}: `retrieve` does not answer: {error}") from error
            parts.append(_compact(arrays, items))
            bar.advance(batch.num_rows)
    if not parts:
        return Results(*(np.zeros((0, 0), np.int32) for _ in range(6)))
    return Results(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _compact(answer: dict[str, np.ndarray], items: Items) -> list[np.ndarray]:
    slots = answer["slot_valid"].shape[1]
    history_slot = answer["history_slot"]
    sizes = np.zeros((len(history_slot), slots), np.int32)
    example, place = np.nonzero(history_slot >= 0)
    np.add.at(sizes, (example, history_slot[example, place]), 1)
    return [
        items.rows(answer["item_id"]),
        answer["slot"].astype(np.int8),
        answer["slot_kind"].astype(np.int8),
        answer["found_by"].astype(np.int64),
        answer["slot_valid"],
        sizes,
    ]
