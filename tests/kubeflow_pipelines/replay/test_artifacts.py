"""Artifacts in a real object store and in a folder that stands for one."""

import pytest

from core.errors import ConfigError
from kubeflow_pipelines.replay.artifacts import ArtifactStore
from kubeflow_pipelines.replay.launcher import retry_pauses, retry_window
from kubeflow_pipelines.replay.run import RunFolders, run_spec
from tests.kubeflow_pipelines.replay.toy import toy_spec
from tests.object_store import running_s3, s3, s3_server  # noqa: F401


@pytest.fixture(scope="module")
def server():
    with running_s3() as found:
        yield found


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path):
    if request.param == "folder":
        return ArtifactStore(tmp_path / "objects"), "minio://bucket/root/x"
    return ArtifactStore(None), request.getfixturevalue("server").fresh()


def _tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_comes_back_as_it_was(place, tmp_path):
    store, uri = place
    source = tmp_path / "source"
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "c.txt").write_bytes(b"x" * 1000)
    (source / "empty").write_bytes(b"")
    assert store.upload(source, uri) == 2
    assert store.download(uri, tmp_path / "back") == 2
    assert _tree(tmp_path / "back") == _tree(source)


def test_a_file_comes_back_as_a_file(place, tmp_path):
    store, uri = place
    (tmp_path / "report.html").write_text("<html>")
    assert store.upload(tmp_path / "report.html", uri) == 1
    assert store.download(uri, tmp_path / "back" / "report") == 1
    assert (tmp_path / "back" / "report").read_text() == "<html>"


def test_only_what_lies_below_the_uri_comes(place, tmp_path):
    store, uri = place
    for name in ("one", "one-more"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(name)
        store.upload(tmp_path / name, f"{uri}/{name}")
    store.download(f"{uri}/one", tmp_path / "back")
    assert list(_tree(tmp_path / "back")) == ["one.txt"]


def test_an_upload_replaces_all_of_the_one_before(place, tmp_path):
    store, uri = place
    source = tmp_path / "source"
    source.mkdir()
    (source / "old").write_text("1")
    store.upload(source, uri)
    (source / "old").rename(source / "new")
    store.upload(source, uri)
    store.download(uri, tmp_path / "back")
    assert list(_tree(tmp_path / "back")) == ["new"]


def test_a_whole_toy_pipeline_in_a_bucket(s3, tmp_path, monkeypatch):  # noqa: F811
    told = tmp_path / "told"
    told.mkdir()
    monkeypatch.setenv("TOY_STATE", str(told))
    root = s3.fresh()
    places = RunFolders(work_dir=tmp_path / "w", pipeline_root=root)
    record = run_spec(toy_spec(), {"run_date": "2026-01-02"}, places)
    assert record.state == "SUCCEEDED"
    made = s3.keys(root)
    base = record.tasks["Last"].artifacts["made"]["uri"].removeprefix(f"{root}/")
    assert made[f"{base}/part/words.txt"] == b"start 2026-01-02 end"
    assert not (tmp_path / "w" / "objects").exists()


@pytest.mark.fault(76)
def test_a_busy_store_is_asked_again(s3, tmp_path):  # noqa: F811
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("x")
    left = [2]

    def busy(method, path):
        if method == "PUT" and left[0]:
            left[0] -= 1
            return 503
        return None

    s3.faults.reset(busy)
    uri = s3.fresh()
    assert ArtifactStore(None).upload(tmp_path / "source", uri) == 1
    assert list(s3.keys(uri)) == ["file"]


def test_a_uri_without_a_key_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected SCHEME"):
        ArtifactStore(tmp_path).upload(tmp_path, "s3://bucket")


def test_pauses_grow():
    policy = {
        "maxRetryCount": 5,
        "backoffDuration": "30s",
        "backoffFactor": 2,
        "backoffMaxDuration": "100s",
    }
    assert retry_pauses(policy) == [30.0, 60.0, 120.0, 240.0, 480.0]
    assert retry_window(policy) == 100.0
    assert retry_pauses({}) == []
