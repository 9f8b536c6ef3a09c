"""Tables in an object store: copied to a temporary folder, and only what the window needs.

The copy is looked at before a byte is downloaded: a missing span, two files of one table
or an unknown layout cost nothing. What is said about a file names its URL.
"""

from __future__ import annotations

import datetime as dt
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from core.errors import TesseraError
from core.progress import track
from core.storage import Entry, ObjectStore, is_remote
from input_tables.catalogue import find_items
from input_tables.config import CopiedData, DataConfig
from input_tables.contract import ENGAGEMENTS, ITEMS, Table, tables_with
from input_tables.layout import TableSet, find_tables
from input_tables.near_names import near_tables
from input_tables.spans import FORMATS, is_day

_LOG = logging.getLogger("tessera")
_SPAN = "span="
_FOLDER = Entry(None, "")


@contextmanager
def local_tables(
    config: DataConfig, items_only: bool = False, wanted: Sequence[str] = ()
) -> Iterator[DataConfig]:
    """Yields a configuration whose tables are local files; where they are so already, itself.

    The copy lies below TMPDIR and goes with the block. Errors that leave the block name
    the URL instead of the copy.

    Args:
      config: its `root` may be a URL.
      items_only: the items table is all that is needed.
      wanted: see `input_tables.layout.find_tables`.

    Raises:
      DataError: as `find_tables` or `find_items`; the store cannot be read, a file
        changed meanwhile, or the disk is too small.
    """
    if not is_remote(config.root):
        yield config
        return
    with outlined(config, items_only, wanted) as outline:
        root = Path(outline.copy.root)
        names = [Path(file.path).relative_to(root).as_posix() for file in outline.found.files]
        sizes = {name: outline.entries[name].size or 0 for name in names}
        _download(outline.store, sizes, root)
        yield outline.copy


class Outline(NamedTuple):
    """What lies under a URL, with empty files in place of the tables.

    Attributes:
      store: the objects below the URL.
      copy: names the folder of the empty files.
      found: those of the window.
      entries: the originals by name.
    """

    store: ObjectStore
    copy: CopiedData
    found: TableSet
    entries: dict[str, Entry]


@contextmanager
def outlined(
    config: DataConfig, items_only: bool = False, wanted: Sequence[str] = ()
) -> Iterator[Outline]:
    """Yields what lies under a URL without reading it; arguments, errors: `local_tables`."""
    store = ObjectStore(config.root)
    with tempfile.TemporaryDirectory(prefix="tessera-tables-") as folder:
        root = Path(folder).resolve()
        values = {key: getattr(config, key) for key in DataConfig.model_fields}
        copy = CopiedData(**values | {"root": str(root), "origin": store.url})
        try:
            entries = _outline(store, copy, (ITEMS,) if items_only else tables_with(wanted))
            found = find_items(copy) if items_only else find_tables(copy, wanted)
            warnings = tuple(text.replace(str(root), store.url) for text in found.warnings)
            found = found._replace(warnings=warnings)
            yield Outline(store, copy, found, entries)
        except TesseraError as error:
            error.args = (str(error).replace(str(root), store.url),)
            raise


def _outline(store: ObjectStore, copy: CopiedData, tables: Sequence[Table]) -> dict[str, Entry]:
    """Makes the folders and, empty, the files that the layout and the window decide about.

    Returns:
      The originals by name.
    """
    entries: dict[str, Entry] = {}
    top = store.entries()
    # A name that is nearly that of a table is more than a name that is not there.
    for name in near_tables(top):
        _make(Path(copy.root) / name, top[name])
    for table in tables:
        if copy.layout != "spans":
            for name in _singles(top, table):
                entries |= {name: top[name]} if top[name].size is not None else {}
                entries |= _parts(store, name) if top[name].size is None else {}
        if copy.layout != "single" and table in top:
            entries[table] = top[table]
            if top[table].size is None:
                first = table == tables[0]
                entries |= _spans(store, copy, table, tells_layout=first)
    for name, entry in entries.items():
        _make(Path(copy.root) / name, entry)
    return {name: entry for name, entry in entries.items() if entry.size is not None}


def _make(path: Path, entry: Entry) -> None:
    folder = path if entry.size is None else path.parent
    folder.mkdir(parents=True, exist_ok=True)
    if entry.size is not None:
        path.touch()


def _singles(top: Mapping[str, Entry], table: Table) -> list[str]:
    """Returns the names that may be the one-shot table, a file or a folder of parts."""
    wanted = {table, *(f"{table}{suffix}" for suffix in FORMATS)}
    return [name for name in top if name.startswith(table) and name.lower() in wanted]


def _parts(store: ObjectStore, folder: str) -> dict[str, Entry]:
    """Returns the files right in a folder, unless it is one of spans."""
    inside = store.entries(folder)
    if any(name.startswith(_SPAN) for name in inside):
        return {}
    return {f"{folder}/{name}": entry for name, entry in inside.items() if entry.size is not None}


def _spans(
    store: ObjectStore, copy: CopiedData, table: Table, tells_layout: bool
) -> dict[str, Entry]:
    """Returns what lies in the spans of the window, by name."""
    found: dict[str, Entry] = {}
    if tells_layout and copy.layout == "auto":
        # Any span that is there tells it, whether in the window or not.
        spans = [name for name in store.children(table) if name.startswith(_SPAN)]
        odd = [name for name in spans if not is_day(name.removeprefix(_SPAN))]
        found |= {f"{table}/{name}": _FOLDER for name in (*spans[:1], *odd)}
    for day in _days(copy, table):
        span = f"{table}/{_SPAN}{day.isoformat()}"
        inside = store.entries(span)
        if inside:
            found[span] = _FOLDER
            found |= {f"{span}/{name}": entry for name, entry in inside.items()}
    return found


def _days(copy: CopiedData, table: Table) -> list[dt.date]:
    if copy.run_date is None:
        return []
    days = copy.window_days if table == ENGAGEMENTS else 1
    return [copy.run_date - dt.timedelta(days=n) for n in range(days)]


def _download(store: ObjectStore, sizes: dict[str, int], root: Path) -> None:
    total = sum(sizes.values()) / 1e6
    _LOG.info("%s: copying %d files, %.1f MB, to %s", store.url, len(sizes), total, root)
    with track("copying tables", total=len(sizes)) as bar:
        store.download_all(sizes, root, bar.advance)
