"""Filters through `import tessera`, the command line and servers of both protocols."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import tessera
from cli.recommend import recommend
from cli.similar import similar
from components.pusher.push import ManifestFields, PushRequest, push
from core.errors import BundleError, ConfigError
from serving.filters import make_filters
from serving.server.engine import Engine
from serving.server.errors import Code, RequestError
from serving.server.process import ModelServer
from serving.server.source import OneBundle
from tests.markers import nightly
from tests.trainer.retrieval.fake_model import FakeModel
from trainer.config import RetrievalConfig
from trainer.retrieval.filters import Attributes
from trainer.retrieval.retriever import Retriever, save_retriever

ITEMS = [f"i{n}" for n in range(40)]
TOPICS = [["even" if n % 2 == 0 else "odd"] for n in range(40)]
CONFIG = RetrievalConfig(num_results=10, filters=("topics", "region", "created_at"))
USER = {"history": ["i1", "i2"], "follows": ["odd"], "now": 1000}


def in_region(n: int) -> str:
    return ("de", "at", "ch")[n % 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("filtered")
    ids = [item.encode() for item in ITEMS]
    topics = [[name.encode() for name in names] for names in TOPICS]
    model = FakeModel(ids, [b"even", b"odd"])
    regions = [[in_region(n).encode()] for n in range(40)]
    attributes = Attributes(
        {"topics": topics, "region": regions}, {"created_at": np.arange(100, 140)}
    )
    vectors = model.item_vectors.numpy()[:40]
    retriever = Retriever(model, ids, topics, vectors, CONFIG, attributes=attributes)
    save_retriever(retriever, str(root / "index" / "retriever"))
    pq.write_table(pa.table({"item_id": ITEMS, "topics": TOPICS}), root / "index/items.parquet")
    (root / "index/index.json").write_text(json.dumps({"serve": "retriever", "items": 40}))
    (root / "model/Format-Serving/warm_start").mkdir(parents=True)
    (root / "model/Format-Serving/warm_start/weights.npz").write_bytes(b"weights")
    (root / "evaluation").mkdir()
    (root / "evaluation/evaluation.json").write_text('{"model": {"recall@100": 0.25}}')
    fields = ManifestFields(config={"retrieval": CONFIG.model_dump(mode="json")})
    request = PushRequest(
        index_dir=root / "index",
        model_dir=root / "model",
        evaluation_dir=root / "evaluation",
        serving_dir=root / "serving",
        name="demo",
        fields=fields,
    )
    return push(request, blessed=True).destination


@pytest.fixture(scope="module", params=["bundle", "rest", *nightly("grpc")])
def model(request, folder):
    if request.param == "bundle":
        with tessera.load(folder) as made:
            yield made
        return
    server = ModelServer(Engine(OneBundle(folder)))
    server.start()
    rest = request.param == "rest"
    address = f"http://127.0.0.1:{server.rest_port}" if rest else f"127.0.0.1:{server.port}"
    with tessera.Client(address, "demo", timeout_s=300.0) as made:
        yield made
    assert server.stop(60.0)


def numbers(rows) -> set[int]:
    return {int(item[1:]) for item in rows["item_id"]}


@pytest.mark.parametrize(
    ("filters", "fits"),
    [
        ({"filters": {"region": "de"}}, lambda n: n % 3 == 0),
        ({"filters": {"region": ["de", "at"], "topics": "odd"}}, lambda n: n % 3 < 2 and n % 2),
        ({"filters": {"created_at": (110, 120)}}, lambda n: 10 <= n <= 20),
        ({"filters": ["created_at>=110", "region=ch"]}, lambda n: n >= 10 and n % 3 == 2),
        ({"filters": {"region": []}}, lambda n: False),
        ({"allow": ["i1", "i5", "i6", "gone"]}, lambda n: n in (1, 5, 6)),
        ({"allow": []}, lambda n: False),
        ({"deny": ["i3", "i4"]}, lambda n: n not in (3, 4)),
        ({"allow": ["i5", "i6"], "deny": ["i6"], "filters": {"topics": "odd"}}, lambda n: n == 5),
    ],
)
def test_only_what_fits_is_brought_and_all_of_it(model, filters, fits):
    wanted = {n for n in range(40) if fits(n)}
    assert numbers(model.recommend(USER, n=40, **filters)) == wanted - {1, 2}
    assert numbers(model.similar("i1", n=40, **filters)) == wanted - {1}


def test_a_column_that_the_version_does_not_know_is_named(model):
    with pytest.raises(RequestError, match="region=VALUE") as error:
        model.recommend(USER, filters={"colour": "red"})
    assert error.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"filters": "region=de"}, "is a list"),
        ({"filters": ["region"]}, "COLUMN=VALUE"),
        ({"filters": {"created_at": (1, 2, 3)}}, "least, most"),
        ({"allow": "i1"}, "is a list"),
    ],
)
def test_filters_that_cannot_be_read_are_refused_before_anything_is_sent(given, words):
    with pytest.raises(ConfigError, match=words):
        make_filters(**given)


def test_a_version_without_filters_says_what_to_do():
    class Plain(tessera.Client):
        def _predict(self, signature, inputs):
            raise RequestError(
                Code.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.'
            )

    with pytest.raises(BundleError, match=r"retrieval\.filters"):
        Plain("http://localhost:1", "m").recommend(USER, deny=["i1"])


def test_the_commands_take_filters(folder):
    words = ["--bundle", str(folder), "--filter", "region=de", "--filter", "created_at<=112"]
    asked = ["--history", "i1", "--deny", "i3", "--json", *words]
    answer = json.loads(CliRunner().invoke(recommend, asked).stdout)
    assert {item["item_id"] for item in answer["items"]} == {"i0", "i6", "i9", "i12"}
    found = CliRunner().invoke(similar, ["--item", "i0", "--allow", "i3,i4", "--json", *words])
    assert [item["item_id"] for item in json.loads(found.stdout)["items"]] == ["i3"]
    wrong = CliRunner().invoke(recommend, ["--history", "i1", *words[:2], "--filter", "a=b"])
    assert isinstance(wrong.exception, ConfigError) and "region=VALUE" in str(wrong.exception)
