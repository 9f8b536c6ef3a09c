"""The SavedModel that a delta is tried on, as a session loads it."""

import numpy as np
import pytest
import tensorflow as tf

from components.refresh.delta.served_model import ServedModel
from core.errors import BundleError
from trainer.retrieval.delta import DELTA_ASSET, Delta, DeltaItems, Texts, no_items, write_delta

DIM = 4


class _WithVocabulary(tf.Module):
    """A delta, and a vocabulary in a file, as every trained model has one."""

    def __init__(self, vocabulary, delta):
        super().__init__()
        words = tf.lookup.TextFileInitializer(
            str(vocabulary),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.table = tf.lookup.StaticHashTable(words, -1)
        self.delta = Delta(str(delta), items=3, dim=DIM, columns={})

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="word")])
    def look_up(self, word):
        return {"place": self.table.lookup(word), "changed": self.delta.size()}


def test_a_delta_is_taken_over_beside_the_vocabularies_of_the_model(tmp_path):
    vocabulary, empty = tmp_path / "words.txt", tmp_path / DELTA_ASSET
    vocabulary.write_text("a\nb\n")
    write_delta(no_items(DIM, {}), {}, empty)
    made = _WithVocabulary(vocabulary, empty)
    saved = tmp_path / "saved"
    tf.saved_model.save(made, str(saved), signatures={"look_up": made.look_up})
    vocabulary.unlink()
    model = ServedModel(saved)
    words = np.array([b"b", b"c"], object)
    before = model.ask("look_up", word=words)
    assert (before["place"].tolist(), before["changed"]) == ([1, -1], 0)
    other = tmp_path / "other"
    rows = DeltaItems(
        [b"new", b"too"], Texts.of([[], []]), np.ones((2, DIM), np.float32), np.array([1])
    )
    write_delta(rows, {}, other)
    model.load_delta(other)
    after = model.ask("look_up", word=words)
    assert (after["place"].tolist(), after["changed"]) == ([1, -1], 2)


@pytest.mark.parametrize("content", [b"", b"no protocol buffer", None])
def test_a_damaged_saved_model_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(BundleError, match="does not load"):
        ServedModel(tmp_path)


def test_a_saved_model_without_room_says_how_to_get_it(tmp_path):
    made = tf.Module()
    made.number = tf.Variable(1.0)
    tf.saved_model.save(made, str(tmp_path))
    with pytest.raises(BundleError, match=r"retrieval\.delta=true"):
        ServedModel(tmp_path)
