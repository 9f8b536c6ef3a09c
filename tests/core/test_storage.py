"""Object storage: fresh listings, exclusive creation, what is tried again and what is not."""

import hashlib
import logging
import multiprocessing
import uuid
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import BundleError, ConfigError, DataError
from core.storage import ObjectStore, absolute, is_remote, local_or_url
from core.storage_errors import ATTEMPTS, is_passing, reason_of
from tests.object_store import (
    CUT,
    DROPPED,
    LOST,
    Late,
    s3,  # noqa: F401 - fixture
    s3_server,  # noqa: F401 - fixture
)

logging.getLogger("werkzeug").setLevel(logging.ERROR)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("core.storage_errors.FIRST_WAIT_S", 0.01)


def memory():
    return ObjectStore(f"memory://place-{uuid.uuid4().hex[:8]}")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://bucket/tables", True),
        ("gs://bucket", True),
        ("memory://x", True),
        ("data/demo", False),
        ("/mnt/s3/tables", False),
        ("~/data", False),
        ("C:/data", False),
        ("span=2024-06-30", False),
        (Path("s3:/bucket"), False),
        (None, False),
    ],
)
def test_a_url_is_told_from_a_path(path, expected):
    assert is_remote(path) is expected


def test_urls_stay_as_they_are_and_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("s3://bucket/a/../b/") == "s3://bucket/a/../b"
    assert absolute("data") == str(tmp_path / "data")
    assert local_or_url("s3://bucket//x/") == "s3://bucket//x"
    assert local_or_url("data/x") == Path("data/x")


@pytest.mark.parametrize("url", ["s3://", "gs:///", "nothing://bucket/x", "bucket/x"])
def test_what_is_no_place_is_a_configuration_error(url):
    with pytest.raises(ConfigError, match=url):
        ObjectStore(url)


def test_listings_are_those_of_the_moment(s3):  # noqa: F811
    url = s3.fresh()
    mine, theirs = ObjectStore(url), ObjectStore(url)
    assert mine.list() == {} == mine.children()
    theirs.write("a/b.txt", b"one")
    theirs.write("c.txt", b"")
    s3.put(f"{url}/a/")  # the marker that some tools leave for a folder
    assert mine.list() == {"a/b.txt": 3, "c.txt": 0}
    assert mine.list("a") == {"a/b.txt": 3} and mine.list("c") == {} == mine.list("c.txt")
    assert mine.children() == {"a": None, "c.txt": 0} and mine.children("a") == {"b.txt": 3}
    assert mine.children("nothing") == {}
    theirs.delete(["a/b.txt", "never/there"])
    assert mine.list() == {"c.txt": 0}
    assert mine.size("c.txt") == 0 and mine.size("a/b.txt") is None and mine.size("a") is None


def test_files_go_up_and_come_down_unchanged(s3, tmp_path):  # noqa: F811
    store, content = ObjectStore(s3.fresh()), bytes(range(256)) * 90_000
    (tmp_path / "file").write_bytes(content)
    store.upload(tmp_path / "file", "folder/file")
    assert store.digest("folder/file", len(content)) == hashlib.sha256(content).hexdigest()
    store.copy("folder/file", "folder/copy")
    store.download_all(store.list(), tmp_path / "down")
    assert (tmp_path / "down/folder/copy").read_bytes() == content
    assert sorted(p.name for p in (tmp_path / "down/folder").iterdir()) == ["copy", "file"]


NAMES = st.text("abc-=_ é%+", min_size=1, max_size=6).filter(lambda n: n.strip() == n)


@given(st.dictionaries(NAMES, st.binary(max_size=20), max_size=4))
def test_memory_holds_what_was_written(files):
    store = memory()
    for name, content in files.items():
        store.write(f"x/{name}", content)
    assert store.list() == {f"x/{name}": len(content) for name, content in files.items()}
    for name, content in files.items():
        assert store.read(f"x/{name}") == content
        assert store.create(f"x/{name}", b"another one's content") is False


@settings(suppress_health_check=list(HealthCheck))
@given(NAMES, st.binary(max_size=20))
def test_s3_holds_what_was_written(s3, name, content):  # noqa: F811
    url = s3.fresh()
    ObjectStore(url).write(f"x/{name}", content)
    assert s3.keys(url) == {f"x/{name}": content}
    assert ObjectStore(url).list() == {f"x/{name}": len(content)}


