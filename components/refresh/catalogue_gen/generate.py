"""The work of the CatalogueGen, free of TFX and Beam: an items table in, examples out.

The whole catalogue is held in memory, as the IndexBuilder after it does.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.example_gen.attributes import write_attributes
from components.example_gen.catalogue import corpus
from components.example_gen.columns import example_schema
from components.example_gen.report import LETTERS_DIR, REPORT_FILE
from components.example_gen.window import Window
from components.example_gen.writing import SplitWriters, write_empty
from components.index_builder.layout import ATTRIBUTES_FILE, ITEMS_FILE
from components.refresh.bundle_source.layout import SOURCE_FILE
from components.refresh.catalogue_gen.changes import (
    changes,
    refuse_lost_items,
    same_attributes,
)
from components.refresh.catalogue_gen.config import CatalogueGenConfig
from components.refresh.catalogue_gen.items import checked_items
from components.refresh.catalogue_gen.sample_requests import request_examples
from components.serving_validator.layout import REQUESTS_FILE
from core.files import read_json, write_json
from trainer import features

_LOG = logging.getLogger("tessera")
_FILE_NAME = "examples-00000-of-00001"


@dataclass(frozen=True)
class CataloguePaths:
    """Where the CatalogueGen reads and writes.

    Attributes:
      bundle: the `bundle` artifact of a BundleSource.
      examples: gets `Split-<name>/*.parquet`.
      report: gets `data_report.json` and `dead_letter/*.jsonl`.
      dead_letters: where dead letters are copied when there are too many; may be a URL.
    """

    bundle: Path
    examples: Path
    report: Path
    dead_letters: Path | str


def read_catalogue(
    config: CatalogueGenConfig, window: Window, paths: CataloguePaths
) -> dict[str, Any]:
    """Writes the catalogue as `corpus` and the bundle's requests as `validation`.

    The splits `train` and `eval` are there and empty.

    Returns:
      The content of `data_report.json`: that of an ingestion, and under `catalogue` what
      differs from the served catalogue.

    Raises:
      BundleError: the bundle's requests cannot be read.
      DataError: the table breaks the contract, is empty or lost too many items.
    """
    schema = example_schema(config.features)
    requests = request_examples(paths.bundle / REQUESTS_FILE, schema)
    items, report = checked_items(
        config, window, paths.report / LETTERS_DIR, paths.dead_letters, requests.num_rows
    )
    found = changes(paths.bundle / ITEMS_FILE, items)
    served = paths.bundle / ATTRIBUTES_FILE
    found["unchanged"] &= same_attributes(served, items, config.attributes)
    refuse_lost_items(
        found, config.max_removed_share, ", ".join(f.name for f in window.tables.files)
    )
    _write_examples(paths.examples, items, requests, schema)
    write_attributes(str(paths.examples), _FILE_NAME, items, config.attributes)
    source = read_json(paths.bundle / SOURCE_FILE)
    report["catalogue"] = {"served_version": source["version"], **found}
    write_json(paths.report / REPORT_FILE, report)
    _LOG.info("%s", describe(report["catalogue"]))
    return report


def describe(found: dict[str, Any]) -> str:
    """Returns the changes of a catalogue in words."""
    if found["unchanged"]:
        return f"{found['items']:,} items, the same as in version {found['served_version']}"
    return (
        f"{found['items']:,} items: {found['added']:,} new, {found['removed']:,} gone, "
        f"{found['topics_changed']:,} with other topics than in version {found['served_version']}"
    )


def _write_examples(
    target: Path, items: pa.Table, requests: pa.RecordBatch, schema: pa.Schema
) -> None:
    for split in features.SPLITS:  # of an attempt that was killed
        shutil.rmtree(target / f"Split-{split}", ignore_errors=True)
    uri = str(target)
    with SplitWriters(uri, _FILE_NAME) as writers:
        for batch in corpus(items, schema):
            writers.write(features.CORPUS_SPLIT, batch)
        writers.write(features.VALIDATION_SPLIT, requests)
    for split in features.SPLITS:
        if split not in (features.CORPUS_SPLIT, features.VALIDATION_SPLIT):
            write_empty(uri, split, schema)
