"""The retrieval model: one class for every configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras

from trainer import conditions, distribution, features, losses, randomness, towers
from trainer.config import ModelConfig, TrainerConfig, TransformConfig
from trainer.feature_tables import encoder_of, table_variables
from trainer.frequency import item_frequency
from trainer.interests import make_extractor
from trainer.interests.adaptive import adapt
from trainer.interests.base import History, masked_mean
from trainer.optimizer import descend
from trainer.vocabularies import Vocabularies

IMPLICIT, EXPLICIT = 0, 1


class UserSlots(NamedTuple):
    """The embeddings of a batch of users.

    Attributes:
      embeddings: [batch, slots, dim] float32.
      slot_valid: [batch, slots] bool; implicit slots have at least one True per user.
      mass: [batch, slots] float32, 0 for explicit slots.
      history_slot: [batch, length] int32, slot that each history item feeds, -1 for none.
    """

    embeddings: tf.Tensor
    slot_valid: tf.Tensor
    mass: tf.Tensor
    history_slot: tf.Tensor


class RetrievalModel(tfrs.Model):
    """Item tower, implicit user slots, explicit user slots and their losses."""

    def __init__(
        self,
        config: ModelConfig,
        trainer: TrainerConfig,
        transform: TransformConfig,
        vocabularies: Vocabularies,
        item_topics: np.ndarray,
        item_clusters: np.ndarray | None = None,
        item_values: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Builds the layers.

        Args:
          config: the model.
          trainer: negatives, temperature and seed.
          transform: sizes of the transformed features.
          vocabularies: tokens and item frequencies.
          item_topics: [item rows, topics] int32, topics of every item index.
          item_clusters: [item rows] int32 offline cluster of every item, -1 for none; for `pfs`.
          item_values: [item rows, width] transformed features of every item index by name.
        """
        super().__init__(name="retrieval_model")
        self.config, self.trainer_config, self.vocabularies = config, trainer, vocabularies
        self.item_topics = tf.Variable(item_topics, False, dtype=tf.int32, name="item_topics")
        self.item_values = table_variables(item_values or {})
        rows = np.arange(vocabularies.item_rows)
        self._usable_item = tf.constant((rows >= 1) & (rows <= len(vocabularies.items)))
        masked = config.negative_actions if config.ablation.mask_negative_actions else ()
        self._negative_action = tf.constant(vocabularies.action_mask(masked))
        self._missing_item = vocabularies.missing_items(config.ablation.missing_item_share)
        every = config.untrained_items != "unknown_id"
        drawn = np.arange(1, 1 + len(vocabularies.items)) if every else vocabularies.trained_rows()
        self.drawn_rows = tf.constant(drawn, tf.int64)
        self._joint = config.joint_association and config.has_both_kinds
        self.item_tower = towers.ItemTower(config, vocabularies)
        self.history_encoder = towers.HistoryEncoder(config, vocabularies, transform.age_buckets)
        self.user_values = encoder_of("users", vocabularies.features, config.embedding_dim)
        self.extractor = make_extractor(config, item_clusters)
        self.user_tower: Any = None
        self.topic_tower: Any = None
        if self.extractor is not None:
            self.user_tower = towers.UserTower(config, "user_tower", trainer.product_dtype)
            self.no_history = self.add_weight(
                name="no_history", shape=(config.embedding_dim,), initializer="random_normal"
            )
        if config.has_explicit_slots:
            self.topic_tower = towers.UserTower(config, "topic_tower", trainer.product_dtype)
            self.topic_conditions = conditions.TopicConditions(config, self.item_tower.topics)
        self._frequency = item_frequency(trainer, vocabularies)
        self._softmax = losses.SampledSoftmax(
            temperature=trainer.temperature,
            in_batch=trainer.in_batch_negatives,
            frequency=self._frequency,
            gumbel_temperature=config.gumbel_temperature,
            label_attention_power=config.label_attention_power,
            product_dtype=trainer.product_dtype,
        )
        self.steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="steps")
        self._hits = tf_keras.metrics.Mean("in_batch_accuracy")
        self._mean_loss = tf_keras.metrics.Mean("loss")

    @property
    def num_implicit_slots(self) -> int:
        """Number of implicit slots; at least 1, so that a user always has an embedding."""
        return self.extractor.num_slots if self.extractor is not None else 1

    @property
    def frozen_tables(self) -> list[tf.Variable]:
        """Variables that no gradient reaches but every embedding needs."""
        tables = [self.item_topics, *self.item_values.values()]
        if self.item_tower.id_rows is not None:
            tables.append(self.item_tower.id_rows)
        return tables if self.extractor is None else [*tables, *self.extractor.frozen_tables]

    # -- embeddings ---------------------------------------------------------------------

    def embed_distinct(
        self, ids: list[tf.Tensor], seed: tf.Tensor | None = None
    ) -> list[tf.Tensor]:
        """Embeds several int64 id tensors, each distinct item once; see `embed_items`.

        Returns:
          float32 tensors `[..., dim]` in the same order.
        """
        flat = tf.concat([tf.reshape(part, [-1]) for part in ids], axis=0)
        distinct, position = tf.unique(flat)
        vectors = self.embed_items(distinct, seed)
        sizes = [tf.size(part) for part in ids]
        width = [tf.shape(vectors)[1]]  # not -1, which an empty batch would make 0
        return [
            tf.reshape(tf.gather(vectors, where), tf.concat([tf.shape(part), width], axis=0))
            for part, where in zip(ids, tf.split(position, sizes), strict=True)
        ]

    def embed_items(self, ids: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Embeds items of the catalogue, [items] int64 to [items, dim] float32."""
        values = {name: tf.gather(table, ids) for name, table in self.item_values.items()}
        return self.item_tower(ids, tf.gather(self.item_topics, ids), values, seed=seed)

    def history_items(self, columns: dict[str, tf.Tensor]) -> tf.Tensor:
        """Item indices of the histories, [batch, length] int64.

        Items that `missing_item_share` takes the features from are unknown items here.
        """
        ids = columns[features.transformed_name(features.HISTORY_ITEM_ID)]
        if self._missing_item is None:
            return ids
        return tf.gather(self._missing_item, ids)

    def encode_history(
        self, columns: dict[str, tf.Tensor], vectors: tf.Tensor, seed: tf.Tensor | None = None
    ) -> History:
        """Encodes the histories of a batch.

        Args:
          columns: transformed features.
          vectors: [batch, length, dim] float32, vectors of the history items.
          seed: [2] int32 randomness of this training step, None at inference.
        """
        actions = columns[features.transformed_name(features.HISTORY_ACTION)]
        ids = self.history_items(columns)
        valid = tf.logical_and(
            tf.gather(self._usable_item, ids),
            tf.logical_not(tf.gather(self._negative_action, actions)),
        )
        ages = columns[features.transformed_name(features.HISTORY_TIMESTAMP)]
        return self.history_encoder(vectors, ages, actions, valid, ids, seed=seed)

    def user_context(self, history: History, columns: dict[str, tf.Tensor]) -> tf.Tensor:
        """What every embedding of a user knows, [batch, context] float32.

        Mean and last item of the history, features of the user where there are any; with
        `followed_topics_feature` the mean of the followed topics as well.

        Args:
          history: a batch of histories.
          columns: transformed features.
        """
        context = towers.user_context(history)
        if self.user_values is not None:
            context = tf.concat([context, self.user_values(columns)], axis=-1)
        if not self.config.followed_topics_feature:
            return context
        followed = columns[features.transformed_name(features.FOLLOWED_TOPIC)]
        known = tf.logical_and(followed > 0, followed <= len(self.vocabularies.topics))
        topics = masked_mean(self.item_tower.topics(followed), known)
        return tf.concat([context, topics], axis=-1)

    def implicit_slots(
        self, history: History, context: tf.Tensor, seed: tf.Tensor | None = None
    ) -> UserSlots:
        """Embeds users by their history; a user without one gets a learned slot 0.

        Args:
          history: a batch of histories.
          context: [batch, context] float32, from `user_context`.
          seed: [2] int32 randomness of this training step, None at inference.
        """
        if self.extractor is None:
            return self._null_slot(history, context, seed)
        interests = adapt(self.config, self.extractor(history, seed=seed), history.valid)
        slot_inputs = towers.cluster_inputs(history, interests)
        cold = tf.logical_not(tf.reduce_any(interests.slot_valid, axis=1))  # [B]
        first = tf.one_hot(0, self.num_implicit_slots)  # [S]
        stand_in = tf.logical_and(cold[:, tf.newaxis], first[tf.newaxis] > 0)  # [B, S]
        found = tf.where(stand_in[..., tf.newaxis], self.no_history, interests.conditions)
        return UserSlots(
            self.user_tower(found, slot_inputs, context, seed=seed),
            tf.logical_or(interests.slot_valid, stand_in),
            tf.where(stand_in, 1.0, interests.mass),
            interests.history_slot,
        )

    def explicit_slots(
        self, context: tf.Tensor, topics: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Embeds users under topics.

        Args:
          context: [batch, context] float32, from `user_context`.
          topics: [batch, slots] int64 topic indices, 0 for the null condition.
          seed: [2] int32 randomness of this training step, None at inference.

        Returns:
          [batch, slots, dim] float32.
        """
        return self.topic_tower(self.topic_conditions(topics), None, context, seed=seed)

    def _null_slot(self, history: History, context: tf.Tensor, seed: tf.Tensor | None) -> UserSlots:
        """The only implicit slot of `cr`: the topic tower under the null condition."""
        nobody = tf.zeros_like(history.valid[:, :1])
        condition = self.topic_conditions(tf.cast(nobody, tf.int64))
        return UserSlots(
            self.topic_tower(condition, None, context, seed=seed),
            tf.logical_not(nobody),
            tf.ones_like(nobody, tf.float32),
            tf.fill(tf.shape(history.valid), -1),
        )

    def explicit_inputs(
        self, columns: dict[str, tf.Tensor], keys: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Picks the followed topics that get an explicit slot.

        Args:
          columns: transformed features.
          keys: [batch, follows] int64, the draw; see `conditions.pick_keys`.

        Returns:
          topics: [batch, explicit_slots] int64 topic indices, 0 for none.
          places: [batch, explicit_slots] int32 positions among the follows, -1 for none.
        """
        followed = columns[features.transformed_name(features.FOLLOWED_TOPIC)]
        known = tf.logical_and(followed > 0, followed <= len(self.vocabularies.topics))
        places = conditions.pick_topics(followed, keys, known, self.config.explicit_slots)
        topics = tf.gather(followed, tf.maximum(places, 0), batch_dims=1)
        return tf.where(places >= 0, topics, 0), places

    # -- training -----------------------------------------------------------------------

    def compute_loss(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Mean loss of a batch of transformed examples; see `tfrs.Model.compute_loss`.

        Of a slice (`features.BATCH_TARGETS` is an input) its share in the mean of the whole batch.
        """
        step_seed = tf.stack([self.trainer_config.seed, tf.cast(self.steps, tf.int32)])
        seed = randomness.of_replica(step_seed, inputs) if training else None
        targets = inputs[features.transformed_name(features.ITEM_ID)][:, 0]
        batch_targets = inputs.get(features.BATCH_TARGETS, targets)
        negative_ids = losses.uniform_draws(
            self.drawn_rows, self.trainer_config.uniform_negatives, step_seed
        )
        wanted = [self.history_items(inputs), targets, negative_ids]
        if batch_targets is not targets and self.trainer_config.in_batch_negatives:
            wanted.append(batch_targets)
        history_vectors, target_vectors, negative_vectors, *others = self.embed_distinct(
            wanted, seed
        )
        in_batch = (others[0], batch_targets) if others else None
        history = self.encode_history(inputs, history_vectors, seed)
        context = self.user_context(history, inputs)
        negatives = None
        if self.trainer_config.uniform_negatives:
            negatives = losses.Negatives(
                negative_vectors,
                negative_ids,
                population=len(self.drawn_rows),
                last_id=len(self.vocabularies.items),
            )
        loss = tf.constant(0.0)
        if self.extractor is not None:
            slots = self.implicit_slots(history, context, seed)
            embeddings, slot_valid = slots.embeddings, slots.slot_valid
            if self._joint:
                explicit, followed = self._followed_slots(inputs, context, seed)
                embeddings = tf.concat([embeddings, explicit], axis=1)
                slot_valid = tf.concat([slot_valid, followed], axis=1)
            sampled = self._softmax(
                embeddings,
                slot_valid,
                target_vectors,
                targets,
                negatives,
                association=self.config.association,
                seed=seed,
                in_batch=in_batch,
            )
            loss += losses.mean_of_batch(sampled.loss, inputs)
            distribution.count(self._hits, sampled.hit)
        if self.topic_tower is not None and not self._joint:
            loss += self._explicit_loss(
                inputs, context, target_vectors, targets, negatives, seed, in_batch
            )
        if training and self._frequency is not None:
            self._frequency.observe(batch_targets, self.steps)
        return loss

    def _followed_slots(
        self, inputs: dict[str, tf.Tensor], context: tf.Tensor, seed: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Explicit slots of followed topics, drawn anew in every training step.

        Returns:
          embeddings: [batch, explicit_slots, dim] float32.
          slot_valid: [batch, explicit_slots] bool.
        """
        keys = inputs[features.transformed_name(features.FOLLOWED_TOPIC)]
        if seed is not None:
            salted = randomness.salted(seed, randomness.CONDITION)
            keys = conditions.random_keys(tf.shape(keys), salted)
        topics, places = self.explicit_inputs(inputs, keys)
        return self.explicit_slots(context, topics, seed), places >= 0

    def _explicit_loss(
        self,
        inputs: dict[str, tf.Tensor],
        context: tf.Tensor,
        target_vectors: tf.Tensor,
        targets: tf.Tensor,
        negatives: losses.Negatives | None,
        seed: tf.Tensor | None,
        in_batch: tuple[tf.Tensor, tf.Tensor] | None,
    ) -> tf.Tensor:
        draw = seed if seed is not None else tf.constant([self.trainer_config.seed, 0])
        topic, weights = conditions.training_topic(inputs, self.config, draw)
        users = self.explicit_slots(context, topic[:, tf.newaxis], seed)
        sampled = self._softmax(
            users,
            tf.ones_like(topic[:, tf.newaxis], tf.bool),
            target_vectors,
            targets,
            negatives,
            association="argmax",
            in_batch=in_batch,
        )
        used = tf.reduce_sum(weights)
        if features.BATCH_TARGETS in inputs:
            used = tf.distribute.get_replica_context().all_reduce("SUM", used)
        loss = tf.reduce_sum(sampled.loss * weights) / tf.maximum(used, 1.0)
        if self.extractor is None:
            distribution.count(self._hits, sampled.hit, weights)
            return loss
        return self.config.explicit_loss_weight * loss

    @tf.autograph.experimental.do_not_convert  # no tensor steers Python; converting costs seconds
    def train_step(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One optimisation step; also counts it, which moves the randomness on.

        Args:
          inputs: transformed features of a batch.

        Returns:
          Means of loss and in-batch accuracy over the epoch so far.
        """
        # The call that finds the data exhausted must not count: without this dependency the
        # counters of model and optimizer race with the end of the sequence.
        with tf.control_dependencies([inputs[features.transformed_name(features.ITEM_ID)]]):
            loss = descend(self, inputs)
            self.steps.assign_add(1)
        # Each replica's loss is its share in the mean; the metric is a mean over replicas.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._mean_loss.update_state(loss * replicas if replicas > 1 else loss)
        return {metric.name: metric.result() for metric in (self._mean_loss, self._hits)}

    def build_from(self, spec: Mapping[str, Any]) -> None:
        """Makes every weight and optimizer slot by one pass over a batch of padding.

        Args:
          spec: transformed feature spec.
        """
        padding = {n: tf.zeros([1, *feature.shape], feature.dtype) for n, feature in spec.items()}
        self.compute_loss(padding, training=True)
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)
        self.reset_metrics()