def test_an_object_is_created_once(s3):  # noqa: F811
    for store in (ObjectStore(s3.fresh()), memory()):
        assert store.create("claim", b"mine")
        assert not store.create("claim", b"theirs")
        assert store.create("claim", b"mine")  # the answer to the first was lost
        assert store.read("claim") == b"mine"


OPERATIONS = {
    "read": lambda store, _: store.read("there"),
    "list": lambda store, _: store.list(),
    "children": lambda store, _: store.children(),
    "size": lambda store, _: store.size("there"),
    "write": lambda store, _: store.write("new", b"x"),
    "create": lambda store, _: store.create("claim", b"x"),
    "copy": lambda store, _: store.copy("there", "copy"),
    "delete": lambda store, _: store.delete(["gone"]),
    "upload": lambda store, path: store.upload(path, "up"),
    "download": lambda store, path: store.download("there", path.with_name("down")),
    "digest": lambda store, _: store.digest("there", 3),
}


@pytest.mark.fault(76)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("status", [503, 500])
def test_what_passes_is_tried_again(s3, quick, tmp_path, operation, status):  # noqa: F811
    store = ObjectStore(s3.fresh())
    store.write("there", b"one")
    (tmp_path / "file").write_bytes(b"x")
    s3.faults.reset(lambda *_: status if len(s3.faults.seen) <= 2 else None)
    OPERATIONS[operation](store, tmp_path / "file")
    assert len(s3.faults.seen) in (3, 4)


@pytest.mark.fault(76)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("what", [DROPPED, LOST])
def test_a_request_without_an_answer_is_sent_again(s3, quick, tmp_path, operation, what):  # noqa: F811
    """Also one that was carried out: what creates or deletes must not take that for failure."""
    store = ObjectStore(s3.fresh())
    store.write("there", b"one")
    (tmp_path / "file").write_bytes(b"x")
    s3.faults.reset(lambda *_: what if len(s3.faults.seen) <= 1 else None)
    assert OPERATIONS[operation](store, tmp_path / "file") is not False
    assert len(s3.faults.seen) in (2, 3)


@pytest.mark.parametrize("operation", ["read", "download", "digest"])
def test_half_an_answer_is_read_again(s3, quick, tmp_path, operation):  # noqa: F811
    store, content, cut = ObjectStore(s3.fresh()), b"one two three", []
    store.write("there", content)

    def rule(method, _):
        if method == "GET" and len(cut) < 2:
            cut.append(method)
            return CUT
        return None

    s3.faults.reset(rule)
    if operation == "read":
        assert store.read("there") == content
    elif operation == "digest":
        assert store.digest("there", len(content)) == hashlib.sha256(content).hexdigest()
    else:
        store.download("there", tmp_path / "down")
        assert (tmp_path / "down").read_bytes() == content
    assert len(cut) == 2


def test_a_store_that_answers_late_is_waited_for(s3, monkeypatch):  # noqa: F811
    store = ObjectStore(s3.fresh())
    s3.faults.reset(lambda *_: Late(0.4))
    store.write("a", b"one")
    assert store.read("a") == b"one" and len(s3.faults.seen) == 2


def test_a_store_that_hangs_is_asked_again(s3, quick, monkeypatch):  # noqa: F811
    import fsspec

    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 0.5}})
    monkeypatch.setattr("core.storage._CONNECTIONS", {})
    store = ObjectStore(s3.fresh())
    s3.faults.reset(lambda *_: Late(2) if len(s3.faults.seen) <= 1 else None)
    assert store.create("claim", b"mine") and store.read("claim") == b"mine"


