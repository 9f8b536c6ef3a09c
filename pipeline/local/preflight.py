"""What can be refused from the tables alone, before TensorFlow is imported."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from components.user_ids import required_key
from core.errors import ConfigError, DataError
from core.storage import is_remote
from input_tables.catalogue import find_items
from input_tables.contract import ITEMS
from input_tables.layout import TableFile, TableSet, find_tables
from input_tables.newer_parquet import parquet_rows
from input_tables.remote_reading import copy_footer, opened_stream
from input_tables.remote_tables import listed_tables
from input_tables.sources import clear_errors, decompressed, is_parquet, opened
from input_tables.verify import damaged_parquet
from pipeline.config import RunConfig

_CHUNK_BYTES = 1 << 20


def check_before_run(config: RunConfig) -> None:
    """Refuses what cannot succeed: too few items, a refresh without an items table, no key.

    Raises:
      ConfigError: see `refuse_more_results_than_items`.
      ConfigError: ids are to be hashed and there is no key.
      DataError: there is no items table where a refresh looks for it.
    """
    if config.serving.sample == "hashed":
        required_key()
    if config.pipeline == "refresh":
        _find_items(config)
    else:
        refuse_more_results_than_items(config)


def refuse_more_results_than_items(config: RunConfig) -> None:
    """Refuses an evaluation at k when the catalogue holds fewer than k items.

    recall@k of such a catalogue is 1 whatever the model. Tables that cannot be read, or
    without any item, are left to the run itself: it says more about them.

    Raises:
      ConfigError: names k and the number of items.
    """
    wanted = max(config.evaluator.ks)
    try:
        found = _find_items(config) if is_remote(config.data.root) else find_tables(config.data)
        items = 0
        for file in found.of(ITEMS):
            if items < wanted:
                items += _most_rows(file, wanted)
    except DataError:
        return
    if 0 < items < wanted:
        paths = ", ".join(file.name for file in found.of(ITEMS))
        raise ConfigError(
            f"evaluator.ks asks for k={wanted}, but the catalogue ({paths}) has {items} items; "
            "every list would hold all of them: lower evaluator.ks, and the metrics named in "
            "evaluator.primary_metric and evaluator.thresholds with it"
        )


def _find_items(config: RunConfig) -> TableSet:
    if is_remote(config.data.root):
        return listed_tables(config.data, items_only=True)
    return find_items(config.data)


def _most_rows(file: TableFile, enough: int) -> int:
    """Returns an upper bound of the rows of a file: a quoted value may hold newlines.

    Args:
      file: a file, or an object of which no more is downloaded than tells it.
      enough: rows after which a CSV file is not read on.

    Raises:
      DataError: the file cannot be read.
    """
    if is_parquet(file.path):
        return _parquet_rows(file)
    lines, last = 0, b"\n"
    with ExitStack() as stack:
        remote = is_remote(file.path)
        source = stack.enter_context(opened_stream(file, _CHUNK_BYTES)) if remote else file.path
        stream = stack.enter_context(opened(source, file.name))
        with clear_errors(file.name, "read as CSV"):
            plain = decompressed(stream, file.name)
            while lines <= enough and (chunk := plain.read(_CHUNK_BYTES)):
                lines += chunk.count(b"\n") + chunk.count(b"\r") - chunk.count(b"\r\n")
                last = chunk[-1:]
    return max(0, lines + (last not in (b"\n", b"\r")) - 1)


def _parquet_rows(file: TableFile) -> int:
    with tempfile.TemporaryDirectory(prefix="tessera-footer-") as folder:
        path = Path(file.path)
        groups: list[int] | None = None
        if is_remote(file.path):
            path, groups = Path(folder) / "footer.parquet", []
            copy_footer(file, path)
        if damaged_parquet([(file.table, str(path))], groups):
            raise DataError(f"{file.name}: cannot be read as Parquet")
        with clear_errors(file.name, "read as Parquet"):
            return parquet_rows(path)
