"""The retriever as SavedModels over a stand-in for the user tower, run by TF1 sessions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.serving.data import IMPLICIT_SLOTS, SLOTS, TOPICS, SampleItems, SampleUsers
from trainer import features
from trainer.config import RetrievalConfig
from trainer.retrieval import signature
from trainer.retrieval.retriever import Retriever, save_retriever
from trainer.retrieval.search import pad_columns

#: Signature of the embeddings and the searches without the merge.
SEARCH = "search"
_OPTION = {signature.USE_EXPLICIT: signature.OPTION_SPECS[signature.USE_EXPLICIT]}
_SEARCH_SPECS = {**signature.USER_SPECS, **_OPTION}


class Tower(tf.Module):
    """Looks embeddings up: `timestamp` is the user's row.

    Users come twice: with implicit slots only, then with explicit ones as well.
    """

    def __init__(self, users: SampleUsers) -> None:
        super().__init__(name="tower")
        kind = np.zeros((2 * len(users.vectors), SLOTS), np.int32)
        kind[len(users.vectors) :, IMPLICIT_SLOTS:] = 1
        self.kind = tf.Variable(kind, trainable=False)
        self.vectors = tf.Variable(np.concatenate([users.vectors] * 2), trainable=False)
        self.mass = tf.Variable(np.concatenate([users.mass] * 2) * (kind == 0), trainable=False)
        self.topic = tf.Variable(np.concatenate([users.topic] * 2), trainable=False)
        self.names = tf.Variable([b"topic%d" % n for n in range(TOPICS)], trainable=False)

    @tf.function(input_signature=list(signature.USER_SPECS.values()))
    def embed_user(
        self,
        timestamp: tf.Tensor,
        history_item_id: tf.Tensor,
        history_timestamp: tf.Tensor,
        history_action: tf.Tensor,
        followed_topic: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Returns the slots of the users."""
        del history_timestamp, history_action, followed_topic
        kind = tf.gather(self.kind, timestamp)
        names = tf.gather(self.names, tf.gather(self.topic, timestamp))
        return {
            "embeddings": tf.gather(self.vectors, timestamp),
            "slot_valid": tf.ones_like(kind, tf.bool),
            "mass": tf.gather(self.mass, timestamp),
            "slot_kind": kind,
            "slot_topic": tf.where(kind > 0, names, ""),
            "history_slot": tf.zeros_like(history_item_id, tf.int32),
        }

    @tf.function(input_signature=list(signature.ITEM_SPECS.values()))
    def embed_items(self, item_id: tf.Tensor, item_topics: tf.Tensor) -> dict[str, tf.Tensor]:
        """Is never asked."""
        del item_topics
        return {"embeddings": tf.zeros([tf.size(item_id), self.vectors.shape[-1]])}


class Staged(Retriever):
    """A retriever with one more signature, that stops before the merge."""

    def signatures(self) -> dict[str, Any]:
        """See `Retriever.signatures`."""

        @tf.function(input_signature=[_SEARCH_SPECS])
        def search(user: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            user = dict(user)
            rows = tf.shape(user[features.TIMESTAMP])
            use_explicit = tf.broadcast_to(user.pop(signature.USE_EXPLICIT), rows)
            limit = tf.fill(rows, self.config.num_results)
            slots = self.embedding_model.embed_user(**user)
            wanted = self._wanted(user, slots, limit, tf.fill(rows, True), use_explicit)
            found, scores = self.selector.first_candidates(wanted)
            # One column is enough to time it; the number of columns is what peers are asked for.
            return {"row": found[:, :, -1], "score": scores[:, :, -1], "k": tf.shape(found)[2:]}

        return {**super().signatures(), SEARCH: search}


class _Given:
    """A searcher that answers with what it was handed."""

    answer: tuple[tf.Tensor, tf.Tensor]

    def search(self, queries: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the answer, as many rows and columns as asked."""
        rows, scores = self.answer
        rows, scores = pad_columns(rows, scores, k)
        return rows[: tf.shape(queries)[0], :k], scores[: tf.shape(queries)[0], :k]


class Merging(tf.Module):
    """The graph around a library's search: user in, candidates in, list out."""

    def __init__(self, tower: Tower, catalogue: SampleItems, config: RetrievalConfig) -> None:
        super().__init__(name="merging")
        self._given = _Given()
        retriever = Retriever(
            tower,
            catalogue.ids,
            catalogue.topics,
            catalogue.vectors[:, :1],
            config.model_copy(update={"topic_filter": False}),
            searcher=lambda _: self._given,
        )
        # Its own signature has no candidates to merge, so only what it holds is saved.
        self.parts = [tower, retriever.item_ids, retriever.row_table]
        self._retrieve = lambda **given: retriever.retrieve.python_function(**given)

    def save(self, folder: Path) -> None:
        """Writes the SavedModel."""
        specs = {
            **signature.USER_SPECS,
            "rows": tf.TensorSpec([None, None], tf.int32, name="rows"),
            "scores": tf.TensorSpec([None, None], tf.float32, name="scores"),
        }

        @tf.function(input_signature=[specs])
        def retrieve(given: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            given = dict(given)
            self._given.answer = given.pop("rows"), given.pop("scores")
            return self._retrieve(**given)

        tf.saved_model.save(self, str(folder), signatures={signature.RETRIEVE: retrieve})


class ServedGraph:
    """A SavedModel in a TF1 session with one thread, as TensorFlow Serving runs it."""

    def __init__(self, folder: Path) -> None:
        tf1 = tf.compat.v1
        config = tf1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        self.session = tf1.Session(graph=tf.Graph(), config=config)
        with self.session.graph.as_default():
            self._meta = tf1.saved_model.loader.load(self.session, ["serve"], str(folder))

    def call(self, name: str, feeds: list[str], fetches: list[str] | None = None) -> Callable:
        """Returns a signature as a function of arrays, in the order of `feeds`."""
        found = self._meta.signature_def[name]
        outputs = [found.outputs[key].name for key in fetches or sorted(found.outputs)]
        return self.session.make_callable(outputs, [found.inputs[key].name for key in feeds])


def save_staged(
    folder: Path, tower: Tower, catalogue: SampleItems, config: RetrievalConfig, searcher: Any
) -> None:
    """Writes a retriever over a searcher that is made from the item variable."""
    save_retriever(
        Staged(
            tower, catalogue.ids, catalogue.topics, catalogue.vectors, config, searcher=searcher
        ),
        str(folder),
    )
