"""Where the input tables are and which part of them a run reads."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

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

    csv_escape: Literal["\\"] | None = Field(
        None,
        description="a backslash before a quote in CSV, as Spark writes it; None: a quote "
        "inside a text is doubled",
    )
    topics_separator: str | None = Field(
        None,
        min_length=1,
        description="what stands between an item's topics in CSV; None: `|`, and topics that look "
        "like another program's list are refused",
    )

    @field_validator("run_date", mode="before")
    @classmethod
    def _a_day_is_no_number(cls, value: Any) -> Any:
        """YAML reads 20240630 as a number, and pydantic that as seconds since 1970."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        text = str(value)
        like = f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 else "2024-06-30"
        raise ValueError(f"{value} is a number; write the day as YYYY-MM-DD, for example {like}")

    @model_validator(mode="after")
    def _run_date_goes_with_spans(self) -> DataConfig:
        if self.layout == "spans" and self.run_date is None:
            raise ValueError("layout 'spans' needs run_date (YYYY-MM-DD)")
        return self


class CopiedData(DataConfig):
    """Tables that were copied from a URL; what is said about a file names the original."""

    origin: str = Field(min_length=1, description="URL that `root` is a copy of")
