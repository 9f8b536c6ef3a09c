"""Publishing and reading over gcsfs, against a server that speaks its API on loopback."""

import pytest

from components.bundle import mirrored, opened_bundle, verify
from components.bundle.labels import change, promoted
from core.errors import BundleError, DataError
from core.storage import ObjectStore
from input_tables.config import DataConfig
from input_tables.layout import find_tables
from input_tables.remote import local_tables
from tests.components.store_fixtures import publish, visible
from tests.gcs_server import running_gcs
from tests.input_tables.tiny import write_spans


@pytest.fixture
def gcs():
    with running_gcs() as server:
        yield server


def below(server, folder):
    return {k.removeprefix(folder): v for k, v in server.objects.items() if k.startswith(folder)}


def test_objects_are_listed_written_and_created_once(gcs, tmp_path):
    store = ObjectStore("gs://lake/place")
    assert store.list() == {} == store.children()
    store.write("a/b.txt", b"one")
    gcs.objects["place/c.txt"] = b""
    assert store.list() == {"a/b.txt": 3, "c.txt": 0}
    assert store.children() == {"a": None, "c.txt": 0} and store.children("a") == {"b.txt": 3}
    assert store.size("a/b.txt") == 3 and store.size("no") is None and store.size("a") is None
    assert store.create("claim", b"mine") and not store.create("claim", b"theirs")
    sent = [query for method, _, query in gcs.seen if method == "POST"]
    assert [query.get("ifGenerationMatch") for query in sent] == [None, "0", "0"]
    assert store.read("claim") == b"mine" and store.read_if_there("no") is None
    store.copy("claim", "copied")
    store.delete(["claim", "never/there"])
    (tmp_path / "large").write_bytes(b"x" * (6 << 20))
    store.upload(tmp_path / "large", "large")
    store.download_all(store.list(), tmp_path / "down")
    assert (tmp_path / "down/large").read_bytes() == (tmp_path / "large").read_bytes()
    assert (tmp_path / "down/copied").read_bytes() == b"mine"
    assert store.digest("copied", 4) == ObjectStore("gs://lake").digest("place/copied", 4)
    with pytest.raises(DataError, match="gs://lake/place/no: does not exist"):
        store.read("no")


def test_versions_are_published_labelled_read_and_removed(gcs, tmp_path):
    url = "gs://lake/serving"
    for content in ("one", "two", "two", "three"):
        result = publish(tmp_path, url, content, keep_versions=2)
    assert (result.version, result.removed) == (3, (1,))
    assert visible(below(gcs, "serving/")) == [2, 3]
    with mirrored(url) as root:
        change(root / "demo", lambda pins, found: promoted(pins, found, 2, "stable"))
        assert verify(root / "demo/3").version == 3
    with opened_bundle(f"{url}/demo/2") as bundle:
        assert bundle.manifest.version == 2
    gcs.objects["serving/demo/3/items.parquet"] = b"damaged"
    refused = pytest.raises(BundleError, match=r"gs://lake/serving/demo/3/items\.parquet")
    with refused, opened_bundle(f"{url}/demo/3"):
        pytest.fail("was opened")


def test_tables_are_copied(gcs, tmp_path):
    days = ["2024-06-29", "2024-06-30"]
    for path in write_spans(tmp_path, days, days[1]).rglob("*.csv"):
        gcs.objects[f"tables/{path.relative_to(tmp_path).as_posix()}"] = path.read_bytes()
    config = DataConfig(root="gs://lake/tables", run_date=days[1], window_days=2)
    with local_tables(config) as data:
        assert len(find_tables(data).files) == 4
    missing = config.model_copy(update={"window_days": 3})
    refused = pytest.raises(DataError, match="gs://lake/tables/engagements/span=2024-06-28")
    with refused, local_tables(missing):
        pytest.fail("another day was used")
