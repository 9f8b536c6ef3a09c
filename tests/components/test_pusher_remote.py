"""Publishing to an object store: whole or not at all, one number each, whoever is killed."""

import datetime as dt
import json
import logging
import multiprocessing
import os
import signal
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.bundle import list_versions, mirrored, pushed_spans, read_pins
from components.bundle.labels import change, promoted
from components.bundle.reports import write_report_page
from components.pusher import push as push_module
from components.pusher.push import push
from components.pusher.remote import StoreTarget
from core.errors import BundleError, PushError
from core.storage import ObjectStore
from tests.components.bundle_fixtures import INDEX_FILES, WARM_FILES
from tests.components.store_fixtures import (
    Stopped,
    memory_keys,
    memory_url,
    publish,
    remote_request,
    stop_before,
    visible,
)
from tests.markers import nightly
from tests.object_store import (
    DROPPED,
    LOST,
    s3,  # noqa: F401 - fixture
    s3_server,  # noqa: F401 - fixture
)

NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.timezone.utc)
logging.getLogger("werkzeug").setLevel(logging.ERROR)


def at(hours):
    return lambda: NOON + dt.timedelta(hours=hours)


def label(url, version, name="stable"):
    with mirrored(url) as root:
        return change(root / "demo", lambda pins, found: promoted(pins, found, version, name))


def test_a_version_is_published_to_s3_with_every_file(tmp_path, s3):  # noqa: F811
    url = s3.fresh()
    result = publish(tmp_path, url, span="2025-01-10")
    assert (result.version, result.destination) == (1, f"{url}/demo/1")
    keys = s3.keys(url)
    assert visible(keys) == [1]
    assert keys["demo/1/saved_model.pb"] == b"stock graph-one"
    assert len([k for k in keys if k.startswith("demo/1/")]) == (
        len(INDEX_FILES) + len(WARM_FILES) + 3  # evaluation, model card, manifest
    )
    assert set(keys) - {k for k in keys if k.startswith("demo/1/")} == {
        "demo/claims/1.json",
        "demo/last_version.json",
        "models.config",
    }
    # TensorFlow Serving does not read S3: `tessera sync` writes the configuration it reads.
    assert "model_config_list {\n}" in keys["models.config"].decode()
    assert pushed_spans(url, "demo") == {dt.date(2025, 1, 10): 1}


def test_the_graph_is_written_last_and_the_manifest_before_it(tmp_path, s3):  # noqa: F811
    url = s3.fresh()
    publish(tmp_path, url)
    writes = [path for method, path in s3.faults.writes() if method == "PUT" and "/demo/" in path]
    assert writes[0].endswith("/demo/claims/1.json")
    assert writes[-1].endswith("/demo/1/saved_model.pb")
    assert writes[-2].endswith("/demo/1/manifest.json")
    assert len(set(writes)) == len(writes) - 1  # the claim is tried twice, see the module


def test_a_version_that_goes_loses_its_graph_first(tmp_path, s3):  # noqa: F811
    url = s3.fresh()
    for version, content in enumerate(("one", "two", "three"), 1):
        result = publish(tmp_path, url, content, keep_versions=2)
        write_report_page(url, "demo", version, "<html>")
    assert result.removed == (1,)
    assert {k for k in s3.keys(url) if "reports" in k} == {
        "demo/reports/2.html",
        "demo/reports/3.html",
    }
    deleted = [path for method, path in s3.faults.writes() if method == "DELETE"]
    deleted = [path for path in deleted if "/demo/1/" in path]
    assert deleted[0].endswith("/demo/1/saved_model.pb")
    assert visible(s3.keys(url)) == [2, 3]
    assert not [key for key in s3.keys(url) if key.startswith("demo/1/")]


def test_not_blessed_or_not_validated_leaves_the_bucket_byte_identical(tmp_path, s3):  # noqa: F811
    url = s3.fresh()
    publish(tmp_path, url)
    before = s3.keys(url)
    s3.faults.reset()
    request = remote_request(tmp_path, url, "two")
    assert not push(request, blessed=False).pushed
    assert not push(request, blessed=True, validated=False).pushed
    assert s3.faults.seen == [] and s3.keys(url) == before


def test_the_same_content_is_reported_and_nothing_is_written(tmp_path, s3):  # noqa: F811
    url = s3.fresh()
    publish(tmp_path, url, span="2025-01-10")
    s3.faults.reset()
    again = publish(tmp_path, url, span="2025-01-10", run_id="another")
    assert (again.pushed, again.version, again.destination) == (True, 1, f"{url}/demo/1")
    assert s3.faults.writes() == []


def test_the_same_content_over_a_damaged_version_is_published_anew(tmp_path):
    url = memory_url()
    publish(tmp_path, url)
    ObjectStore(url).write("demo/1/items.parquet", b"damaged")
    result = publish(tmp_path, url)
    assert result.version == 2 and "published" in result.reason


