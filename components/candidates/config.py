"""What candidates are made of; free of TensorFlow."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.config import BaseConfig
from input_tables.config import DataConfig


class CandidatesConfig(BaseConfig):
    """How many candidates, and how the work is cut."""

    num_results: int = Field(100, ge=1, description="items per user")
    batch_size: int = Field(64, ge=1, description="users per call of the SavedModel")
    bucket_rows: int = Field(200_000, ge=1, description="engagements per part, about")
    history_max_items: int = Field(
        1000, ge=1, description="newest events that are sent; the model cuts them further"
    )
    out: str = Field("", description="folder or URL; '': no candidates are made")


class CandidateGenConfig(BaseConfig):
    """What the component CandidateGen is told."""

    candidates: CandidatesConfig
    data: DataConfig
    time_unit: Literal["seconds", "order"]
    follows_max_topics: int = Field(ge=1)
