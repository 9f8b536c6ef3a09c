"""Where the input tables are and which part of them a run reads."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import Field, model_validator

from core.config import BaseConfig


class DataConfig(BaseConfig):
    """Location, layout and window of the three canonical tables."""

    root: str = Field(min_length=1, description="folder that holds engagements, items and follows")
    layout: Literal["auto", "single", "spans"] = Field(
        "auto",
        description="single: files or folders per table; spans: a folder per day; auto: either",
    )
    run_date: dt.date | None = Field(None, description="last span of the window (layout spans)")
    window_days: int = Field(14, ge=1, description="spans of engagements read up to run_date")

    @model_validator(mode="after")
    def _run_date_goes_with_spans(self) -> DataConfig:
        if self.layout == "spans" and self.run_date is None:
            raise ValueError("layout 'spans' needs run_date (YYYY-MM-DD)")
        return self


class CopiedData(DataConfig):
    """Tables that were copied from a URL; what is said about a file names the original."""

    origin: str = Field(min_length=1, description="URL that `root` is a copy of")
