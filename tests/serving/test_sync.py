"""`tessera sync`: only whole versions where a server looks, whatever is killed or broken."""

import multiprocessing
import os
import random
import signal
import time

import pytest

from cli.main import tessera
from components.bundle import mirrored, verify
from components.bundle.labels import change, cleared, promoted, rolled_back
from components.bundle.model_config import read_config
from components.bundle.model_status import ServerVersion
from core.errors import BundleError, ConfigError, PushError
from core.storage import ObjectStore
from serving.sync import INCOMING, opened
from tests.components.bundle_fixtures import looked_at, numeric_folders
from tests.components.store_fixtures import Stopped, memory_url, publish
from tests.object_store import s3, s3_server  # noqa: F401 - fixtures
from tests.serving import bundles
from tests.serving.conftest import until


@pytest.fixture
def url(tmp_path):
    place = memory_url()
    publish(tmp_path / "made", place, "one")
    return place


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "models"


def once(url, folder, **options):
    with opened(url, folder, **options) as keeper:
        return keeper.once()["demo"]


def relabel(url, update):
    with mirrored(url) as root:
        change(root / "demo", update)


def whole(folder):
    """Versions that a server would load now; each is proved whole."""
    found = [verify(path).version for path in looked_at(folder / "demo")]
    for number in numeric_folders(folder / "demo"):
        assert verify(folder / "demo" / str(number)).version == number
    return found


class Server:
    """A model server's word for each version: AVAILABLE, unless told otherwise."""

    def __init__(self, **states):
        self.states = {int(name[1:]): state for name, state in states.items()}

    def __call__(self, server, name, version):
        return ServerVersion(*self.states.get(version, ("AVAILABLE",)))


LOADING, FAILED = ("LOADING",), ("END", True, "no such op")


def test_a_fresh_folder_is_filled_and_configured(url, folder):
    assert once(url, folder).versions == (1,)
    assert whole(folder) == [1]
    text = (folder / "models.config").read_text()
    assert f'base_path: "{folder}/demo"' in text and "specific" in text
    assert not list((folder / INCOMING).iterdir())
    assert (folder / "demo/scann/1").resolve() == folder / "demo/1/retriever_scann"
    assert f'base_path: "{folder}/demo/scann"' in (folder / "models-scann.config").read_text()


def test_the_path_that_the_server_sees_is_written(url, folder):
    once(url, folder, base_path="/models/")
    assert 'base_path: "/models/demo"' in (folder / "models.config").read_text()
    with pytest.raises(ConfigError, match=r"s3://b/x.*tessera sync URL DIR"):
        once(url, folder, base_path="s3://b/x")
    with pytest.raises(ConfigError, match="not a URL"):
        once(str(folder), folder)


def test_a_new_version_arrives_and_old_ones_go(url, folder, tmp_path):
    with opened(url, folder) as keeper:
        for version, content in enumerate(("two", "three", "four"), start=2):
            publish(tmp_path / "made", url, content)
            assert keeper.once()["demo"].versions == (version,)
    assert numeric_folders(folder / "demo") == [3, 4] and whole(folder) == [4]


def test_nothing_is_read_twice(url, folder, monkeypatch):
    with opened(url, folder) as keeper:
        keeper.once()
        monkeypatch.setattr(ObjectStore, "download", None)
        keeper.once()


def test_labels_and_a_rollback_are_followed(url, folder, tmp_path):
    publish(tmp_path / "made", url, "two")
    with opened(url, folder) as keeper:
        relabel(url, lambda pins, found: promoted(pins, found, 1, "stable"))
        relabel(url, lambda pins, found: promoted(pins, found, 2, "canary"))
        assert keeper.once()["demo"].labels == {"stable": 1, "canary": 2}
        assert whole(folder) == [1, 2]
        relabel(url, lambda pins, found: rolled_back(pins, found, None))
        assert keeper.once()["demo"].labels == {"stable": 1} and whole(folder) == [1]
        relabel(url, lambda pins, _: cleared(pins, None))
        assert keeper.once()["demo"].labels == {} and whole(folder) == [2]