def test_an_older_day_is_refused_without_a_write(tmp_path):
    url = memory_url()
    publish(tmp_path, url, "one", span="2025-01-10")
    before = memory_keys(url)
    result = publish(tmp_path, url, "two", span="2025-01-09")
    assert not result.pushed and "later day" in result.reason
    assert memory_keys(url) == before


def test_stopped_before_any_write_no_reader_sees_a_half_version(tmp_path, monkeypatch):
    """Every prefix of the sequence of writes, a removal by retention included."""
    write, published = 0, 0
    while True:
        url = memory_url()
        for content in ("one", "two"):
            publish(tmp_path, url, content, keep_versions=2)
        with monkeypatch.context() as patch:
            stop_before(patch, write)
            try:
                publish(tmp_path, url, "three", keep_versions=2)
                stopped = False
            except Stopped:
                stopped = True
        left = visible(memory_keys(url))
        assert left in ([1, 2], [1, 2, 3], [2, 3])
        published += 3 in left
        claimed = "demo/claims/3.json" in memory_keys(url)  # never given again
        after = publish(tmp_path, url, "three", keep_versions=2)
        assert after.version == (4 if claimed and 3 not in left else 3)
        assert visible(memory_keys(url)) in ([2, 3], [1, 2, 3], [2, 4])
        if not stopped:
            break
        write += 1
    assert write > 25 and 0 < published < write


def test_what_a_stopped_push_left_is_removed_a_day_after_its_claim(tmp_path, monkeypatch):
    url = memory_url()
    publish(tmp_path, url, "one", now=at(0))
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_before(patch, 12)
        publish(tmp_path, url, "two", now=at(1))
    half = {k for k in memory_keys(url) if k.startswith("demo/2/")}
    assert half
    assert publish(tmp_path, url, "three", now=at(24)).version == 3
    assert half < memory_keys(url).keys()
    assert publish(tmp_path, url, "four", now=at(25.1)).version == 4
    assert not [k for k in memory_keys(url) if k.startswith("demo/2/")]
    assert visible(memory_keys(url)) == [1, 3, 4]


def test_a_removal_that_was_stopped_is_ended_later(tmp_path, monkeypatch):
    url = memory_url()
    for content in ("one", "two", "three"):
        publish(tmp_path, url, content, now=at(0))
    with mirrored(url) as root, monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_before(patch, 4)
        StoreTarget(f"{url}/demo", at(0)).remove(root / "demo/1")
    assert visible(memory_keys(url)) == [2, 3]
    assert [k for k in memory_keys(url) if k.startswith("demo/1/")]
    publish(tmp_path, url, "four", now=at(30))
    assert not [k for k in memory_keys(url) if k.startswith("demo/1/")]


def test_what_has_no_claim_is_never_removed(tmp_path):
    url = memory_url()
    ObjectStore(url).write("demo/7/notes.txt", b"somebody's")
    assert publish(tmp_path, url, now=at(1000)).version == 8
    assert memory_keys(url)["demo/7/notes.txt"] == b"somebody's"


def _push_and_die(root, url, write):
    done = [0]
    for name in ("write", "create", "copy", "upload"):
        real = getattr(ObjectStore, name)

        def dying(self, *args, real=real):
            done[0] += 1
            if done[0] > write:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, *args)

        setattr(ObjectStore, name, dying)
    publish(root, url, "two")


@pytest.mark.parametrize("write", [17, *nightly(1, 8, 16)])
def test_a_killed_process_leaves_no_version_and_blocks_nobody(tmp_path, s3, write):  # noqa: F811
    url = s3.fresh()
    publish(tmp_path, url)
    child = multiprocessing.get_context("fork").Process(
        target=_push_and_die, args=(tmp_path, url, write)
    )
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert visible(s3.keys(url)) == [1]
    assert publish(tmp_path, url, "two").version == 3
    assert visible(s3.keys(url)) == [1, 3]


def _push_in_process(root, url, content, barrier, queue):
    barrier.wait(30)
    result = publish(root, url, content, keep_versions=8)
    queue.put((content, result.version))


@pytest.mark.nightly
def test_eight_concurrent_pushers_get_a_folder_each(tmp_path, s3):  # noqa: F811
    url, context = s3.fresh(), multiprocessing.get_context("fork")
    contents = [f"content-{number}" for number in range(8)]
    barrier, queue = context.Barrier(len(contents)), context.Queue()
    children = [
        context.Process(target=_push_in_process, args=(tmp_path / c, url, c, barrier, queue))
        for c in contents
    ]
    for child in children:
        child.start()
    given_to = dict(queue.get(timeout=300) for _ in children)
    for child in children:
        child.join(30)
    keys = s3.keys(url)
    # Whoever has claimed a smaller number is not hindered by one who was faster.
    assert sorted(given_to.values()) == list(range(1, 9)) == visible(keys)
    for content, version in given_to.items():
        for name, value in keys.items():
            if name.startswith(f"demo/{version}/") and "variables" in name:
                assert value.endswith(f"-{content}".encode())


