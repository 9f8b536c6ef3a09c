"""The SavedModel: raw features in, embeddings out, through the transform graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from core.errors import ExportError
from trainer import conditions, features
from trainer.inputs_by_name import with_inputs
from trainer.model import EXPLICIT, IMPLICIT, RetrievalModel

_STRINGS = tf.TensorSpec([None, None], tf.string)


class EmbeddingModule(tf.Module):
    """`embed_user` and `embed_items` on raw features; stock TensorFlow ops only."""

    def __init__(self, model: RetrievalModel, transform_output: Any) -> None:
        """Wraps a trained model.

        Args:
          model: the trained model.
          transform_output: the `tft.TFTransformOutput` that made its features.
        """
        super().__init__(name="embedding_model")
        # Only the variables are tracked: Keras' own saving would trace every layer again.
        self._weights = [*model.trainable_weights, *model.frozen_tables]
        self._model = lambda: model
        self.transform = transform_output.transform_features_layer()
        spec = transform_output.transformed_feature_spec()
        self._history_max = spec[features.transformed_name(features.HISTORY_ITEM_ID)].shape[0]

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.int64, features.TIMESTAMP),
            tf.TensorSpec([None, None], tf.string, features.HISTORY_ITEM_ID),
            tf.TensorSpec([None, None], tf.int64, features.HISTORY_TIMESTAMP),
            tf.TensorSpec([None, None], tf.string, features.HISTORY_ACTION),
            tf.TensorSpec([None, None], tf.string, features.FOLLOWED_TOPIC),
        ],
    )
    def embed_user(
        self,
        timestamp: tf.Tensor,
        history_item_id: tf.Tensor,
        history_timestamp: tf.Tensor,
        history_action: tf.Tensor,
        followed_topic: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Embeds users from what a request holds.

        Args:
          timestamp: [batch] int64, seconds, time of the request.
          history_item_id: [batch, length] string, newest first, "" pads.
          history_timestamp: [batch, length] int64, seconds.
          history_action: [batch, length] string.
          followed_topic: [batch, follows] string, newest first, "" pads.

        Returns:
          embeddings [batch, slots, dim] float32, slot_valid [batch, slots] bool,
          mass [batch, slots] float32, slot_kind [batch, slots] int32 (0 implicit,
          1 explicit), slot_topic [batch, slots] string, history_slot [batch, length] int32.
        """
        return self.users(
            {
                features.TIMESTAMP: timestamp,
                features.HISTORY_ITEM_ID: history_item_id,
                features.HISTORY_TIMESTAMP: history_timestamp,
                features.HISTORY_ACTION: history_action,
                features.FOLLOWED_TOPIC: followed_topic,
            }
        )

    def users(self, given: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Embeds users; the inputs of `embed_user` by name, and what it returns."""
        timestamp = given[features.TIMESTAMP]
        followed_topic = given[features.FOLLOWED_TOPIC]
        history_item_id = given[features.HISTORY_ITEM_ID]
        lists = {name: value for name, value in given.items() if name != features.TIMESTAMP}
        columns = self._transformed(
            {
                features.TIMESTAMP: timestamp[:, tf.newaxis],
                **{name: _all_present(value) for name, value in lists.items()},
            },
            tf.size(timestamp),
        )
        model = self._model()
        vectors = model.embed_distinct([model.history_items(columns)])[0]
        history = model.encode_history(columns, vectors)
        context = model.user_context(history, columns)
        slots = model.implicit_slots(history, context)
        outputs = {
            "embeddings": slots.embeddings,
            "slot_valid": slots.slot_valid,
            "mass": tf.where(slots.slot_valid, slots.mass, 0.0),
            "slot_kind": tf.fill(tf.shape(slots.slot_valid), IMPLICIT),
            "slot_topic": tf.fill(tf.shape(slots.slot_valid), ""),
            "history_slot": self._as_requested(slots.history_slot, tf.shape(history_item_id)[1]),
        }
        if model.topic_tower is None:
            return outputs
        keys = conditions.pick_keys(followed_topic, timestamp)
        return self._with_explicit(outputs, columns, context, keys, followed_topic)

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.string, features.ITEM_ID),
            tf.TensorSpec([None, None], tf.string, features.ITEM_TOPICS),
        ],
    )
    def embed_items(self, item_id: tf.Tensor, item_topics: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds items, known or new.

        Args:
          item_id: [items] string.
          item_topics: [items, topics] string, "" pads.

        Returns:
          embeddings [items, dim] float32.
        """
        return self.items({features.ITEM_ID: item_id, features.ITEM_TOPICS: item_topics})

    def items(self, given: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Embeds items; the inputs of `embed_items` by name, and what it returns."""
        item_id = given[features.ITEM_ID]
        lists = {name: value for name, value in given.items() if name != features.ITEM_ID}
        columns = self._transformed(
            {
                features.ITEM_ID: item_id[:, tf.newaxis],
                **{name: _all_present(value) for name, value in lists.items()},
            },
            tf.size(item_id),
        )
        vectors = self._model().item_tower(
            columns[features.transformed_name(features.ITEM_ID)][:, 0],
            columns[features.transformed_name(features.ITEM_TOPICS)],
            columns,
        )
        return {"embeddings": vectors}

    def _transformed(self, raw: Mapping[str, Any], rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """Runs the transform graph; features that a request does not hold are empty.

        Args:
          raw: raw features, dense `[rows, 1]` or sparse `[rows, *]`.
          rows: number of rows.
        """
        complete = {}
        further = features.VALUE_FEATURES if self._model().vocabularies.has_features else ()
        for name in (*features.RAW_FEATURES, *further):
            dtype = tf.int64 if name in features.INT_FEATURES else tf.string
            if name in raw:
                complete[name] = raw[name]
            elif name in features.DENSE_FEATURES:
                complete[name] = tf.zeros([rows, 1], dtype)
            else:
                complete[name] = _all_present(tf.zeros([rows, 0], dtype))
        return self.transform(complete)

    def _as_requested(self, history_slot: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """Cuts or fills [batch, history_max_items] to the length of the request."""
        padded = tf.pad(
            history_slot,
            [[0, 0], [0, tf.maximum(length - self._history_max, 0)]],
            constant_values=-1,
        )
        return padded[:, :length]

    def _with_explicit(
        self,
        outputs: dict[str, tf.Tensor],
        columns: dict[str, tf.Tensor],
        context: tf.Tensor,
        keys: tf.Tensor,
        followed_topic: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Appends the explicit slots to the implicit ones."""
        width = tf.shape(columns[features.transformed_name(features.FOLLOWED_TOPIC)])[1]
        room = tf.maximum(width - tf.shape(keys)[1], 0)
        keys = tf.pad(keys, [[0, 0], [0, room]])[:, :width]
        names = tf.pad(followed_topic, [[0, 0], [0, room]], constant_values="")[:, :width]
        topics, places = self._model().explicit_inputs(columns, keys)
        valid = places >= 0
        chosen = tf.where(valid, tf.gather(names, tf.maximum(places, 0), batch_dims=1), "")
        if self._model().extractor is None:  # the null slot stands in where nothing is followed
            alone = tf.logical_not(tf.reduce_any(valid, axis=1, keepdims=True))
            outputs["slot_valid"] = alone
            outputs["mass"] = tf.cast(alone, tf.float32)
        explicit = {
            "embeddings": self._model().explicit_slots(context, topics),
            "slot_valid": valid,
            "mass": tf.zeros_like(topics, tf.float32),
            "slot_kind": tf.fill(tf.shape(valid), EXPLICIT),
            "slot_topic": chosen,
        }
        merged = {name: tf.concat([outputs[name], explicit[name]], axis=1) for name in explicit}
        return {**outputs, **merged}


class FeaturedModule(EmbeddingModule):
    """The same for a model with features: one more input each, texts `name=value`."""

    def __init__(self, model: RetrievalModel, transform_output: Any) -> None:
        """Wraps a trained model; see `EmbeddingModule`."""
        super().__init__(model, transform_output)
        for name, body in (("embed_user", self.users), ("embed_items", self.items)):
            further = features.USER_VALUES if name == "embed_user" else features.ITEM_VALUES
            spec = tf.TensorSpec([None, None], tf.string, further)
            given = getattr(type(self), name).input_signature
            setattr(self, name, with_inputs(body, {s.name: s for s in (*given, spec)}))


def embedding_module(model: RetrievalModel, transform_output: Any) -> EmbeddingModule:
    """Returns what is exported of a model: with inputs for features where it has any."""
    kind = FeaturedModule if model.vocabularies.has_features else EmbeddingModule
    return kind(model, transform_output)


def export_model(model: RetrievalModel, transform_output: Any, path: str) -> None:
    """Writes the SavedModel with signatures `embed_user` (default) and `embed_items`.

    Args:
      model: the trained model.
      transform_output: the `tft.TFTransformOutput` that made its features.
      path: folder to write.

    Raises:
      ExportError: TensorFlow could not write the model.
    """
    module = embedding_module(model, transform_output)
    signatures = {
        "serving_default": module.embed_user,
        "embed_user": module.embed_user,
        "embed_items": module.embed_items,
    }
    try:
        tf.saved_model.save(module, path, signatures=signatures)
    except (ValueError, OSError, tf.errors.OpError) as error:
        raise ExportError(f"the model could not be written to {path}: {error}") from error


def _all_present(values: tf.Tensor) -> tf.SparseTensor:
    """A sparse view of every cell of [batch, width], empty strings and zeros included."""
    shape = tf.shape(values, out_type=tf.int64)
    rows, columns = tf.meshgrid(tf.range(shape[0]), tf.range(shape[1]), indexing="ij")
    indices = tf.stack([tf.reshape(rows, [-1]), tf.reshape(columns, [-1])], axis=1)
    return tf.SparseTensor(indices, tf.reshape(values, [-1]), shape)
