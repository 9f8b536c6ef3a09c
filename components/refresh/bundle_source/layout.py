"""Names inside the `bundle` artifact of a BundleSource."""

from __future__ import annotations

from components.bundle.manifest import MANIFEST_NAME
from components.index_builder.layout import INDEX_FILE, ITEMS_FILE
from components.serving_validator.layout import REQUESTS_FILE

#: The published bundle's own files, under their own names.
KEPT_FILES = (MANIFEST_NAME, ITEMS_FILE, INDEX_FILE, REQUESTS_FILE)
#: Where the bundle lies and which version it is.
SOURCE_FILE = "source.json"
