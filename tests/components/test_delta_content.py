"""A version made of another one's files: whole or not at all, and nothing large is copied."""

import dataclasses
import errno
import os

import pytest

from components.bundle import list_versions, mirrored, verify
from components.bundle.manifest import DeltaFields, read_manifest
from components.bundle.mirror import complete
from components.pusher import staging
from components.pusher.push import ManifestFields, PushRequest, push
from components.refresh.delta.content import delta_content
from core.errors import BundleError
from core.storage import ObjectStore
from tests.components.bundle_fixtures import make_request, write_tree
from tests.components.killed import killed_before
from tests.components.store_fixtures import (
    Stopped,
    memory_keys,
    memory_url,
    publish,
    stop_before,
    visible,
)

OWN = {"assets/delta": b"new items", "delta_items.parquet": b"items"}


def delta_request(version_dir, root, serving_dir, **config) -> PushRequest:
    """What a delta of a published version is published with."""
    own = write_tree(root / "own", OWN)
    manifest = read_manifest(version_dir)
    content = delta_content(version_dir, manifest, {name: own / name for name in OWN})
    fields = ManifestFields(
        refreshed_from=manifest.version,
        model_version=manifest.version,
        delta=DeltaFields(base_version=manifest.version, added=2),
    )
    request = make_request(root, **config)
    return dataclasses.replace(
        request,
        index_dir=version_dir,
        evaluation_dir=version_dir,
        serving_dir=serving_dir,
        fields=fields,
        content=content,
    )


def inodes(folder):
    return {p.relative_to(folder).as_posix(): p.stat().st_ino for p in folder.rglob("*.*")}


def test_unchanged_files_are_links_and_the_version_is_whole(tmp_path):
    first = push(make_request(tmp_path), blessed=True).destination
    done = push(delta_request(first, tmp_path, tmp_path / "serving"), blessed=True)
    manifest = verify(done.destination)
    assert (done.version, manifest.delta.base_version, manifest.delta.added) == (2, 1, 2)
    before, after = inodes(first), inodes(done.destination)
    shared = {name for name in after if after[name] == before.get(name)}
    assert shared == before.keys() - {"manifest.json", "model_card.md"}
    assert (done.destination / "assets" / "delta").read_bytes() == OWN["assets/delta"]
    # The first version goes; what it shares stays.
    push(make_request(tmp_path, "three", keep_versions=2), blessed=True)
    assert [each.version for each in list_versions(tmp_path / "serving" / "demo")] == [2, 3]
    verify(done.destination)


def test_the_same_delta_is_published_once(tmp_path):
    first = push(make_request(tmp_path), blessed=True).destination
    second = push(delta_request(first, tmp_path, tmp_path / "serving"), blessed=True)
    again = push(delta_request(second.destination, tmp_path, tmp_path / "serving"), blessed=True)
    assert (again.version, "nothing to publish" in again.reason) == (2, True)


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EMLINK])
def test_where_files_cannot_be_linked_they_are_copied(tmp_path, monkeypatch, error):
    def refuse(source, target):
        raise OSError(error, os.strerror(error))

    first = push(make_request(tmp_path), blessed=True).destination
    monkeypatch.setattr(staging.os, "link", refuse)
    done = push(delta_request(first, tmp_path, tmp_path / "serving"), blessed=True)
    assert verify(done.destination).version == 2
    assert not set(inodes(first).values()) & set(inodes(done.destination).values())


@pytest.mark.parametrize("damage", ["remove", "cut"])
def test_a_damaged_version_is_no_base(tmp_path, damage):
    first = push(make_request(tmp_path), blessed=True).destination
    path = first / "items.parquet"
    path.unlink() if damage == "remove" else path.write_bytes(b"x" * 99)
    with pytest.raises(BundleError, match=r"items\.parquet: missing or changed; version 1"):
        delta_request(first, tmp_path, tmp_path / "serving")


@pytest.mark.nightly
@pytest.mark.parametrize("publish_mode", ["rename", "ordered"])
def test_killed_before_any_write_nothing_incomplete_is_seen(tmp_path, publish_mode):
    first = push(make_request(tmp_path, publish=publish_mode), blessed=True).destination
    serving = tmp_path / "serving"
    write, seen = 0, set()
    while True:
        request = delta_request(first, tmp_path, serving, publish=publish_mode)
        killed = killed_before(write, serving, lambda given=request: push(given, blessed=True))
        versions = [each.version for each in list_versions(serving / "demo")]
        assert versions[0] == 1 and len(versions) <= 2
        for version in versions:
            verify(serving / "demo" / str(version))
        seen.add(len(versions))
        if not killed or len(versions) == 2:
            break
        write += 1
    assert write > 5 and seen == {1, 2}
    again = push(delta_request(first, tmp_path, serving), blessed=True)
    assert again.version == versions[-1]


def test_in_a_store_unchanged_files_are_copied_there_and_nothing_half_is_seen(
    tmp_path, monkeypatch
):
    write, upload = 0, ObjectStore.upload
    uploaded = []

    def counted(self, source, name):
        uploaded.append(name)
        upload(self, source, name)

    while True:
        url = memory_url()
        publish(tmp_path, url)
        uploaded.clear()
        with mirrored(url) as root, monkeypatch.context() as patch:
            version_dir = root / "demo" / "1"
            complete(version_dir)
            request = delta_request(version_dir, tmp_path, url)
            patch.setattr(ObjectStore, "upload", counted)
            stop_before(patch, write)
            try:
                push(request, blessed=True)
                stopped = False
            except Stopped:
                stopped = True
        left = visible(memory_keys(url))
        assert left in ([1], [1, 2])
        if not stopped:
            break
        write += 1
    assert left == [1, 2] and write > 8
    assert sorted(uploaded) == [f"2/{name}" for name in sorted([*OWN, "model_card.md"])]
