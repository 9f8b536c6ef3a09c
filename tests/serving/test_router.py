"""A router in front of servers of shards: one server's answers, one version each."""

from __future__ import annotations

import json
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.index_builder.catalogue import Catalogue
from components.index_builder.sharded import by_shard, write_shards
from components.pusher.push import PushRequest, push
from core.errors import BundleError, ConfigError, TesseraError
from serving.client import ServingClient, UserRequest
from serving.server.engine import Engine
from serving.server.errors import Code, RequestError
from serving.server.process import ModelServer
from serving.server.router import MISSING, RoutedSource, Shards, ShardServers, load_router
from serving.server.shard import ShardSource, load_shard
from serving.server.source import ModelFolder
from serving.server.version import load
from serving.transport import ModelTarget
from tests.serving import bundles
from tests.serving.conftest import until
from tests.trainer.retrieval.fake_model import FakeModel, request
from trainer.config import RetrievalConfig
from trainer.retrieval.retriever import Retriever, save_retriever

RESULTS = 8


def write_index(index: Path, version: int) -> None:
    """Writes what the index builder would with `index.shards: 2`."""
    ids = [name.encode() for name in bundles.ids(version)]
    topics = [[b"t%d" % (n % 3)] for n in range(len(ids))]
    model = FakeModel(ids, [b"t0", b"t1", b"t2"], seed=version)
    found = by_shard(Catalogue(ids, topics, model.item_vectors.numpy()[: len(ids)]), 2)
    settings = RetrievalConfig(num_results=RESULTS)
    one = Retriever(model, found.ids, found.topics, found.embeddings, settings)
    save_retriever(one, str(index / "retriever"))
    shards = write_shards(model, found, settings, None, None, index)
    table = pa.table({"item_id": [name.decode() for name in found.ids], "topics": found.topics})
    pq.write_table(table, index / "items.parquet")
    about = {"serve": "retriever", "items": len(ids), "dim": 8, "shards": shards}
    (index / "index.json").write_text(json.dumps(about))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Folders of two published versions, each with two shards."""
    root = tmp_path_factory.mktemp("sharded")
    (root / "model" / "Format-Serving" / "warm_start").mkdir(parents=True)
    (root / "evaluation").mkdir()
    found = {}
    for version in (1, 2):
        write_index(root / f"index-{version}", version)
        asked = PushRequest(
            index_dir=root / f"index-{version}",
            model_dir=root / "model",
            evaluation_dir=root / "evaluation",
            serving_dir=root / "serving",
            name=bundles.NAME,
        )
        found[version] = Path(push(asked, blessed=True).destination)
    return found


class Site:
    """Servers of shards and a router, each over a folder of its own."""

    def __init__(self, root: Path, published: dict):
        self.root, self.published = root, published
        self.running: list[ModelServer] = []

    def give(self, who: str, version: int) -> Path:
        folder = self.root / who / bundles.NAME
        bundles.place(self.published[version], folder)
        return folder

    def folder(self, who: str) -> ModelFolder:
        return ModelFolder(self.root / who / bundles.NAME)

    def run(self, source, loader) -> ModelServer:
        server = ModelServer(Engine(source, poll_s=0.05, retry_s=0.05, loader=loader))
        server.start()
        self.running.append(server)
        return server

    def shard(self, number: int, who: str | None = None) -> ModelServer:
        who = who or f"shard{number}"
        self.give(who, 1)
        source = ShardSource(self.folder(who), number)
        return self.run(source, partial(load_shard, shard=number))

    def router(self, *addresses: str, may_miss: bool = False) -> ModelServer:
        if not (self.root / "router").exists():
            self.give("router", 1)
        shards = Shards(bundles.NAME, addresses, may_miss, timeout_s=60.0)
        source = RoutedSource(self.folder("router"), shards)
        return self.run(source, partial(load_router, shards=shards))


@pytest.fixture
def site(tmp_path, published):
    found = Site(tmp_path, published)
    yield found
    for server in found.running:
        server.stop(60.0)


def user(prefix: str) -> dict[str, np.ndarray]:
    given = request([[f"{prefix}1", f"{prefix}2"], [], [f"{prefix}9"]], [["t1"], ["t0"], []])
    return {name: value.numpy() for name, value in given.items()}


def at(server: ModelServer) -> str:
    return f"127.0.0.1:{server.port}"


def test_a_router_answers_as_one_server(site, published):
    first, second = site.shard(0), site.shard(1)
    router = site.router(at(first), at(second))
    given = {**user("a"), "num_results": np.array([5, 8, 3], np.int32)}
    found = router.engine.predict(given, "retrieve").outputs
    truth = load(published[1]).run(given, "retrieve").outputs
    assert found.keys() == truth.keys()
    for name, value in truth.items():
        if value.dtype == np.float32:
            np.testing.assert_allclose(found[name], value, rtol=1e-5)
        else:
            np.testing.assert_array_equal(found[name], value)
    asked = [UserRequest(timestamp=5, history_item_id=["a1"], followed_topic=["t2"])]
    for address in (at(router), f"http://127.0.0.1:{router.rest_port}"):
        with ServingClient(address, bundles.NAME, timeout_s=60.0) as client:
            assert len(client.retrieve(asked)[0].items) == RESULTS
    with pytest.raises(RequestError, match="not found in signature"):
        router.engine.predict(given, "retrieve", outputs=("nothing",))
    assert [*router.engine.predict(given, outputs=("count",)).outputs] == ["count"]


def test_no_answer_mixes_versions_and_none_fails_while_a_new_one_spreads(site):
    first, second = site.shard(0), site.shard(1)
    router = site.router(at(first), at(second))
    stop, answers, errors = threading.Event(), [], []

    def ask() -> None:
        while not stop.wait(0.02):
            try:
                answers.append(router.engine.predict(user("a"), "retrieve"))
            except RequestError as error:
                errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for who, server in (("router", None), ("shard0", first)):
            site.give(who, 2)
            if server is not None:
                until(lambda server=server: available(server, 2))
            assert router.engine.predict(user("a")).version == 1
        site.give("shard1", 2)
        until(lambda: router.engine.predict(user("a")).version == 2)
    finally:
        stop.set()
        asking.join()
    assert not errors
    for answer in answers:
        ids = [name for name in answer.outputs["item_id"].ravel() if name]
        assert ids and {name[:1] for name in ids} == {bundles.PREFIXES[answer.version].encode()}
    assert available(first, 1), "a shard keeps the version before for routers that are late"


def available(server: ModelServer, version: int) -> bool:
    states = {each.version: each.state.name for each in server.engine.status()}
    return states.get(version) == "AVAILABLE"


def test_a_shard_that_is_down_is_named_or_counted(site):
    first, second = site.shard(0), site.shard(1)
    router = site.router(at(first), at(second))
    lenient = site.router(at(first), at(second), may_miss=True)
    whole = lenient.engine.predict(user("a"), "retrieve").outputs
    assert whole[MISSING].tolist() == [0, 0, 0]
    second.stop(60.0)
    with pytest.raises(RequestError, match=r"shard 1 \(127.0.0.1:\d+\) does not answer") as caught:
        router.engine.predict(user("a"), "retrieve")
    assert caught.value.code is Code.UNAVAILABLE
    part = lenient.engine.predict(user("a"), "retrieve").outputs
    assert part[MISSING].tolist() == [1, 1, 1]
    assert set(part["item_id"].ravel()) != set(whole["item_id"].ravel())
    first.stop(60.0)
    with pytest.raises(RequestError, match=r"shard 0 .* shard 1"):
        lenient.engine.predict(user("a"), "retrieve")


def test_another_server_of_the_shard_answers(site):
    first, again, second = site.shard(0), site.shard(0, "replica"), site.shard(1)
    router = site.router(f"{at(first)},{at(again)}", at(second))
    first.stop(60.0)
    for _ in range(3):
        assert router.engine.predict(user("a"), "retrieve").version == 1
    site.give("router", 2)
    site.give("shard1", 2)
    until(lambda: available(second, 2))
    assert router.engine.predict(user("a")).version == 1, "the other server of shard 0 lacks it"


def test_a_router_does_not_start_without_its_shards(site, published):
    first = site.shard(0)
    with pytest.raises(TesseraError, match=r"shard 1 \(127.0.0.1:9\) cannot be reached"):
        site.router(at(first), "127.0.0.1:9")
    with pytest.raises(BundleError, match="has 2 shards, but addresses of 1 are given"):
        load_router(published[1], Shards(bundles.NAME, [at(first)], False))
    with pytest.raises(BundleError, match="has 2 shards, but 3 are asked for"):
        load_shard(published[1], 2)
    with pytest.raises(ConfigError, match=r"'somewhere': expected host:port"):
        ShardServers("somewhere", "demo-shard-0")


def test_a_shard_is_a_model_of_its_own_name(site):
    from serving.transport import GrpcTransport

    server = site.shard(1)
    states = GrpcTransport(at(server)).status(ModelTarget("demo-shard-1"), 60.0)
    assert [(each.version, each.state) for each in states] == [(1, "AVAILABLE")]
