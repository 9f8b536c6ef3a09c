"""What a bundle says about what it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.bundle.manifest import Manifest
from components.bundle.verify import VerifiedBundle
from components.index_builder.served_items import served_items
from components.serving_validator.layout import REQUESTS_FILE
from core.errors import BundleError
from serving.request_log.record import SCHEMA
from trainer import features

#: Columns that a log and the sample of a bundle share.
FEATURES = pa.schema([SCHEMA.field(name) for name in features.USER_FEATURES])


@dataclass(frozen=True)
class TrainingReference:
    """A bundle as the monitor reads it.

    Attributes:
      requests: the bundle's sample of real requests, of `FEATURES`; no rows where it has none.
      items, topics: of the catalogue, without repetition.
    """

    manifest: Manifest
    requests: pa.Table
    items: pa.Array
    topics: pa.Array

    @property
    def in_seconds(self) -> bool:
        """Whether times are seconds; else they are positions."""
        return self.manifest.time_unit != "order"


def read_reference(bundle: VerifiedBundle) -> TrainingReference:
    """Reads catalogue and sample of a bundle.

    Raises:
      BundleError: one of them cannot be read.
    """
    catalogue = _items(bundle.path)
    sample = bundle.path / REQUESTS_FILE
    requests = _read(sample) if sample.exists() else FEATURES.empty_table()
    try:
        return TrainingReference(
            bundle.manifest,
            requests.select(FEATURES.names).cast(FEATURES),
            catalogue["item_id"].cast(pa.string()).unique(),
            catalogue["topics"].cast(pa.list_(pa.string())).combine_chunks().flatten().unique(),
        )
    except (KeyError, pa.ArrowException) as error:
        raise BundleError(f"{bundle.path}: cannot be compared with a log: {error}") from error


def _items(folder: Path) -> pa.Table:
    try:
        return served_items(folder)
    except (OSError, pa.ArrowException) as error:
        raise BundleError(f"{folder}: the items cannot be read: {error}") from error


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error
