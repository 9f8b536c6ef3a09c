"""67: malformed requests get an error or an answer, and the next good one is answered as before."""

from __future__ import annotations

import http.client
import json

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.client import ServingClient, UserRequest
from serving.server.engine import Engine
from serving.server.process import ModelServer
from serving.server.source import OneBundle
from tests.serving import bundles

GOOD = UserRequest(1000, ["a1", "a2"], [9, 8], ["like", "like"], ["t1"], "u")
#: What an error may be: never INTERNAL, which would be a mistake of ours.
REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
}
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server and the answer to a good request."""
    server = ModelServer(Engine(OneBundle(bundles.publish(tmp_path_factory.mktemp("store"), 1))))
    server.start()
    with ServingClient(f"127.0.0.1:{server.port}", bundles.NAME, timeout_s=LIMIT_S) as client:
        yield server, client, client.retrieve([GOOD])
    assert server.stop(60.0)


def ask_bytes(server, message: bytes):
    """Sends bytes as a Predict request; returns the answer or the error's code."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            response_deserializer=predict_pb2.PredictResponse.FromString,
        )
        try:
            return call(message, timeout=LIMIT_S)
        except grpc.RpcError as error:
            return error.code()


def ask(server, request):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            return stub.Predict(request, timeout=LIMIT_S)
        except grpc.RpcError as error:
            return error.code()


def post(server, body: bytes, path: str = f"/v1/models/{bundles.NAME}:predict"):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=LIMIT_S)
    connection.request("POST", path, body)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


def check_alive(served) -> None:
    _, client, good = served
    assert client.retrieve([GOOD]) == good


def request(inputs: dict[str, np.ndarray], signature: str = "") -> predict_pb2.PredictRequest:
    made = predict_pb2.PredictRequest()
    made.model_spec.name = bundles.NAME
    made.model_spec.signature_name = signature
    for name, value in inputs.items():
        made.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return made


def good_inputs() -> dict[str, np.ndarray]:
    from serving.client import user_inputs

    return user_inputs([GOOD])


SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)
DTYPES = st.sampled_from([np.int64, np.int32, np.float32, np.float64, np.bool_, np.uint8, object])


@st.composite
def tensors(draw) -> np.ndarray:
    shape, dtype = draw(SHAPES), draw(DTYPES)
    if dtype is object:
        texts = st.one_of(st.sampled_from([b"", b"a1", b"t1", b"gone"]), st.binary(max_size=8))
        array = np.empty(int(np.prod(shape)), object)
        array[:] = [draw(texts) for _ in range(array.size)]
        return array.reshape(shape)
    bounds = {"i": (-(2**31), 2**31 - 1), "u": (0, 255), "b": (0, 1), "f": (-9, 9)}
    low, high = bounds[np.dtype(dtype).kind]
    values = [draw(st.integers(low, high)) for _ in range(int(np.prod(shape)))]
    return np.array(values, dtype).reshape(shape)


NAMES = ["timestamp", "history_item_id", "history_timestamp", "history_action", "followed_topic"]
OPTIONS = ["user_id", "num_results", "use_implicit", "use_explicit", "examples", "item_id", "odd"]
SIGNATURES = ["", "retrieve", "retrieve_examples", "embed_user", "embed_items", "nope", "\x00"]


@pytest.mark.fault(67)
@given(
    st.dictionaries(st.sampled_from(NAMES + OPTIONS), tensors(), max_size=4),
    st.sets(st.sampled_from(NAMES), max_size=1),
    st.sampled_from(SIGNATURES),
)
def test_inputs_of_any_type_and_shape_over_grpc(served, changed, left_out, signature):
    inputs = {**good_inputs(), **changed}
    inputs = {name: value for name, value in inputs.items() if name not in left_out}
    answer = ask(served[0], request(inputs, signature))
    assert isinstance(answer, predict_pb2.PredictResponse) or answer in REFUSALS
    check_alive(served)


@pytest.mark.fault(67)
@given(st.binary(max_size=200), st.integers(0, 400), st.booleans())
def test_bytes_that_are_no_request_over_grpc(served, noise, place, random):
    message = request(good_inputs()).SerializeToString()
    message = noise if random else message[:place] + noise + message[place + len(noise) :]
    answer = ask_bytes(served[0], message)
    # grpc itself answers INTERNAL for bytes that are no message at all.
    allowed = REFUSALS | {grpc.StatusCode.INTERNAL}
    assert isinstance(answer, predict_pb2.PredictResponse) or answer in allowed
    check_alive(served)


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.sampled_from(["a1", "", "t1"]),
        st.text(max_size=4),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["b64", *NAMES, *OPTIONS]), inner, max_size=4),
    ),
    max_leaves=8,
)


