"""The catalogue of the evaluator: ids to rows, topics to a matrix."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from components.evaluator.items import Items

TOPICS = st.sampled_from([b"b", b"a", b"\xc3\xa9", b"", b"a b"])
CATALOGUES = st.lists(st.none() | st.lists(TOPICS, max_size=4), max_size=6)


@given(topics=CATALOGUES)
def test_an_item_has_a_one_for_each_of_its_topics_and_no_more(topics):
    ids = [b"%d" % number for number in range(len(topics))]
    items = Items(ids, pa.array(topics, pa.list_(pa.binary())))
    names = sorted({name for names in topics for name in names or ()})
    wanted = np.array([[name in (own or ()) for name in names] for own in topics], np.float32)
    assert items.topics.shape == (len(ids), max(1, len(names)))
    np.testing.assert_array_equal(
        items.topics.toarray()[:, : len(names)], wanted.reshape(len(topics), len(names))
    )
    assert items.topic_columns([*names, b"none"]) == list(range(len(names)))


def test_the_file_of_an_index_says_the_same_as_lists(tmp_path):
    ids, topics = [b"x", b"y", b"z"], [[b"t", b"s"], [], [b"t"]]
    table = pa.table(
        {
            "item_id": pa.array(ids).cast(pa.string()),
            "topics": pa.array(topics, pa.list_(pa.binary())).cast(pa.list_(pa.string())),
        }
    )
    pq.write_table(table, tmp_path / "items.parquet", row_group_size=2)
    read, made = Items.read(tmp_path / "items.parquet"), Items(ids, topics)
    assert read.ids == made.ids
    assert (read.topics != made.topics).nnz == 0
    assert read.rows([b"z", b"", b"w"]).tolist() == [2, -1, -2]
