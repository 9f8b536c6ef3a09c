"""Parameters of the synthetic tables."""

from __future__ import annotations

import datetime as dt

from pydantic import Field, model_validator

from core.config import BaseConfig


class GeneratorConfig(BaseConfig):
    """How many of what, and how users behave.

    The defaults make users with a few clearly separated interests, so that one
    embedding per user is not enough.
    """

    LATER = ("features",)

    users: int = Field(2000, ge=1)
    items: int = Field(3000, ge=1)
    topics: int = Field(40, ge=4, description="broad topics and their sub-topics together")
    days: int = Field(28, ge=1, description="length of the log, one span per day")
    engagements: int = Field(80_000, ge=1, description="about so many rows")
    seed: int = Field(1, ge=0)
    end_date: dt.date = Field(dt.date(2024, 6, 30), description="last day of the log, UTC")

    user_events_min: int | None = Field(
        None, ge=1, description="engagements of a user, at least; fewer only where items run out"
    )
    user_events_max: int | None = Field(None, ge=1, description="and at most")

    interests_min: int = Field(2, ge=1, description="latent interests of a user, at least")
    interests_max: int = Field(6, ge=1, description="and at most")
    interest_concentration: float = Field(
        1.5, gt=0.0, description="Dirichlet parameter of interest weights; small: one dominates"
    )
    styles_per_topic: int = Field(2, ge=1, description="latent interests within one sub-topic")
    zipf_exponent: float = Field(1.0, ge=0.0, description="skew of item popularity")
    new_item_share: float = Field(0.3, ge=0.0, le=1.0, description="items that appear in the log")
    new_user_share: float = Field(0.3, ge=0.0, le=1.0, description="users that join in the log")
    session_stay: float = Field(0.75, ge=0.0, le=1.0, description="share that keeps its interest")
    noise_share: float = Field(0.03, ge=0.0, le=1.0, description="engagements off every interest")
    hide_share: float = Field(0.04, ge=0.0, le=1.0, description="negative engagements")
    view_share: float = Field(
        0.0, ge=0.0, le=10.0, description="views, as a share of engagements, on top of them"
    )
    view_noise_share: float = Field(
        0.3, ge=0.0, le=1.0, description="views off the interest of the moment"
    )
    search_share: float = Field(
        0.0, ge=0.0, le=10.0, description="items opened from a search, as a share of engagements"
    )

    follow_share: float = Field(0.45, ge=0.0, le=1.0, description="interests that are followed")
    extra_follows: float = Field(1.2, ge=0.0, description="mean follows without such an interest")
    undated_share: float = Field(0.15, ge=0.0, le=1.0, description="follows without a date")
    unfollow_share: float = Field(0.06, ge=0.0, le=1.0, description="dated follows ended later")

    features: bool = Field(
        False, description="further columns of items, and a table `users`, that tell of interests"
    )

    @model_validator(mode="after")
    def _fits(self) -> GeneratorConfig:
        if self.interests_min > self.interests_max:
            raise ValueError("interests_min must not exceed interests_max")
        if self.user_events_min and self.user_events_min > (self.user_events_max or self.items):
            raise ValueError("user_events_min must not exceed user_events_max")
        if self.user_events_min and self.user_events_min > self.items // 3:
            raise ValueError(
                f"user_events_min must not exceed a third of the items ({self.items // 3})"
            )
        return self

    @property
    def start(self) -> int:
        """First second of the log."""
        return self.end - self.days * 86_400

    @property
    def end(self) -> int:
        """First second after the log."""
        day = self.end_date
        midnight = dt.datetime(day.year, day.month, day.day, tzinfo=dt.timezone.utc)
        return int(midnight.timestamp()) + 86_400
