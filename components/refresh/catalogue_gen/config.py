"""Configuration of the CatalogueGen."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.config import BaseConfig
from core.feature_config import FeaturesConfig
from input_tables.config import DataConfig


class CatalogueGenConfig(BaseConfig):
    """Which items table is read and what stops a refresh."""

    LATER = ("features",)

    data: DataConfig
    time_unit: Literal["seconds", "order"] = "seconds"
    attributes: tuple[str, ...] = Field((), description="columns of the items that are kept")
    features: FeaturesConfig = Field(FeaturesConfig(), description="features of the items")
    max_bad_share: float = Field(
        0.01, ge=0.0, le=1.0, description="dead letters per row that stop the run"
    )
    max_removed_share: float = Field(
        0.5, ge=0.0, le=1.0, description="served items that may be missing from the new table"
    )
