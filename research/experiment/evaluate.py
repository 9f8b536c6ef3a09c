"""Asks one trained model for everything that an experiment compares."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.evaluator.examples import EvalExamples
from components.evaluator.items import Items
from components.evaluator.replay import Results, replay_signature
from components.index_builder.catalogue import Catalogue, embed_catalogue
from components.requests import user_request
from core.files import staged_file
from research.experiment.asking import asked_examples, read_examples
from research.experiment.jobs import ITEMS_FILE, SLOT_EXAMPLES, SLOTS_FILE, Job, VariantJob
from research.experiment.timing import percentiles_ms
from trainer import features
from trainer.export import embedding_module
from trainer.fit import Trained
from trainer.retrieval.retriever import Retriever

_BATCH = 512
_ITEM_BATCH = 4096
_WARM_UP_CALLS, _TIMED_CALLS = 20, 200


def evaluate(job: Job, trained: Trained) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Writes answers and embeddings of a trained model into the run's folder.

    Args:
      job: what is asked and where the answers go.
      trained: the model.

    Returns:
      Latency figures of the model, and figures of each variant.

    Raises:
      TesseraError: the model's vectors are not finite, or it does not answer.
    """
    module = embedding_module(trained.model, trained.transform_output)
    catalogue = embed_catalogue(module, job.examples, _ITEM_BATCH)
    items = Items(catalogue.ids, catalogue.topics)
    examples = read_examples(job.examples, items, job.max_examples, job.sample_seed)
    variants: dict[str, dict[str, float]] = {}
    figures: dict[str, float] = {}
    for name, variant in job.variants.items():
        started = time.monotonic()
        retriever = _retriever(module, catalogue, variant)
        asked, positions = asked_examples(examples, variant.ask)
        results = replay_signature(retriever.retrieve, job.words, asked, items, _BATCH)
        _save_results(job.folder / f"{name}.npz", results, positions)
        variants[name] = {"eval_s": round(time.monotonic() - started, 2)}
        if name == "default":
            figures = _latencies(module, retriever, examples)
            figures["eval_s"] = variants[name]["eval_s"]
    _save(job.folder / ITEMS_FILE, embeddings=catalogue.embeddings)
    _save(
        job.folder / SLOTS_FILE,
        **slot_arrays(module.embed_user, examples),
        **condition_arrays(trained, examples),
    )
    return figures, variants


def _retriever(module: Any, catalogue: Catalogue, variant: VariantJob) -> Retriever:
    embeddings = catalogue.embeddings
    if variant.items_from is not None:
        with np.load(Path(variant.items_from) / ITEMS_FILE) as stored:
            embeddings = stored["embeddings"]
    return Retriever(module, catalogue.ids, catalogue.topics, embeddings, variant.retrieval)


def slot_arrays(
    embed_user: Callable[..., Mapping[str, tf.Tensor]], examples: EvalExamples
) -> dict[str, np.ndarray]:
    """Embeds the first eval examples.

    Args:
      embed_user: takes the features of a request by name.
      examples: the eval examples.

    Returns:
      `embeddings` [examples, slots, dim] float16, `slot_valid` [examples, slots] bool,
      `slot_kind` [examples, slots] int8, `history_slot` [examples, longest] int16, -1 pads.
    """
    names = ("embeddings", "slot_valid", "slot_kind", "history_slot")
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for batch in examples.head(SLOT_EXAMPLES).batches(_BATCH):
        request = user_request(batch)
        answer = embed_user(**{name: tf.constant(value) for name, value in request.items()})
        for name in names:
            parts[name].append(answer[name].numpy())
    if not parts["embeddings"]:
        return {}
    longest = max(part.shape[1] for part in parts["history_slot"])
    parts["history_slot"] = [
        np.pad(part, ((0, 0), (0, longest - part.shape[1])), constant_values=-1)
        for part in parts["history_slot"]
    ]
    types = {"embeddings": np.float16, "slot_kind": np.int8, "history_slot": np.int16}
    joined = {name: np.concatenate(part) for name, part in parts.items()}
    return {name: array.astype(types.get(name, array.dtype)) for name, array in joined.items()}


def condition_arrays(trained: Trained, examples: EvalExamples) -> dict[str, np.ndarray]:
    """Conditions of the implicit slots of the first eval examples, in their order.

    Args:
      trained: the model.
      examples: the eval examples.

    Returns:
      `conditions` [examples, slots, dim] float16 and `condition_valid` [examples, slots]
      bool; nothing for a model without implicit slots.
    """
    model, extractor = trained.model, trained.model.extractor
    if extractor is None or not len(examples):
        return {}
    transform = trained.transform_output.transform_features_layer()
    parts = []
    for batch in examples.head(SLOT_EXAMPLES).batches(_BATCH):
        columns = transform(_raw_columns(user_request(batch)))
        vectors = model.embed_distinct([model.history_items(columns)])[0]
        interests = extractor(model.encode_history(columns, vectors))
        parts.append((interests.conditions.numpy(), interests.slot_valid.numpy()))
    conditions, valid = (np.concatenate(column) for column in zip(*parts, strict=True))
    return {"conditions": conditions.astype(np.float16), "condition_valid": valid}


def _raw_columns(request: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The raw features of requests as the transform graph takes them; the others are empty."""
    rows = len(request[features.TIMESTAMP])
    columns: dict[str, Any] = {}
    further = features.VALUE_FEATURES if features.USER_VALUES in request else ()
    for name in (*features.RAW_FEATURES, *further):
        missing = np.zeros((rows, 0), np.int64 if name in features.INT_FEATURES else object)
        if name not in features.DENSE_FEATURES:
            columns[name] = _every_cell(request.get(name, missing), missing.dtype == object)
        elif name in request:
            columns[name] = tf.constant(request[name][:, np.newaxis])
        else:
            columns[name] = tf.zeros([rows, 1], tf.string)
    return columns


def _every_cell(values: np.ndarray, text: bool) -> tf.SparseTensor:
    indices = np.stack([part.ravel() for part in np.indices(values.shape)], axis=1)
    flat = tf.constant(values.ravel().tolist(), tf.string if text else tf.int64)
    return tf.SparseTensor(indices.astype(np.int64), flat, values.shape)


def _latencies(module: Any, retriever: Retriever, examples: EvalExamples) -> dict[str, float]:
    """Milliseconds of single requests of real users, one at a time."""
    batches = examples.head(_WARM_UP_CALLS + _TIMED_CALLS).batches(1)
    requests = [
        {name: tf.constant(value) for name, value in user_request(batch).items()}
        for batch in batches
    ]
    figures: dict[str, float] = {}
    for name, call in (("user_tower", module.embed_user), ("retrieve", retriever.retrieve)):
        found = percentiles_ms(call, requests, warm_up=_WARM_UP_CALLS, timed=_TIMED_CALLS)
        figures |= {f"{name}_p{q}_ms": ms for q, ms in zip((50, 99), found, strict=False)}
    return figures


def _save_results(path: Path, results: Results, asked: np.ndarray) -> None:
    _save(path, **vars(results), asked=asked.astype(np.int64))


def _save(path: Path, **arrays: np.ndarray) -> None:
    with staged_file(path) as staging, open(staging, "wb") as stream:
        np.savez_compressed(stream, **arrays)
