"""What TensorFlow Serving's batching does with our signatures.

The server joins the inputs of several requests as `joined` does: the first dimension of
all inputs of a request must agree, the others over the requests, and with
`pad_variable_length_inputs` it fills up with a tensor's first element.
"""

import numpy as np
import pytest
import tensorflow as tf

from tests.components.retrieval_world import IDS, build, write_world
from trainer.retrieval import signature


class NotBatchable(Exception):
    pass


def joined(requests, pad=False):
    """The inputs of one run for several requests (batching_session.cc)."""
    for request in requests:
        if len({value.shape[0] for value in request.values()}) != 1:
            raise NotBatchable("batch sizes of the inputs differ")
    whole = {}
    for name in requests[0]:
        parts = [request[name] for request in requests]
        width = max(part.shape[1] for part in parts) if parts[0].ndim == 2 else None
        if width is not None and any(part.shape[1] != width for part in parts):
            if not pad:
                raise NotBatchable(f"{name} has different shapes and padding is turned off")
            parts = [padded(part, width) for part in parts]
        whole[name] = np.concatenate(parts)
    return whole


def padded(part, width):
    fill = part.flat[0] if part.size else np.zeros(1, part.dtype)[0]
    return np.pad(part, [(0, 0), (0, width - part.shape[1])], constant_values=fill)


def dense(histories, follows, options=None):
    """A request for `retrieve`, with the defaults that the server fills in."""
    rows = len(histories)
    length = max(map(len, histories))
    items = np.array([h + [""] * (length - len(h)) for h in histories], object)
    request = {
        "timestamp": np.full(rows, 100, np.int64),
        "history_item_id": items,
        "history_timestamp": np.full(items.shape, 50, np.int64),
        "history_action": np.full(items.shape, "click", object),
        "followed_topic": np.array(follows, object).reshape(rows, -1),
    }
    for name, default in signature.OPTION_DEFAULTS.items():
        dtype = signature.OPTION_DTYPES[name].as_numpy_dtype
        request[name] = np.array([default] * (rows if options == "rows" else 1), dtype)
    return request


def example(history, follows):
    def strings(values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode() for v in values]))

    def numbers(values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    features = {
        "timestamp": numbers([100]),
        "history_item_id": strings(history),
        "history_timestamp": numbers([50] * len(history)),
        "history_action": strings(["click"] * len(history)),
        "followed_topic": strings(follows),
    }
    whole = tf.train.Example(features=tf.train.Features(feature=features))
    return {"examples": np.array([whole.SerializeToString()], object)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp("batching")
    write_world(root, n_eval=40)
    return tf.saved_model.load(str(build(root, num_results=8) / "retriever"))


def run(model, name, request):
    answer = model.signatures[name](**{k: tf.constant(v) for k, v in request.items()})
    return {key: value.numpy() for key, value in answer.items()}


HISTORIES = (IDS[3:4], IDS[10:15], [])
FOLLOWS = (["t1"], ["t2", "t3"], ["t4"])


def test_batched_examples_of_any_length_are_answered_as_alone(model):
    requests = [example(h, f) for h, f in zip(HISTORIES, FOLLOWS, strict=True)]
    together = run(model, "retrieve_examples", joined(requests))
    for row, request in enumerate(requests):
        alone = run(model, "retrieve_examples", request)
        count = alone["count"][0]
        assert together["count"][row] == count > 0
        assert list(together["item_id"][row][:count]) == list(alone["item_id"][0][:count])
        np.testing.assert_allclose(
            together["score"][row][:count], alone["score"][0][:count], atol=1e-6
        )


def test_every_output_can_be_cut_into_requests_again(model):
    requests = [example(h, f) for h, f in zip(HISTORIES, FOLLOWS, strict=True)]
    for value in run(model, "retrieve_examples", joined(requests)).values():
        assert value.shape[0] == len(requests)


def test_histories_of_one_length_can_be_batched(model):
    requests = [dense([IDS[3:5]], [["t1"]]), dense([IDS[10:12]], [["t2"]])]
    together = run(model, "retrieve", joined(requests))
    for row, request in enumerate(requests):
        alone = run(model, "retrieve", request)
        assert list(together["item_id"][row]) == list(alone["item_id"][0])


def test_histories_of_different_lengths_are_refused():
    requests = [dense([IDS[3:4]], [["t1"]]), dense([IDS[10:15]], [["t2"]])]
    with pytest.raises(NotBatchable, match="different shapes"):
        joined(requests)


def test_a_default_for_the_whole_batch_is_refused_and_one_per_row_is_not(model):
    histories, follows = [IDS[3:5], IDS[10:12]], [["t1"], ["t2"]]
    with pytest.raises(NotBatchable, match="batch sizes"):
        joined([dense(histories, follows)])
    answer = run(model, "retrieve", joined([dense(histories, follows, options="rows")]))
    assert (answer["count"] > 0).all()


def test_the_servers_own_padding_would_change_the_user(model):
    requests = [dense([IDS[3:5]], [["t1"]]), dense([IDS[10:15]], [["t2"]])]
    together = joined(requests, pad=True)
    assert list(together["history_item_id"][0]) == [IDS[3], IDS[4], IDS[3], IDS[3], IDS[3]]
    alone = run(model, "retrieve", requests[0])
    repeated = run(model, "retrieve", together)
    assert not np.allclose(alone["slot_mass"][0], repeated["slot_mass"][0])
