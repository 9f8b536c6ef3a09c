"""Histories for tests of the interest extractors, and how to ask an extractor."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from trainer.config import ModelConfig
from trainer.interests import History, make_extractor

DIM, ITEMS, CLUSTERS = 6, 12, 5
#: Offline clusters of the items 0 ... 11; items 3 and 9 were never seen.
TABLE = np.array([-1, 0, 0, -1, 1, 2, 2, 3, 4, -1, 0, 1], np.int32)


class Case(NamedTuple):
    """The arrays of a `History`."""

    vectors: np.ndarray
    encoded: np.ndarray
    valid: np.ndarray
    item_ids: np.ndarray

    def take(self, positions):
        """The same histories with other positions, [length]."""
        return Case(*(part[:, positions] for part in self))


def histories(seed, users=4, length=8, distinct=False):
    """Random histories: repeated items, padding (id 0) and items that are not valid.

    The same item has the same vector everywhere; encoded vectors differ by position.
    """
    random = np.random.default_rng(seed)
    table = random.normal(size=(ITEMS, DIM))
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    if distinct:
        ids = np.stack([1 + random.permutation(ITEMS - 1)[:length] for _ in range(users)])
    else:
        ids = random.integers(0, ITEMS, (users, length))
    vectors = table[ids]
    encoded = vectors + 0.2 * random.normal(size=vectors.shape)
    valid = (ids > 0) & (random.random(ids.shape) < 0.8)
    return Case(vectors.astype(np.float32), encoded.astype(np.float32), valid, ids)


def without_repeats(case):
    """The same histories where an item is valid at one place at most."""
    valid = case.valid.copy()
    for row, ids in enumerate(case.item_ids):
        places = np.flatnonzero(valid[row])
        valid[row] = False
        valid[row, places[np.unique(ids[places], return_index=True)[1]]] = True
    return case._replace(valid=valid)


def padded(case, positions, seed=0):
    """Padding behind the histories, with garbage in the vectors of the padding."""
    random = np.random.default_rng(seed)
    users = len(case.valid)
    garbage = random.normal(size=(users, positions, DIM)).astype(np.float32)
    return Case(
        np.concatenate([case.vectors, garbage], axis=1),
        np.concatenate([case.encoded, garbage], axis=1),
        np.concatenate([case.valid, np.zeros((users, positions), bool)], axis=1),
        np.concatenate([case.item_ids, np.zeros((users, positions), np.int64)], axis=1),
    )


def extractor(name, slots=3, **config):
    """An extractor whose weights are the same in every call and hide behind no zero."""
    tf.keras.utils.set_random_seed(7)
    settings_ = {"num_interests": slots, "embedding_dim": DIM, "attention_units": 10, **config}
    made = make_extractor(ModelConfig(name=name, item_clusters=CLUSTERS, **settings_), TABLE)
    for weight in made.trainable_weights:
        weight.assign_add(0.3 * tf.random.normal(weight.shape))
    return made


def weights_of(made):
    """Trainable weights by the last part of their name."""
    return {w.name.removesuffix(":0").rsplit("/")[-1]: w.numpy() for w in made.trainable_weights}


def as_history(case):
    """The tensors of a case."""
    return History(
        tf.constant(case.vectors),
        tf.constant(case.encoded),
        tf.constant(case.valid),
        tf.constant(case.item_ids, tf.int64),
    )


def extract(made, case, seed=None):
    """Conditions, validity, mass and history slots as arrays."""
    seed = None if seed is None else tf.constant(seed, tf.int32)
    found = made(as_history(case), seed=seed)
    return type(found)(*(part.numpy() for part in found))


def unit(vectors):
    """Oracle of the normalisation."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def softmax(values, axis):
    """Oracle of the softmax."""
    exponent = np.exp(values - values.max(axis=axis, keepdims=True))
    return exponent / exponent.sum(axis=axis, keepdims=True)


cases = st.builds(
    histories, st.integers(0, 10_000), users=st.integers(1, 3), length=st.integers(1, 9)
)