@pytest.mark.fault(67)
@given(st.sampled_from([*NAMES, *OPTIONS, ""]), JSON, st.booleans(), st.sampled_from(SIGNATURES))
def test_any_json_over_rest(served, name, value, rows, signature):
    row = {
        "timestamp": 5, "history_item_id": ["a1"], "history_timestamp": [1],
        "history_action": [""], "followed_topic": ["t1"], "user_id": "", "num_results": 2,
        "use_implicit": True, "use_explicit": True,
    }  # fmt: skip
    row = {**row, name: value} if name else value
    body = {"instances": [row]} if rows else {"inputs": row}
    text = json.dumps({**body, "signature_name": signature}).encode("utf-8", "surrogatepass")
    status, answer = post(served[0], text)
    assert status in (200, 400), answer
    assert ("error" in answer) == (status == 400)
    check_alive(served)


@pytest.mark.fault(67)
@given(st.binary(max_size=60), st.text(max_size=20))
def test_bytes_that_are_no_json_over_rest(served, body, word):
    assert post(served[0], body)[0] == 400
    word = "".join(each for each in word if each.isalnum() and each.isascii())
    assert post(served[0], body, f"/v1/{word}")[0] == 400
    check_alive(served)


@pytest.mark.fault(67)
def test_ten_thousand_items_of_history_are_answered(served):
    _, client, _ = served
    long = [f"a{n % 60}" for n in range(10_000)]
    [answer] = client.retrieve([UserRequest(5, long)])
    assert len(answer.items) == 0, "everything was seen"
    unknown = UserRequest(5, [f"gone {n}" for n in range(10_000)])
    [answer] = client.retrieve([unknown])
    assert len(answer.items) == bundles.RESULTS
    check_alive(served)


@pytest.mark.fault(67)
def test_unknown_users_items_and_topics_are_answered(served):
    _, client, _ = served
    nobody, stranger, follower = client.retrieve(
        [
            UserRequest(5, user_id="nobody"),
            UserRequest(5, ["never seen"], user_id="😀"),
            UserRequest(5, followed_topic=["no such topic"]),
        ]
    )
    assert [each.user_id for each in (nobody, stranger, follower)] == ["nobody", "😀", ""]
    assert {len(each.items) for each in (nobody, stranger, follower)} == {bundles.RESULTS}


@pytest.mark.fault(67)
def test_an_empty_batch_is_answered_with_no_rows(served):
    empty = {name: value[:0] for name, value in good_inputs().items()}
    answer = ask(served[0], request(empty, "retrieve"))
    assert tf.make_ndarray(answer.outputs["item_id"]).shape[0] == 0
    check_alive(served)


@pytest.mark.fault(67)
@pytest.mark.parametrize("wanted", [-(2**31), -1, 0, 1, 2**31 - 1])
def test_any_number_of_results_is_answered(served, wanted):
    inputs = {**good_inputs(), "num_results": np.array([wanted], np.int32)}
    answer = ask(served[0], request(inputs))
    assert 1 <= tf.make_ndarray(answer.outputs["count"])[0] <= bundles.ITEMS


@pytest.mark.fault(67)
def test_garbage_examples_are_refused(served):
    for example in (b"", b"\xff\xff", tf.train.Example().SerializeToString()):
        inputs = {"examples": np.array([example], object)}
        assert ask(served[0], request(inputs, "retrieve_examples")) in REFUSALS
    check_alive(served)


@pytest.mark.fault(67)
def test_a_request_beyond_the_size_limit_is_refused(served):
    from serving.server.body import MAX_BODY_BYTES

    made = request({"examples": np.array([b"x" * (MAX_BODY_BYTES + 1)], object)})
    assert ask(served[0], made) is grpc.StatusCode.RESOURCE_EXHAUSTED
    status, answer = post(served[0], b" " * (MAX_BODY_BYTES + 1))
    assert status == 413 and str(MAX_BODY_BYTES) in answer["error"]
    check_alive(served)
