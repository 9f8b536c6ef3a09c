"""The client against real servers: gRPC, REST and a bare session answer alike."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf
from werkzeug.wrappers import Request, Response

from core.errors import ConfigError
from serving.client import ServingClient, UserRequest, user_inputs
from serving.server.errors import Code, RequestError
from serving.server.http import HttpServer
from tests.serving import bundles
from tests.trainer.retrieval.fake_model import IMPLICIT_SLOTS

USERS = [
    UserRequest(1000, ["a1", "a2", "a1"], [9, 8, 7], ["like"] * 3, ["t1"], "u 1"),
    UserRequest(1000, user_id="😀"),
    UserRequest(1000, ["gone"], followed_topic=["no such topic", "t2"]),
]


@pytest.fixture(scope="module", params=["grpc", "rest"])
def client(request, server):
    rest = request.param == "rest"
    address = f"http://127.0.0.1:{server.rest_port}" if rest else f"127.0.0.1:{server.port}"
    with ServingClient(address, bundles.NAME, timeout_s=300.0) as made:
        made.rest = rest
        yield made


@pytest.fixture(scope="module")
def direct(store):
    """Runs a signature as TensorFlow Serving's session does, without any of our server."""
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(store[1]))

        def run(signature: str, inputs: dict) -> dict:
            made = graph.signature_def[signature]
            feeds = {made.inputs[name].name: value for name, value in inputs.items()}
            return session.run({k: v.name for k, v in made.outputs.items()}, feeds)

        yield run


def test_answers_equal_those_of_a_bare_session(client, direct):
    options = {
        "user_id": np.array([u.user_id.encode() for u in USERS], object),
        "num_results": np.array([5] * 3, np.int32),
    }
    want = direct("retrieve", {**user_inputs(USERS), **options})
    answers = client.retrieve(USERS, num_results=5)
    for row, (user, answer) in enumerate(zip(USERS, answers, strict=True)):
        count = want["count"][row]
        assert answer.user_id == user.user_id
        assert [i.item_id.encode() for i in answer.items] == want["item_id"][row][:count].tolist()
        got = np.array([i.score for i in answer.items], np.float32)
        np.testing.assert_array_equal(got, want["score"][row][:count])
        assert [i.slot for i in answer.items] == want["slot"][row][:count].tolist()
        assert answer.version == (None if client.rest else 1)


def test_reasons_name_the_cluster_or_the_topic(client):
    answer, cold, other = client.retrieve(USERS)
    kinds = {item.kind for item in answer.items}
    assert kinds == {"implicit", "explicit"} and len(answer.items) == bundles.RESULTS
    for item in answer.items:
        assert item.slot in item.found_by
        if item.kind == "explicit":
            assert item.topic == "t1" and item.history == () and item.slot >= IMPLICIT_SLOTS
        else:
            assert item.topic == "" and item.history in (("a1",), ("a2",))
    assert len(cold.items) == bundles.RESULTS and all(i.history == () for i in cold.items)
    assert {i.topic for i in other.items} == {"", "t2"}


def test_options_choose_number_and_sources(client):
    [few] = client.retrieve(USERS[:1], num_results=3, use_implicit=False)
    assert len(few.items) == 3 and {i.kind for i in few.items} == {"explicit"}
    [more] = client.retrieve(USERS[:1], num_results=12, use_explicit=False)
    assert len(more.items) == 12 and {i.kind for i in more.items} == {"implicit"}


def test_tf_examples_are_answered_as_arrays_are(client):
    assert client.retrieve(USERS, num_results=4, signature="retrieve_examples") == client.retrieve(
        USERS, num_results=4
    )


def test_embeddings_equal_those_of_a_bare_session(client, direct):
    want = direct("embed_user", user_inputs(USERS))
    got = client.embed_user(USERS)
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
    items = {"a3": ["t0"], "new": [], "a4": ["t0", "t1"]}
    topics = np.array([[b"t0", b""], [b"", b""], [b"t0", b"t1"]], object)
    names = np.array([b"a3", b"new", b"a4"], object)
    want = direct("embed_items", {"item_id": names, "item_topics": topics})["embeddings"]
    np.testing.assert_array_equal(client.embed_items(items), want)


def test_no_request_and_no_items_are_answered(client):
    assert client.retrieve([]) == []
    [answer] = client.retrieve([UserRequest(5)])
    assert len(answer.items) == bundles.RESULTS


def test_status_and_choice_of_a_version(client):
    [state] = client.status()
    assert (state.version, state.state, state.message) == (1, "AVAILABLE", "")
    chosen, newest = client.retrieve(USERS, version=1), client.retrieve(USERS)
    assert [each.items for each in chosen] == [each.items for each in newest]
    assert {each.version for each in chosen} == {1}
    for call in (lambda: client.retrieve(USERS, version=9), lambda: client.status(version=9)):
        with pytest.raises(RequestError) as caught:
            call()
        assert caught.value.code is Code.NOT_FOUND
    with pytest.raises(RequestError, match="Unrecognized servable version label: stable"):
        client.retrieve(USERS, label="stable")


def test_lists_that_do_not_belong_together_are_refused_before_sending(client):
    with pytest.raises(RequestError, match="1 values of history_action for 2 items"):
        client.retrieve([UserRequest(1, ["a", "b"], history_action=["x"])])


def test_unavailable_is_retried_and_other_errors_are_not():
    codes, lock = [503, 503, 200], threading.Lock()
    seen = []

    def app(environ, start_response):
        with lock:
            seen.append(Request(environ).path)
            code = codes[min(len(seen), len(codes)) - 1]
        body = {"error": "busy"} if code != 200 else {"model_version_status": []}
        return Response(json.dumps(body), code)(environ, start_response)

    server = HttpServer("127.0.0.1", 0, app)
    server.start()
    try:
        client = ServingClient(f"http://127.0.0.1:{server.port}", "m")
        assert client.status() == [] and len(seen) == 3
        codes[:], seen[:] = [400, 200], []
        with pytest.raises(RequestError, match="busy"):
            client.status()
        assert len(seen) == 1
        codes[:], seen[:] = [503], []
        with pytest.raises(RequestError) as caught:
            client.status()
        assert caught.value.code is Code.UNAVAILABLE and len(seen) == 4
    finally:
        assert server.stop(5.0)


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_a_server_that_is_not_there_is_unavailable(scheme):
    with (
        ServingClient(f"{scheme}127.0.0.1:1", "m", tries=2) as client,
        pytest.raises(RequestError) as no,
    ):
        client.retrieve([UserRequest(1)])
    assert no.value.code is Code.UNAVAILABLE


def test_an_address_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="http://host:port"):
        ServingClient("ftp://host", "m")


def test_the_rest_client_does_not_import_tensorflow(server):
    script = (
        "import sys; from serving.client import ServingClient, UserRequest\n"
        f"client = ServingClient('http://127.0.0.1:{server.rest_port}', 'demo')\n"
        "print(len(client.retrieve([UserRequest(5)])[0].items))\n"
        "assert not {'tensorflow', 'grpc', 'pandas'} & set(sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == str(bundles.RESULTS)