def test_a_label_moves_when_the_server_has_the_version(url, folder, tmp_path):
    """TensorFlow Serving refuses the whole configuration otherwise."""
    publish(tmp_path / "made", url, "two")
    relabel(url, lambda pins, found: promoted(pins, found, 1, "stable"))
    once(url, folder)
    relabel(url, lambda pins, found: promoted(pins, found, 2, "stable"))
    server = Server(v2=LOADING)
    with opened(url, folder, server="here:1") as keeper:
        keeper._status = server
        for _ in range(2):
            now = keeper.once()["demo"]
            assert (now.versions, now.labels) == ((1, 2), {"stable": 1})
        server.states.clear()
        now = keeper.once()["demo"]
        assert (now.versions, now.labels) == ((2,), {"stable": 2})
        # Back again: 1 is still on the disk, but the server has dropped it.
        relabel(url, lambda pins, found: rolled_back(pins, found, 1))
        server.states[1] = LOADING
        assert keeper.once()["demo"].labels == {"stable": 2}
        server.states.clear()
        assert keeper.once()["demo"].labels == {"stable": 1}


def test_a_version_that_does_not_load_leaves_the_old_one(url, folder, tmp_path):
    once(url, folder)
    publish(tmp_path / "made", url, "two")
    server = Server(v2=LOADING)
    with opened(url, folder, server="here:1") as keeper:
        keeper._status = server
        assert keeper.once()["demo"].versions == (1, 2)
        server.states[2] = FAILED
        for _ in range(3):
            assert keeper.once()["demo"].versions == (1,)
        assert whole(folder) == [1]
        publish(tmp_path / "made", url, "three")
        assert keeper.once()["demo"].versions == (3,)


@pytest.mark.parametrize("damage", ["replaced", "gone", "added"])
def test_a_damaged_version_of_the_store_is_left(url, folder, tmp_path, damage, caplog):
    once(url, folder)
    publish(tmp_path / "made", url, "two")
    store = ObjectStore(url)
    if damage == "gone":
        store.delete(["demo/2/items.parquet"])
    else:
        store.write(f"demo/2/{'items.parquet' if damage == 'replaced' else 'more'}", b"damaged")
    assert once(url, folder).versions == (1,)
    assert numeric_folders(folder / "demo") == [1]
    assert f"{url}/demo/2" in caplog.text and INCOMING not in caplog.text


def test_a_fresh_folder_takes_the_newest_whole_version(url, folder, tmp_path):
    for content in ("two", "three"):
        publish(tmp_path / "made", url, content)
    ObjectStore(url).write("demo/3/items.parquet", b"damaged")
    assert once(url, folder).versions == (2,)


def test_a_store_that_does_not_answer_changes_nothing(url, folder, monkeypatch):
    with opened(url, folder) as keeper:
        keeper.once()
        before = (folder / "models.config").read_text()

        def broken(*_):
            raise BundleError("the store is away")

        with monkeypatch.context() as patch, pytest.raises(BundleError, match="away"):
            patch.setattr(ObjectStore, "list", broken)
            keeper.once()
        ObjectStore(url).delete(["demo/1/saved_model.pb", "demo/1/manifest.json"])
        assert keeper.once()["demo"].versions == (1,)
    assert (folder / "models.config").read_text() == before and whole(folder) == [1]


def test_what_is_damaged_on_the_disk_is_fetched_anew(url, folder):
    once(url, folder)
    (folder / "demo/1/items.parquet").write_bytes(b"damaged")
    assert once(url, folder).versions == (1,)
    assert whole(folder) == [1]


def test_two_do_not_share_a_folder(url, folder, monkeypatch):
    monkeypatch.setattr("components.bundle.lock.time.sleep", lambda _: None)
    monkeypatch.setattr("serving.sync._WAIT_S", 0.0)
    with opened(url, folder), pytest.raises(PushError, match="another process"):
        once(url, folder)


@pytest.mark.nightly
def test_stopped_anywhere_no_server_sees_a_torn_version(url, folder, tmp_path, monkeypatch):
    """Before every download, rename, removal and configuration, of an update with a removal."""
    for content in ("two", "three"):
        once(url, folder)
        publish(tmp_path / "made", url, content)
    step, served = 0, set()
    while True:
        place, count = tmp_path / f"copy-{step}", [0]
        shutil_copy(folder, place)
        with monkeypatch.context() as patch:
            for owner, name in ((ObjectStore, "download"), (os, "rename"), (os, "replace")):
                patch.setattr(owner, name, _stopping(getattr(owner, name), count, step))
            patch.setattr("core.storage._PARALLEL", 1)
            try:
                once(url, place, keep=0)
                stopped = False
            except Stopped:
                stopped = True
        served.add(tuple(whole(place)))
        assert once(url, place, keep=0).versions == (3,)
        assert whole(place) == [3] == numeric_folders(place / "demo")
        if not stopped:
            break
        step += 1
    assert step > 15 and served == {(2,), (3,)}


