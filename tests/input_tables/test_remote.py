"""Tables in an object store: the window and nothing else, and every name is a URL."""

import datetime as dt
import json
import logging
import os
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError
from core.storage import ObjectStore
from input_tables.catalogue import find_items
from input_tables.checking import check_tables
from input_tables.config import DataConfig
from input_tables.layout import find_tables, fingerprint
from input_tables.remote import local_tables
from tests.input_tables.tiny import HEADERS, csv_bytes, table_bytes, write_single, write_spans
from tests.object_store import s3, s3_server  # noqa: F401 - fixtures

logging.getLogger("werkzeug").setLevel(logging.ERROR)
DAYS = [f"2024-06-{day:02d}" for day in range(25, 31)]


def config(root, run_date="2024-06-30", window_days=3, **values):
    day = dt.date.fromisoformat(run_date) if run_date else None
    return DataConfig(root=str(root), run_date=day, window_days=window_days, **values)


def names(found):
    return sorted(Path(file.path).relative_to(found).as_posix() for file in found)


def files_of(root):
    return sorted(p.relative_to(root).as_posix() for p in Path(root).rglob("*") if p.is_file())


def memory(folder):
    """Uploads a local folder; returns its URL."""
    store = ObjectStore(f"memory://tables-{uuid.uuid4().hex[:8]}")
    for name in files_of(folder):
        store.write(name, (folder / name).read_bytes())
    return store.url


def test_the_window_is_copied_and_nothing_else(tmp_path, s3):  # noqa: F811
    write_spans(tmp_path, DAYS, "2024-06-30")
    write_spans(tmp_path, [], "2024-06-29")
    url = s3.put_tree(tmp_path, s3.fresh())
    s3.faults.reset()
    with local_tables(config(url)) as data:
        assert files_of(data.root) == [
            "engagements/span=2024-06-28/part-0.csv",
            "engagements/span=2024-06-29/part-0.csv",
            "engagements/span=2024-06-30/part-0.csv",
            "follows/span=2024-06-30/part-0.csv",
            "items/span=2024-06-30/part-0.csv",
        ]
        found = find_tables(data)
        assert found.root == url
        for file in found.files:
            inner = file.path.removeprefix(data.root + "/")
            assert file.name == f"{url}/{inner}"
            assert Path(file.path).read_bytes() == (tmp_path / inner).read_bytes()
            assert file.bytes == (tmp_path / inner).stat().st_size
        assert fingerprint(found) == fingerprint(find_tables(config(tmp_path)))
    assert not Path(data.root).exists()
    assert len([1 for method, path in s3.faults.seen if path.endswith(".csv")]) == 5
    assert {method for method, _ in s3.faults.seen} == {"GET"}


def test_items_alone_are_copied_for_those_who_need_no_more(tmp_path):
    url = memory(write_spans(tmp_path, DAYS, "2024-06-30"))
    with local_tables(config(url), items_only=True) as data:
        assert files_of(data.root) == ["items/span=2024-06-30/part-0.csv"]
        assert [f.name for f in find_items(data).files] == [
            f"{url}/items/span=2024-06-30/part-0.csv"
        ]


def test_single_files_are_copied(tmp_path, s3):  # noqa: F811
    write_single(tmp_path)
    (tmp_path / "notes.txt").write_text("not a table")
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth/interests.csv").write_text("secret")
    url = s3.put_tree(tmp_path, s3.fresh())
    with local_tables(config(url, run_date=None)) as data:
        assert files_of(data.root) == ["engagements.csv", "follows.csv", "items.csv"]
        assert find_tables(data).layout == "single"


def test_a_local_root_is_left_as_it_is(tmp_path):
    given = config(tmp_path)
    with local_tables(given) as data:
        assert data is given


def test_the_copy_lies_in_tmpdir_and_goes_with_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    url = memory(write_single(tmp_path / "tables"))
    with pytest.raises(ZeroDivisionError), local_tables(config(url)) as data:
        assert Path(data.root).parent == tmp_path / "tmp"
        raise ZeroDivisionError
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_missing_span_names_the_url_and_no_other_day_is_read(tmp_path, s3):  # noqa: F811
    write_spans(tmp_path, [d for d in DAYS if d != "2024-06-29"], "2024-06-30")
    url = s3.put_tree(tmp_path, s3.fresh())
    s3.faults.reset()
    with pytest.raises(DataError) as caught, local_tables(config(url)):
        pytest.fail("another day was used")
    assert f"span 2024-06-29 of engagements is missing: {url}/engagements/span=2024-06-29" in str(
        caught.value
    )
    assert os.environ.get("TMPDIR", "/tmp") + "/tessera" not in str(caught.value)
    assert not [path for _, path in s3.faults.seen if path.endswith(".csv")]


