"""What exact search would answer: the reference of every approximate SavedModel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from components.index_builder.layout import ITEMS_FILE, NEIGHBOURS_FILE, RETRIEVER
from components.index_builder.neighbour_file import read_neighbours
from components.serving_validator.cases import Arrays, Case
from components.serving_validator.probe import in_one_line
from core.errors import BundleError
from trainer.config import RetrievalConfig
from trainer.retrieval import featured, signature
from trainer.retrieval.retriever import Retriever


def exact_answers(
    index: Path, cases: Sequence[Case], embeddings: np.ndarray, retrieval: RetrievalConfig
) -> list[Arrays]:
    """Answers requests to `retrieve`, searching every item.

    Args:
      index: the RetrievalIndex; its own model embeds the users.
      cases: what is asked, all of `retrieve`.
      embeddings: `[items, dim]` float32 of the index.
      retrieval: rules that the index was built with.

    Returns:
      One answer per case.

    Raises:
      BundleError: the SavedModel does not load or refuses a request.
    """
    items = pq.read_table(index / ITEMS_FILE, columns=["item_id", "topics"])
    ids = items["item_id"].cast(pa.binary()).to_pylist()
    path = index / NEIGHBOURS_FILE
    neighbours = read_neighbours(path, ids) if path.is_file() else None
    with tf.device("/CPU:0"):
        try:
            loaded = tf.saved_model.load(str(index / RETRIEVER))
            retriever = Retriever(
                loaded.embedding_model,
                ids,
                [
                    list(names or [])
                    for names in items["topics"].cast(pa.list_(pa.binary())).to_pylist()
                ],
                embeddings,
                retrieval,
                neighbours=neighbours,
            )
            return [_ask(retriever, case) for case in cases]
        except (AttributeError, OSError, TypeError, ValueError, tf.errors.OpError) as error:
            raise BundleError(
                f"{RETRIEVER}: exact search does not answer: {in_one_line(error)}"
            ) from error


def _ask(retriever: Retriever, case: Case) -> Arrays:
    specs: dict[str, Any] = {**signature.USER_SPECS, **signature.OPTION_SPECS, **featured.SPECS}
    given = {name: tf.constant(value, specs[name].dtype) for name, value in case.inputs.items()}
    return {name: value.numpy() for name, value in retriever.retrieve(**given).items()}