def shutil_copy(source, target):
    import shutil

    shutil.copytree(source, target, symlinks=True)


def _stopping(real, count, step):
    def call(*args, **kwargs):
        count[0] += 1
        if count[0] > step:
            raise Stopped
        return real(*args, **kwargs)

    return call


def _sync_for_ever(url, folder):
    with opened(url, folder, keep=0) as keeper:
        while True:
            keeper.once()


def _killed_again_and_again(url, folder, made, rounds, longest_s):
    """Real processes and SIGKILL, while versions are published and served ones change."""
    chance, context = random.Random(7), multiprocessing.get_context("fork")
    for round_ in range(rounds):
        publish(made, url, f"content-{round_ % 4}-{round_}")
        child = context.Process(target=_sync_for_ever, args=(url, folder))
        child.start()
        time.sleep(chance.uniform(0.0, longest_s))
        os.kill(child.pid, signal.SIGKILL)
        child.join(30)
        whole(folder)
    assert once(url, folder).versions == (rounds + 1,)
    assert whole(folder) == [rounds + 1]


def test_killed_at_any_moment_no_server_sees_a_torn_version(url, folder, tmp_path):
    _killed_again_and_again(url, folder, tmp_path / "made", rounds=12, longest_s=0.12)


@pytest.mark.nightly
def test_killed_while_it_reads_from_s3_no_server_sees_a_torn_version(folder, tmp_path, s3):  # noqa: F811
    url = s3.fresh()
    publish(tmp_path / "made", url, "one")
    _killed_again_and_again(url, folder, tmp_path / "made", rounds=6, longest_s=1.0)


def test_a_half_written_folder_of_a_number_is_what_a_server_loads(store, model_dir, start):
    """Why nothing may ever grow under its number: by TensorFlow Serving's rules it is taken."""
    bundles.place(store[1], model_dir)
    server = start(model_dir, load_tries=2)
    half = model_dir / "2"
    half.mkdir()
    until(lambda: any(s.version == 2 and s.message for s in server.engine.status()))
    assert looked_at(model_dir) == []  # no configuration, no model
    (model_dir.parent / "models.config").write_text(
        'model_config_list { config { name: "demo" base_path: "/x/demo" } }'
    )
    assert looked_at(model_dir) == [half]
    (model_dir.parent / "models.config").write_text(
        'model_config_list { config { name: "demo" base_path: "/x/demo" '
        "model_version_policy { specific { versions: 1 } } } }"
    )
    assert looked_at(model_dir) == [model_dir / "1"]
    assert read_config(model_dir.parent)["demo"].versions == (1,)


def test_a_running_server_follows_the_store(store, tmp_path, start):
    """From a fresh folder over a new version and a label to a rollback, on the stand-in."""
    url, folder = memory_url(), tmp_path / "models"
    remote = ObjectStore(url)

    def deliver(version):
        for path in sorted(store[version].rglob("*")):
            if path.is_file():
                remote.upload(path, f"demo/{version}/{path.relative_to(store[version])}")

    deliver(1)
    once(url, folder)
    server = start(folder / "demo")
    address = f"127.0.0.1:{server.port}"

    def available():
        return [s.version for s in server.engine.status() if s.state.name == "AVAILABLE"]

    assert available() == [1]
    with opened(url, folder, server=address) as keeper:

        def settled(versions, labels):
            keeper.once()
            return available() == versions and server.engine.labels() == labels

        deliver(2)
        until(lambda: settled([2], {}))
        relabel(url, lambda pins, found: promoted(pins, found, 1, "old"))
        until(lambda: settled([2, 1], {"old": 1, "stable": 2}))
        relabel(url, lambda pins, found: rolled_back(pins, found, None))
        until(lambda: settled([1], {"old": 1, "stable": 1}))


def test_the_command_fills_once_and_says_what_is_wrong(url, folder):
    from click.testing import CliRunner

    done = CliRunner().invoke(tessera, ["sync", url, str(folder), "--once"])
    assert done.exit_code == 0 and done.output.strip().endswith("demo: 1")
    empty = memory_url()
    ObjectStore(empty).write("x", b"")
    failed = CliRunner().invoke(tessera, ["sync", empty, str(folder) + "-2", "--once"])
    assert failed.exit_code != 0 and "nothing that can be served" in str(failed.exception)