@pytest.mark.parametrize("what", [LOST, DROPPED])
def test_an_answer_that_is_lost_claims_no_second_number(tmp_path, s3, monkeypatch, what):  # noqa: F811
    monkeypatch.setattr("core.storage_errors.FIRST_WAIT_S", 0.01)
    url, lost = s3.fresh(), []

    def rule(method, path):
        if method != "PUT" or path in lost:
            return None
        lost.append(path)
        return what

    s3.faults.reset(rule)
    assert publish(tmp_path, url).version == 1
    s3.faults.reset()
    assert len(lost) > 15 and visible(s3.keys(url)) == [1]
    assert "demo/claims/2.json" not in s3.keys(url)


def _upload_a_large_file_and_die(path, url):
    import s3fs

    async def dying(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    s3fs.S3FileSystem._upload_file_part_concurrent = dying
    ObjectStore(url).upload(path, "large")


@pytest.mark.nightly
def test_a_killed_upload_in_parts_shows_nothing(tmp_path, s3):  # noqa: F811
    url, path = s3.fresh(), tmp_path / "large"
    path.write_bytes(b"x" * (110 << 20))
    child = multiprocessing.get_context("fork").Process(
        target=_upload_a_large_file_and_die, args=(path, url)
    )
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    store = ObjectStore(url)
    assert store.list() == {} == store.children()
    store.upload(path, "large")
    assert store.list() == {"large": 110 << 20}


@pytest.mark.nightly
def test_a_push_beside_many_other_objects(tmp_path, s3):  # noqa: F811
    url = s3.fresh()
    publish(tmp_path, url)
    s3.put_many(f"{url}/demo/kept", [f"{number:05d}" for number in range(20_000)])
    assert publish(tmp_path, url, "two").version == 2
    with mirrored(url) as root:
        assert [v.version for v in list_versions(root / "demo")] == [1, 2]


@given(st.integers(2, 6), st.integers(0, 40))
def test_a_number_is_claimed_once(pushers, last):
    url = memory_url()
    if last:
        ObjectStore(url).write(f"demo/claims/{last}.json", b"{}")
    targets = [StoreTarget(f"{url}/demo", at(0)) for _ in range(pushers)]
    claimed = [target.claim(1) for target in targets]
    assert claimed == list(range(last + 1, last + 1 + pushers))


def test_of_many_threads_one_creates_an_object_of_s3(s3):  # noqa: F811
    url = s3.fresh()
    for number in range(5):
        won, barrier = [], threading.Barrier(8)

        def create(me, number=number, won=won, barrier=barrier):
            barrier.wait(10)
            if ObjectStore(url).create(f"claims/{number}", str(me).encode()):
                won.append(me)

        threads = [threading.Thread(target=create, args=(me,)) for me in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert [str(me).encode() for me in won] == [s3.keys(url)[f"claims/{number}"]]


def test_a_store_that_can_not_create_exclusively_is_refused(tmp_path, monkeypatch):
    url = memory_url()

    def replacing(self, name, content):
        self.write(name, content)
        return True

    monkeypatch.setattr(ObjectStore, "create", replacing)
    with pytest.raises(PushError, match=r"claims/1\.json.*If-None-Match"):
        publish(tmp_path, url)
    assert visible(memory_keys(url)) == []


@pytest.mark.parametrize("name", ["items.parquet", "saved_model.pb", "2.pb"])
def test_what_is_read_back_differently_is_not_published(tmp_path, monkeypatch, name):
    url = memory_url()
    publish(tmp_path, url)
    real_upload, real_copy = ObjectStore.upload, ObjectStore.copy

    def upload(self, source, target):
        real_upload(self, source, target)
        if target.endswith(f"/{name}") and "retriever_scann" not in target:
            self.write(target, b"x" * source.stat().st_size)

    def copy(self, source, target):
        real_copy(self, source, target)
        if target.endswith(f"2/{name}"):
            self.write(target, b"cut")

    monkeypatch.setattr(ObjectStore, "upload", upload)
    monkeypatch.setattr(ObjectStore, "copy", copy)
    with pytest.raises(PushError, match=r"memory://.*read back.*no new version is visible"):
        publish(tmp_path, url, "two")
    assert visible(memory_keys(url)) == [1]
    assert not [k for k in memory_keys(url) if k.startswith("demo/2/")]
    assert "demo/claims/2.pb" not in memory_keys(url)


def test_what_somebody_removes_during_the_upload_keeps_the_version_hidden(tmp_path, monkeypatch):
    url, real = memory_url(), StoreTarget._require_all

    def removed(self, number, *args):
        ObjectStore(url).delete([f"demo/{number}/index.json"])
        real(self, number, *args)

    monkeypatch.setattr(StoreTarget, "_require_all", removed)
    with pytest.raises(PushError, match=r"demo/1/index\.json: was changed or removed"):
        publish(tmp_path, url)
    assert visible(memory_keys(url)) == []


def test_a_later_day_published_meanwhile_stops_an_older_one(tmp_path, monkeypatch):
    url, real = memory_url(), StoreTarget._require_all
    publish(tmp_path, url, "one", span="2025-01-08")

    def overtaken(self, *args):
        monkeypatch.setattr(StoreTarget, "_require_all", real)
        publish(tmp_path, url, "later", span="2025-01-10")
        real(self, *args)

    monkeypatch.setattr(StoreTarget, "_require_all", overtaken)
    with pytest.raises(PushError, match="later day"):
        publish(tmp_path, url, "two", span="2025-01-09")
    assert visible(memory_keys(url)) == [1, 3]


def test_503_twice_is_waited_out(tmp_path, s3, monkeypatch):  # noqa: F811
    monkeypatch.setattr("core.storage_errors.FIRST_WAIT_S", 0.01)
    url, refused = s3.fresh(), {}

    def rule(method, path):
        refused[method, path] = refused.get((method, path), 0) + 1
        graph = path.endswith(("/saved_model.pb", "/claims/1.json"))
        return 503 if graph and refused[method, path] <= 2 else None

    s3.faults.reset(rule)
    assert publish(tmp_path, url).version == 1
    s3.faults.reset()
    assert visible(s3.keys(url)) == [1]


def test_403_is_not_tried_again_and_names_the_url(tmp_path, s3):  # noqa: F811
    url = s3.fresh()
    publish(tmp_path, url)
    before = s3.keys(url)
    s3.faults.reset(lambda method, _: 403 if method == "PUT" else None)
    with pytest.raises(PushError, match=rf"{url}/demo.*claims/2\.json.*AWS_ACCESS_KEY_ID"):
        publish(tmp_path, url, "two")
    assert len([1 for method, _ in s3.faults.seen if method == "PUT"]) == 1
    s3.faults.reset()
    assert s3.keys(url) == before


def test_a_bucket_that_does_not_exist_is_named(tmp_path, s3):  # noqa: F811
    with pytest.raises(PushError, match=r"s3://nobody-has-this.*bucket does not exist"):
        publish(tmp_path, "s3://nobody-has-this/serving")


def test_retention_never_removes_what_is_labelled_or_pinned(tmp_path):
    url = memory_url()
    publish(tmp_path, url, "c1", keep_versions=2)
    label(url, 1)
    with mirrored(url) as root:
        publish(tmp_path, url, "c2", keep_versions=2)
        change(root / "demo", lambda pins, _: pins.with_pin(2))
    for content in ("c3", "c4", "c5"):
        publish(tmp_path, url, content, keep_versions=2)
    assert visible(memory_keys(url)) == [1, 2, 4, 5]


def test_a_label_set_while_a_push_works_is_respected(tmp_path, monkeypatch):
    url = memory_url()
    for content in ("one", "two"):
        publish(tmp_path, url, content, keep_versions=2)
    real = push_module.expired_versions

    def labelled_just_now(model_dir, keep):
        found = real(model_dir, keep)
        label(url, 1)
        return found

    monkeypatch.setattr(push_module, "expired_versions", labelled_just_now)
    result = publish(tmp_path, url, "three", keep_versions=2)
    assert result.version == 3 and result.removed == ()
    assert visible(memory_keys(url)) == [1, 2, 3]


def test_pins_that_somebody_else_changes_meanwhile_are_not_overwritten(tmp_path):
    url = memory_url()
    for content in ("one", "two"):
        publish(tmp_path, url, content)

    def slow(pins, found):
        label(url, 2)
        return promoted(pins, found, 1, "stable")

    with mirrored(url) as root, pytest.raises(BundleError, match=r"pins\.json: somebody else"):
        change(root / "demo", slow)
    assert json.loads(memory_keys(url)["demo/pins.json"])["labels"] == {"stable": 2}
    label(url, 1)
    with mirrored(url, "demo") as root:
        assert read_pins(root / "demo").labels == {"stable": 1}


def test_no_temporary_folder_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    url = memory_url()
    publish(tmp_path, url)

    def refused(*_):
        raise BundleError("no number")

    monkeypatch.setattr(StoreTarget, "claim", refused)
    with pytest.raises(PushError, match="no number"):
        publish(tmp_path, url, "two")
    assert list((tmp_path / "tmp").iterdir()) == []
