"""What the page keeps of each version."""

import pyarrow as pa
import pyarrow.parquet as pq

from components.bundle.manifest import Manifest
from components.bundle.verify import VerifiedBundle
from serving.page.shelf import Shelf
from tests.serving.page_world import write_tables


def version(root, number, items, refreshed_from=None):
    """A version that holds no more than a shelf reads."""
    folder = root / str(number)
    folder.mkdir()
    table = pa.table({"item_id": list(items), "topics": list(items.values())})
    pq.write_table(table, folder / "items.parquet")
    manifest = Manifest(
        name="page",
        version=number,
        created_at="",
        tessera_version="",
        content_digest="",
        data_root=str(root / "tables"),
        data_fingerprint="of the training",
        refreshed_from=refreshed_from,
        files={},
    )
    return VerifiedBundle(folder, manifest)


def test_a_refreshed_version_shows_the_titles_of_its_new_items(tmp_path):
    shelf, items, titles = Shelf(), {"a": ["x"], "b": ["x"]}, {"a": "First", "b": "Second"}
    write_tables(tmp_path / "tables", items, titles)
    trained = version(tmp_path, 1, items)
    assert shelf.volume(trained).catalogue.facts(list(items)).titles == titles
    items, titles = {**items, "new": ["x"]}, {**titles, "new": "Third"}
    write_tables(tmp_path / "tables", items, titles)
    refreshed = version(tmp_path, 2, items, refreshed_from=1)
    assert shelf.volume(refreshed).catalogue.facts(list(items)).titles == titles
