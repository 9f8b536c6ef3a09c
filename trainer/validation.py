"""Exact validation: every catalogue item scored by the best slot of each user."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from trainer import association, diagnostics, features
from trainer.interests.base import MASKED
from trainer.model import RetrievalModel

#: Scores of users' best slots that are held at once, of all items.
_SCORES_PER_BATCH = 1 << 24
_BATCH_MAX = 256
#: Scores of single slots that are held at once, of a block of items.
_SCORES_PER_BLOCK = 1 << 24
#: Items that are embedded at a time.
_BLOCK_ROWS = 1 << 16
_NDCG_K = 10
_HEALTH_EXAMPLES = 1024


class Validator:
    """Ranks the target of each validation example among the whole catalogue.

    The user's history is left out of the ranking (the target itself never is).
    """

    def __init__(
        self, model: RetrievalModel, examples: Mapping[str, np.ndarray], catalogue: np.ndarray
    ) -> None:
        """Sets the task up.

        Args:
          model: the model in training.
          examples: transformed columns, int64 `[examples, width]`.
          catalogue: [items] int64, item indices that may be retrieved.
        """
        self._model = model
        self._examples = {name: np.asarray(column) for name, column in examples.items()}
        rows = model.vocabularies.item_rows
        known = np.zeros(rows, bool)
        known[catalogue] = True
        self._absent = tf.constant(~known)
        slots = model.num_implicit_slots + model.config.explicit_slots
        self._batch = int(np.clip(_SCORES_PER_BATCH // rows, 1, _BATCH_MAX))
        self._block = max(1, _SCORES_PER_BLOCK // (self._batch * slots))
        self._encode = tf.function(self._encode_batch, autograph=False, reduce_retracing=True)
        self._score = tf.function(
            association.best_slot_scores, autograph=False, reduce_retracing=True
        )
        self._rank = tf.function(self._rank_batch, autograph=False, reduce_retracing=True)
        self._slots = tf.function(self._implicit_batch, autograph=False, reduce_retracing=True)
        self._vectors: tf.Variable | None = None

    @property
    def size(self) -> int:
        """Number of validation examples."""
        return len(next(iter(self._examples.values())))

    def health(self) -> dict[str, float]:
        """Returns the figures of `diagnostics.slot_health` and `item_norm`; {} if empty."""
        if not self.size:
            return {}
        items = self._item_vectors()
        sample = {n: tf.constant(c[:_HEALTH_EXAMPLES]) for n, c in self._examples.items()}
        health = diagnostics.slot_health(*(part.numpy() for part in self._slots(items, sample)))
        rows = int(items.shape[0])
        norms = [
            tf.norm(items.sparse_read(tf.range(start, min(start + _BLOCK_ROWS, rows))), axis=1)
            for start in range(0, rows, _BLOCK_ROWS)
        ]
        return {**health, "item_norm": float(tf.reduce_mean(tf.concat(norms, axis=0)[1:]))}

    def ranks(self) -> np.ndarray:
        """Returns the 0-based rank of each target, int64 `[examples]`."""
        if not self.size:
            return np.zeros(0, np.int64)
        items = self._item_vectors()
        starts = range(0, self.size, self._batch)
        return np.concatenate([self._ranks(items, self._columns(start)) for start in starts])

    def _columns(self, start: int) -> dict[str, tf.Tensor]:
        stop = start + self._batch
        return {name: tf.constant(column[start:stop]) for name, column in self._examples.items()}

    def _ranks(self, items: tf.Variable, columns: dict[str, tf.Tensor]) -> np.ndarray:
        """Ranks of a batch; rows of the items are read in blocks, never all of them at once.

        A variable that was filled in parts is copied whole by every read of it.
        """
        users, valid = self._encode(items, columns)
        rows = int(items.shape[0])
        parts = []
        for start in range(0, rows, self._block):
            block = items.sparse_read(tf.range(start, min(start + self._block, rows)))
            parts.append(self._score(users, valid, block))
        ranks: np.ndarray = self._rank(tf.concat(parts, axis=1), columns).numpy()
        return ranks

    def metrics(self, ks: tuple[int, ...]) -> dict[str, float]:
        """Returns `val_recall@k` for each k and `val_ndcg@10`; zeros without examples."""
        ranks = self.ranks()
        if not len(ranks):
            return {**{f"val_recall@{k}": 0.0 for k in ks}, f"val_ndcg@{_NDCG_K}": 0.0}
        gains = np.where(ranks < _NDCG_K, 1.0 / np.log2(ranks + 2.0), 0.0)
        recalls = {f"val_recall@{k}": float((ranks < k).mean()) for k in ks}
        return {**recalls, f"val_ndcg@{_NDCG_K}": float(gains.mean())}

    def _item_vectors(self) -> tf.Variable:
        """Vectors of every item index, [item rows, dim]: one table, filled block by block.

        Tensors that are joined would be two tables beside those of the training.
        """
        rows = self._model.vocabularies.item_rows
        for start in range(0, rows, _BLOCK_ROWS):
            ids = tf.range(start, min(start + _BLOCK_ROWS, rows), dtype=tf.int64)
            part = self._model.embed_items(ids)
            if self._vectors is None:
                self._vectors = tf.Variable(tf.zeros([rows, part.shape[1]]), trainable=False)
            self._vectors[start : start + len(ids)].assign(part)
        return self._vectors

    def _implicit_batch(
        self, items: tf.Tensor, columns: dict[str, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Implicit slots of a sample: embeddings, validity, history slots, best slots."""
        targets = tf.gather(items, columns[features.transformed_name(features.ITEM_ID)][:, 0])
        vectors = tf.gather(items, self._model.history_items(columns))
        history = self._model.encode_history(columns, vectors)
        slots = self._model.implicit_slots(history, self._model.user_context(history, columns))
        own = association.slot_scores(slots.embeddings, slots.slot_valid, targets)
        best = tf.argmax(own, axis=1, output_type=tf.int32)
        return slots.embeddings, slots.slot_valid, slots.history_slot, best

    def _encode_batch(
        self, items: tf.Variable, columns: dict[str, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        vectors = tf.gather(items, self._model.history_items(columns))
        return all_slots(self._model, columns, vectors)

    def _rank_batch(self, scores: tf.Tensor, columns: dict[str, tf.Tensor]) -> tf.Tensor:
        """Ranks of the targets by the scores of all items, [batch, rows]."""
        history_ids = columns[features.transformed_name(features.HISTORY_ITEM_ID)]
        target = columns[features.transformed_name(features.ITEM_ID)][:, 0]
        own = tf.gather(scores, target, batch_dims=1)[:, tf.newaxis]
        rows = tf.range(tf.shape(scores)[0], dtype=tf.int64)[:, tf.newaxis]
        seen = tf.stack([tf.broadcast_to(rows, tf.shape(history_ids)), history_ids], axis=-1)
        masked = tf.tensor_scatter_nd_update(scores, seen, tf.fill(tf.shape(history_ids), MASKED))
        masked = tf.where(self._absent[tf.newaxis], MASKED, masked)
        better = tf.reduce_sum(tf.cast(masked > own, tf.int64), axis=1)
        # A target outside the catalogue or with a score that is not finite is never found.
        lost = tf.logical_or(tf.gather(self._absent, target), ~tf.math.is_finite(own[:, 0]))
        return tf.where(lost, tf.cast(tf.shape(scores)[1], tf.int64), better)


def all_slots(
    model: RetrievalModel, columns: dict[str, tf.Tensor], history_vectors: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Embeds users under implicit and explicit conditions, as at serving time.

    Args:
      model: the model.
      columns: transformed features of a batch.
      history_vectors: [batch, length, dim] float32.

    Returns:
      embeddings: [batch, slots, dim] float32.
      slot_valid: [batch, slots] bool.
    """
    history = model.encode_history(columns, history_vectors)
    context = model.user_context(history, columns)
    slots = model.implicit_slots(history, context)
    if model.topic_tower is None:
        return slots.embeddings, slots.slot_valid
    followed = columns[features.transformed_name(features.FOLLOWED_TOPIC)]
    topics, places = model.explicit_inputs(columns, followed)
    explicit = model.explicit_slots(context, topics)
    implicit_valid = slots.slot_valid
    if model.extractor is None:  # the null slot stands in only where no topic is followed
        implicit_valid = tf.logical_not(tf.reduce_any(places >= 0, axis=1, keepdims=True))
    return (
        tf.concat([slots.embeddings, explicit], axis=1),
        tf.concat([implicit_valid, places >= 0], axis=1),
    )
