"""Names inside the `bundle` artifact of a BundleSource."""

from __future__ import annotations

#: The published bundle's own files, under their own names.
MANIFEST_FILE = "manifest.json"
ITEMS_FILE = "items.parquet"
INDEX_FILE = "index.json"
REQUESTS_FILE = "requests.parquet"
KEPT_FILES = (MANIFEST_FILE, ITEMS_FILE, INDEX_FILE, REQUESTS_FILE)
#: Where the bundle lies and which version it is.
SOURCE_FILE = "source.json"
