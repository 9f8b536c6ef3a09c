"""`tessera serve` on a URL: what is served is downloaded whole, and follows the store."""

from dataclasses import replace

import pytest

from components.bundle.pins import Pins
from components.pusher.push import push
from core.errors import BundleError
from serving.server.source import RemoteModel
from tests.components.bundle_fixtures import make_request
from tests.object_store import s3, s3_server  # noqa: F401


@pytest.fixture
def publish(s3, tmp_path):  # noqa: F811
    url = s3.fresh()

    def call(content):
        request = replace(make_request(tmp_path, content), serving_dir=url)
        return push(request, blessed=True).version

    return url, call


def cache(tmp_path, name="cache"):
    (tmp_path / name).mkdir()
    return tmp_path / name


def test_the_newest_version_is_downloaded_and_the_next_one_followed(publish, tmp_path):
    url, push_one = publish
    push_one("one")
    source = RemoteModel(url, None, cache(tmp_path))
    assert source.name == "demo"
    (folder,) = source.aspired().folders.values()
    assert (folder / "saved_model.pb").stat().st_size > 0
    push_one("two")
    assert list(source.aspired().folders) == [2]


def test_labels_choose_and_a_version_can_be_named(publish, s3, tmp_path):  # noqa: F811
    url, push_one = publish
    for content in ("one", "two"):
        push_one(content)
    s3.put(f"{url}/demo/pins.json", Pins(labels={"stable": 1}).model_dump_json().encode())
    source = RemoteModel(url, "demo", cache(tmp_path))
    assert source.aspired().labels == {"stable": 1}
    assert list(source.aspired().folders) == [1]
    one = RemoteModel(f"{url}/demo/2", None, cache(tmp_path, "other"))
    assert list(one.aspired().folders) == [2]
    assert one.aspired().labels == {}


def test_a_damaged_version_is_an_error_and_nothing_of_it_is_served(publish, s3, tmp_path):  # noqa: F811
    url, push_one = publish
    push_one("one")
    source = RemoteModel(url, "demo", cache(tmp_path))
    push_one("two")
    s3.put(f"{url}/demo/2/saved_model.pb", b"torn")
    with pytest.raises(BundleError):
        source.aspired()


def test_where_nothing_is_published_it_is_said(s3, tmp_path):  # noqa: F811
    with pytest.raises(BundleError, match="nothing"):
        RemoteModel(s3.fresh(), None, cache(tmp_path))
