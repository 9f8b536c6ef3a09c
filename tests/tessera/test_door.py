"""`import tessera`: a bundle and a server over both protocols give the same tables."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import tessera
from cli.similar import similar
from core.errors import BundleError, ConfigError
from serving.server.errors import Code, RequestError
from serving.wire import PredictRequest, put
from tests.serving import bundles
from tests.serving.conftest import *  # noqa: F403  # its fixtures: store, start, server

USERS = [
    {"history": ["a1", "a2"], "follows": ["t1"], "user_id": "u", "now": 1000},
    tessera.User(now=1000),
]


@pytest.fixture(scope="module")
def bundle(store):
    with tessera.load(store[1]) as made:
        yield made


@pytest.fixture(scope="module", params=["grpc", "rest"])
def client(request, server):
    rest = request.param == "rest"
    address = f"http://127.0.0.1:{server.rest_port}" if rest else f"127.0.0.1:{server.port}"
    with tessera.Client(address, bundles.NAME, timeout_s=300.0) as made:
        yield made


QUESTIONS = [
    lambda m: m.recommend(USERS, n=5),
    lambda m: m.recommend(USERS[0], n=4, implicit=False),
    lambda m: m.similar(["a1", "a7"], n=3),
    lambda m: m.similar({"new": ["t1"], "a1": []}, n=3),
    lambda m: m.score(USERS, ["a3", "a4", "gone"]),
    lambda m: m.score(USERS, [["a3"], ["a4", "a5"]]),
    lambda m: m.encode(USERS),
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_server_and_the_bundle_give_equal_tables(question, bundle, client):
    here, there = question(bundle), question(client)
    assert here.columns == there.columns and len(here) == len(there) > 0
    for name in here.columns:
        for mine, theirs in zip(here[name], there[name], strict=True):
            np.testing.assert_array_equal(mine, theirs, err_msg=name)
    assert here.to_arrow().num_rows == len(here.to_pandas()) == len(here.to_list())


def test_rows_say_whose_they_are_and_why(bundle):
    rows = bundle.recommend(USERS, n=6)
    assert rows["row"].tolist() == [0] * 6 + [1] * 6
    assert rows["rank"].tolist() == [*range(1, 7)] * 2
    assert set(rows["user_id"][:6]) == {"u"}
    for row in rows.to_list()[:6]:
        explicit = row["kind"] == "explicit"
        assert row["topic"] == ("t1" if explicit else "")
        assert row["because"] in ([[]] if explicit else [["a1"], ["a2"]])


def test_similar_items_are_those_of_exact_search(bundle, store):
    vectors = np.load(store[1] / "item_embeddings.npy")
    order = np.argsort(-(vectors @ vectors[1]), kind="stable")
    want = [f"a{n}" for n in order if n != 1][:9]
    rows = bundle.similar("a1", n=9)
    assert rows["item_id"].tolist() == want and rows["known"].all()
    np.testing.assert_allclose(rows["score"], (vectors @ vectors[1])[order[1:10]], rtol=1e-6)
    assert not bundle.similar({"new": ["t1"]}, n=2)["known"].any()
    assert len(bundle.similar("a1", n=500)) == bundles.ITEMS - 1  # as long as the catalogue


def test_scores_equal_those_that_recommend_gives(bundle):
    rows = bundle.recommend(USERS, n=8, explicit=False)
    for row, user in enumerate(USERS):
        mine = rows["row"] == row
        pairs = bundle.score(user, rows["item_id"][mine].tolist())
        np.testing.assert_allclose(
            pairs["implicit_score"] >= rows["score"][mine] - 1e-6, True
        )  # the merge may take an item from another slot than its best
    alone = bundle.recommend({"history": ["a1"], "now": 9}, n=8)
    pairs = bundle.score({"history": ["a1"], "now": 9}, alone["item_id"].tolist())
    np.testing.assert_allclose(pairs["score"], alone["score"], rtol=1e-6)
    assert pairs["slot"].tolist() == alone["slot"].tolist()
    assert np.isnan(pairs["explicit_score"]).all()  # nothing is followed


def test_an_item_that_nobody_knows_has_no_score(bundle):
    [row] = bundle.score(USERS[0], ["gone"]).to_list()
    assert (row["known"], row["slot"], row["kind"], row["topic"]) == (False, -1, "", "")
    assert np.isnan(row["implicit_score"])


def test_nothing_asked_is_an_empty_table_with_the_same_columns(bundle):
    for name, arguments in (("recommend", ()), ("score", (["a1"],)), ("encode", ())):
        empty, full = (
            getattr(bundle, name)([], *arguments),
            getattr(bundle, name)(USERS, *arguments),
        )
        assert len(empty) == 0 and empty.columns == full.columns
        assert empty.to_arrow().schema == full.to_arrow().schema
    assert bundle.similar([]).to_arrow().schema == bundle.similar("a1").to_arrow().schema


@pytest.mark.parametrize(
    ("users", "words"),
    [
        ({"histori": []}, "no field 'histori'"),
        ({"history": "a1"}, "is a list"),
        ([3], "not int"),
        ({"history": ["a1", "a2"], "times": [1]}, "1 times for 2 items"),
    ],
)
def test_a_user_that_cannot_be_read_is_refused(bundle, users, words):
    with pytest.raises(ConfigError, match=words):
        bundle.recommend(users)


def test_a_server_knows_no_users(client):
    with pytest.raises(ConfigError, match=r"tessera\.load"):
        client.recommend("u")


def test_an_older_version_says_what_to_do():
    class Older(tessera.Client):
        def _predict(self, signature, inputs):
            words = f'Serving signature key "{signature}" not found.'
            raise RequestError(Code.FAILED_PRECONDITION, words)

    with pytest.raises(BundleError, match="tessera refresh"):
        Older("http://localhost:1", "m").similar("a1")


def test_a_servers_url_is_a_client(server):
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/{bundles.NAME}"
    with tessera.load(url) as model:
        assert isinstance(model, tessera.Client) and model.similar("a1", n=1)["known"].all()
    with pytest.raises(ConfigError, match="say which model"):
        tessera.load("http://localhost:8501")


def test_the_command_prints_neighbours(store):
    words = ["--bundle", str(store[1]), "--item", "a1", "-n", "3"]
    answer = json.loads(CliRunner().invoke(similar, [*words, "--json"]).stdout)
    assert answer["known"] and [each["rank"] for each in answer["items"]] == [1, 2, 3]
    shown = CliRunner().invoke(similar, words)
    assert all(each["item_id"] in shown.stdout for each in answer["items"])
    other = CliRunner().invoke(similar, [*words[:3], "nobody", "--topics", "t1"])
    assert other.exit_code == 0 and "not in the catalogue" in other.stderr


def test_the_wire_messages_are_tensorflow_servings():
    from tensorflow_serving.apis import predict_pb2

    request = PredictRequest()
    request.model_spec.name, request.model_spec.version.value = "m", 7
    names = np.array([["a", "b"]], object)
    names[:] = [[b"a", b"\xff"]]
    put(request.inputs, {"s": names, "i": np.array([1, 2]), "f": np.array([0.5], np.float32)})
    theirs = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    assert (theirs.model_spec.name, theirs.model_spec.version.value) == ("m", 7)
    assert list(theirs.inputs["s"].string_val) == [b"a", b"\xff"]
    assert list(theirs.inputs["i"].int64_val) == [1, 2] and theirs.inputs["f"].float_val == [0.5]


def test_the_client_needs_neither_tensorflow_nor_tfx_and_a_bundle_no_tfx(store):
    client = (
        "import sys, tessera\nc = tessera.Client('localhost:1', 'm')\n"
        "bad = {'tensorflow', 'tfx', 'pydantic', 'apache_beam'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)"
    )
    loaded = (
        f"import sys, tessera\nm = tessera.load({str(store[1])!r})\nm.similar('a1', 2)\n"
        "bad = {'tfx', 'apache_beam'} & set(sys.modules)\nsys.exit(str(bad) if bad else 0)"
    )
    for code in (client, loaded):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-500:]
