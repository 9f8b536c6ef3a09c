"""Items of a delta: which ones differ from the index, and what the served model is asked."""

import numpy as np
import pyarrow as pa
import pytest

from components.example_gen.columns import ITEM_SCHEMA
from components.refresh.delta.compare import compare
from components.refresh.delta.served_model import embed, without_optional_parts
from core.errors import IndexQualityError

TEXTS = pa.list_(pa.string())
INDEX = pa.table(
    {
        "item_id": ["a", "b", "c"],
        "topics": pa.array([["t"], [], ["t", "u"]], TEXTS),
        "features": pa.array([["year=1999"], ["tags=x", "tags=y"], []], TEXTS),
    }
)


def delivered(*rows):
    """Returns rows of the items table: id, topics, features."""
    lists = [
        {
            "item_id": name,
            "topics": topics,
            "attributes": [],
            "features": values,
            "file": b"items.parquet",
            "row": number,
        }
        for number, (name, topics, values) in enumerate(rows)
    ]
    return pa.Table.from_pylist(lists, ITEM_SCHEMA)


def test_an_item_with_another_feature_is_changed():
    items = delivered(
        (b"a", [b"t"], [b"year=2000"]),
        (b"b", None, [b"tags=x", b"tags=y"]),
        (b"c", [b"t", b"u"], None),
        (b"new", [b"t"], [b"year=1999"]),
    )
    found = compare(INDEX, None, items, ())
    assert found.figures() == {"added": 1, "changed": 1, "withdrawn": 0}
    assert (found.rows.tolist(), found.gone.tolist()) == ([0, 3], [0])
    # An index of a model without features knows nothing of them.
    plain = compare(INDEX.select(["item_id", "topics"]), None, items, ())
    assert plain.figures() == {"added": 1, "changed": 0, "withdrawn": 0}


class Asked:
    """Stands in for the served model and keeps what it was asked."""

    def __init__(self, value=1.0):
        self.given, self.value = [], value

    def ask(self, name, **given):
        assert name == "embed_items"
        self.given.append(given)
        return {"embeddings": np.full((len(given["item_id"]), 2), self.value, np.float32)}


def test_topics_and_features_are_embedded_in_batches():
    model = Asked()
    items = delivered(
        (b"a", [b"t"], [b"year=1999", b"tags=x"]), (b"b", None, None), (b"c", [], [b"tags=y"])
    )
    assert embed(model, items, 2).shape == (3, 2)
    first, second = model.given
    assert first["item_topics"].tolist() == [[b"t"], [b""]]
    assert first["item_features"].tolist() == [[b"year=1999", b"tags=x"], [b"", b""]]
    assert second["item_id"].tolist() == [b"c"]
    assert second["item_features"].tolist() == [[b"tags=y"]]
    assert embed(Asked(), items.slice(0, 0), 2).shape == (0, 2)


def test_a_vector_that_is_not_finite_is_refused():
    with pytest.raises(IndexQualityError, match="not finite"):
        embed(Asked(np.nan), delivered((b"a", [], [])), 2)


def test_keras_can_be_imported_afterwards():
    with without_optional_parts():
        pass
    import tf_keras

    assert tf_keras.layers