@pytest.mark.nightly
@pytest.mark.parametrize("objects", [20_000])
def test_many_objects_are_listed_page_by_page(s3, objects):  # noqa: F811
    url = s3.fresh()
    names = [f"part-{number % 7}/{number:06d}" for number in range(objects)]
    s3.put_many(url, names)
    store = ObjectStore(url)
    assert list(store.list()) == sorted(names)
    assert store.children() == {f"part-{number}": None for number in range(7)}
    assert len(store.children("part-3")) == len([n for n in names if n.startswith("part-3/")])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_forbidden_is_not_tried_again(s3, tmp_path, operation):  # noqa: F811
    url = s3.fresh()
    store = ObjectStore(url, BundleError)
    (tmp_path / "file").write_bytes(b"x")
    s3.faults.reset(lambda *_: 403)
    with pytest.raises(BundleError, match=rf"{url}.*cannot be .*AWS_ACCESS_KEY_ID"):
        OPERATIONS[operation](store, tmp_path / "file")
    assert len(s3.faults.seen) == 1


@pytest.mark.fault(76)
def test_what_does_not_exist_is_not_tried_again(s3, tmp_path):  # noqa: F811
    url = s3.fresh()
    store = ObjectStore(url)
    assert store.read_if_there("no") is None
    with pytest.raises(DataError, match=f"{url}/no: does not exist"):
        store.read("no")
    with pytest.raises(DataError, match=f"{url}/no: cannot be read: does not exist"):
        store.download("no", tmp_path / "file")
    assert len(s3.faults.seen) == 3 and not list(tmp_path.iterdir())


def test_a_bucket_that_does_not_exist_is_no_empty_folder(s3):  # noqa: F811
    for list_ in (ObjectStore.list, ObjectStore.children, lambda store: store.read_if_there("x")):
        with pytest.raises(DataError, match=r"s3://nobody-has-this.*bucket does not exist"):
            list_(ObjectStore("s3://nobody-has-this/x"))


def test_a_store_that_stays_down_is_given_up(s3, quick):  # noqa: F811
    s3.faults.reset(lambda *_: 503)
    with pytest.raises(DataError, match="after several attempts"):
        ObjectStore(s3.fresh()).read("x")
    assert len(s3.faults.seen) == ATTEMPTS


def test_an_endpoint_where_nobody_listens_is_named(s3, quick, monkeypatch):  # noqa: F811
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"s3://bucket/x: .*127\.0\.0\.1:9.*store up"):
        ObjectStore("s3://bucket/x").list()


def test_without_credentials_the_variables_are_named(s3, monkeypatch):  # noqa: F811
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(DataError, match="AWS_SECRET_ACCESS_KEY"):
        ObjectStore(s3.fresh()).list()


def test_an_object_that_grows_while_it_is_read_is_refused(s3, tmp_path):  # noqa: F811
    store = ObjectStore(s3.fresh())
    store.write("a", b"12345")
    with pytest.raises(DataError, match=r"/a: 5 bytes were read, 3 were listed"):
        store.download_all({"a": 3}, tmp_path)


def test_a_disk_that_is_too_small_is_said_before_anything_is_read(s3, tmp_path):  # noqa: F811
    store = ObjectStore(s3.fresh())
    with pytest.raises(DataError, match="TMPDIR"):
        store.download_all({"a": 1 << 60}, tmp_path)
    assert s3.faults.seen == []


def _read_in_child(store, queue):
    queue.put(store.read("a"))


def test_a_forked_child_reads_over_a_connection_of_its_own(s3):  # noqa: F811
    store, context = ObjectStore(s3.fresh()), multiprocessing.get_context("fork")
    store.write("a", b"one")
    queue = context.Queue()
    child = context.Process(target=_read_in_child, args=(store, queue))
    child.start()
    assert queue.get(timeout=300) == b"one"
    child.join(30)
    assert child.exitcode == 0 and store.read("a") == b"one"


def answered(status):
    """What s3fs makes of an answer whose code it does not know: an EIO, whatever the status."""
    error = OSError(5, "what the store said")
    error.__cause__ = ClientError(
        {"Error": {"Code": "Odd"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject"
    )
    return error


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (OSError(16, "Please reduce your request rate"), True),
        (FileNotFoundError(), False),
        (PermissionError(), False),
        (OSError(28, "No space left on device"), False),
        (ValueError(), False),
        (answered(400), False),
        (answered(501), False),
        (answered(409), True),
        (answered(503), True),
    ],
)
def test_which_errors_pass(error, passing):
    assert is_passing(error) is passing


def test_gcs_errors_name_its_own_variable():
    assert "GOOGLE_APPLICATION_CREDENTIALS" in reason_of(OSError("Forbidden: x"), "gs")