@pytest.mark.parametrize("table", ["items", "follows"])
def test_a_missing_snapshot_is_not_replaced_by_that_of_another_day(tmp_path, table):
    write_spans(tmp_path, DAYS, "2024-06-30")
    (tmp_path / table / "span=2024-06-30").rename(tmp_path / table / "span=2024-06-29")
    url = memory(tmp_path)
    with (
        pytest.raises(DataError, match=f"{url}/{table}/span=2024-06-30"),
        local_tables(config(url)),
    ):
        pytest.fail("another day was used")


SPANS = st.sets(st.integers(0, 8), max_size=9)


@given(SPANS, st.integers(0, 8), st.integers(1, 4), st.booleans(), st.booleans())
def test_a_url_gives_what_a_folder_gives(tmp_path_factory, present, last, days, items, layout):
    """The same files and fingerprint, or the same words with the URL in them."""
    root = tmp_path_factory.mktemp("tables")
    write_spans(root, [f"2024-06-{d + 1:02d}" for d in present], "2024-06-01")
    if items:
        write_spans(root, [], f"2024-06-{last + 1:02d}")
    url = memory(root)
    values = {"run_date": f"2024-06-{last + 1:02d}", "window_days": days}
    values |= {"layout": "spans"} if layout else {}

    def outcome(place):
        try:
            with local_tables(config(place, **values)) as data:
                found = find_tables(data)
                inner = [f.name.removeprefix(f"{place}/") for f in found.files]
                return inner, fingerprint(found), found.window
        except DataError as error:
            return str(error).replace(str(place), "ROOT")

    assert outcome(url) == outcome(root)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: None, "no tables found"),
        (lambda root: write_single(root), "holds both single files and span= folders"),
        (lambda root: (root / "engagements/span=2024-06-30/a.txt").write_text(""), "not a .csv"),
        (lambda root: (root / "items/span=2024-06-30/part-0.csv.gz").write_text(""), "same part"),
    ],
)
def test_what_a_folder_refuses_a_url_refuses_under_its_own_name(tmp_path, prepare, message):
    root = tmp_path / "tables"
    root.mkdir()
    if message != "no tables found":
        write_spans(root, DAYS, "2024-06-30")
    prepare(root)
    url = memory(root)
    with pytest.raises(DataError, match=f"{url}.*{message}"), local_tables(config(url)):
        pytest.fail("was accepted")


def test_a_file_that_is_still_being_written_is_refused(tmp_path, monkeypatch):
    url = memory(write_single(tmp_path))
    real = ObjectStore.download

    def grown(self, name, target):
        self.write(name, table_bytes("items") * 2)
        real(self, name, target)

    monkeypatch.setattr(ObjectStore, "download", grown)
    refused = pytest.raises(DataError, match=f"{url}/.*were listed; it is being written")
    with refused, local_tables(config(url, run_date=None)):
        pytest.fail("was accepted")


def test_bad_rows_and_bad_headers_name_the_url(tmp_path):
    write_single(tmp_path)
    rows = [["u1", "i1", "x", "click"], ["u2", "i2", "200", "save"]]
    (tmp_path / "engagements.csv").write_bytes(csv_bytes(HEADERS["engagements"], rows))
    url = memory(tmp_path)
    with local_tables(config(url, run_date=None)) as data:
        result = check_tables(data)
    assert result["problems"][0]["file"] == f"{url}/engagements.csv"
    assert "/tmp" not in json.dumps(result)

    (tmp_path / "items.csv").write_text("id,topics\ni1,a\n")
    url = memory(tmp_path)
    with pytest.raises(DataError) as caught, local_tables(config(url, run_date=None)) as data:
        check_tables(data)
    assert f"{url}/items.csv:1" in str(caught.value) and "/tmp" not in str(caught.value)
