"""What can be refused from the tables alone, before TensorFlow is imported."""

from __future__ import annotations

import pyarrow.parquet as pq

from core.errors import ConfigError, DataError
from input_tables.catalogue import find_items
from input_tables.contract import ITEMS
from input_tables.layout import TableFile, find_tables
from input_tables.remote import local_tables
from input_tables.sources import clear_errors, decompressed, is_parquet, opened
from input_tables.verify import damaged_parquet
from pipeline.config import RunConfig

_CHUNK_BYTES = 1 << 20


def check_before_run(config: RunConfig) -> None:
    """Refuses what can not succeed: too few items, or a refresh without an items table.

    Raises:
      ConfigError: see `refuse_more_results_than_items`.
      DataError: there is no items table where a refresh looks for it.
    """
    if config.pipeline == "refresh":
        with local_tables(config.data, items_only=True) as data:
            find_items(data)
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
        # Of tables under a URL only the items are copied.
        with local_tables(config.data, items_only=True) as data:
            found = find_items(data) if data is not config.data else find_tables(data)
            items = sum(_most_rows(file) for file in found.of(ITEMS))
    except DataError:
        return
    if 0 < items < wanted:
        paths = ", ".join(file.name for file in found.of(ITEMS))
        raise ConfigError(
            f"evaluator.ks asks for k={wanted}, but the catalogue ({paths}) has {items} items; "
            "every list would hold all of them: lower evaluator.ks, and the metrics named in "
            "evaluator.primary_metric and evaluator.thresholds with it"
        )


def _most_rows(file: TableFile) -> int:
    """Returns an upper bound of the rows of a file: a quoted value may hold newlines.

    Raises:
      DataError: the file cannot be read.
    """
    if is_parquet(file.path):
        if damaged_parquet([(file.table, file.path)]):
            raise DataError(f"{file.path}: cannot be read as Parquet")
        with clear_errors(file.path, "read as Parquet"):
            rows: int = pq.ParquetFile(file.path).metadata.num_rows
            return rows
    lines, last = 0, b"\n"
    with opened(file.path, file.path) as stream, clear_errors(file.path, "read as CSV"):
        plain = decompressed(stream)
        while chunk := plain.read(_CHUNK_BYTES):
            lines += chunk.count(b"\n") + chunk.count(b"\r") - chunk.count(b"\r\n")
            last = chunk[-1:]
    return max(0, lines + (last not in (b"\n", b"\r")) - 1)
