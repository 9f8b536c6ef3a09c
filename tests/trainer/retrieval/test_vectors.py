"""Every searcher gives back the vectors that it was made from."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.retrieval.partitioned import PartitionedSearch
from trainer.retrieval.search import ExactSearch, ScannParameters, ScannSearch

VECTORS = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
SEARCHERS = {
    "exact": ExactSearch,
    "partitioned": lambda given: PartitionedSearch.build(given, 9, 3).with_probed(2),
    "scann": lambda given: ScannSearch.build(given.numpy(), ScannParameters(8, 8, 100)),
}


@pytest.mark.parametrize("name", SEARCHERS)
def test_vectors_are_those_of_the_rows(name):
    searcher = SEARCHERS[name](tf.Variable(VECTORS))
    rows = np.array([[5, 199, 0], [5, 17, 3]], np.int32)
    np.testing.assert_array_equal(searcher.vectors(tf.constant(rows)).numpy(), VECTORS[rows])
