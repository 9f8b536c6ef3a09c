"""Which columns of the tables are features, and what is made of their values.

Free of Arrow's tables and of TensorFlow: the reader of tables, the transform graph and the model
take the same words from here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from core.config import BaseConfig

#: What the name of a feature must match; it stands before `=` in requests.
FEATURE_NAME = "[A-Za-z_][A-Za-z0-9_]*"
#: Columns of the contract that have their own place in the model.
_TAKEN = ("item_id", "user_id", "topics")


class FeatureConfig(BaseConfig):
    """One feature: where it stands and how it is transformed."""

    kind: Literal["category", "list", "number", "embedding"] = Field(
        description="category: one text; list: several; number; embedding: floats, always as many"
    )
    column: str | None = Field(None, description="column of the table; None: the feature's name")
    pattern: str | None = Field(
        None, description="regular expression with one group, which is the value; None: all of it"
    )
    separator: str = Field("|", min_length=1, description="list: between the values in CSV")
    max_values: int = Field(10, ge=1, description="list: values kept")
    hash_buckets: int = Field(
        0, ge=0, description="category, list: ids by hash; 0: a vocabulary, unknown is missing"
    )
    buckets: int = Field(
        16, ge=0, description="number: quantiles, a vector each; 0: normalised and projected"
    )
    size: int = Field(0, ge=0, le=4096, description="embedding: how many floats")

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, given: Any) -> Any:
        """`year: number` is short for `year: {kind: number}`."""
        return {"kind": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _fits_its_kind(self) -> FeatureConfig:
        if (self.kind == "embedding") != bool(self.size):
            raise ValueError(
                "kind embedding needs size, how many floats there are; no other has it"
            )
        if self.kind == "number" and self.buckets == 1:
            raise ValueError("buckets: 1 tells nothing apart; give 2 or more, or 0")
        if self.pattern is not None:
            try:
                groups = re.compile(self.pattern).groups
            except re.error as error:
                raise ValueError(f"pattern {self.pattern!r} is no expression: {error}") from error
            if groups != 1:
                raise ValueError(
                    f"pattern {self.pattern!r} has {groups} groups; put the value into one: (...)"
                )
        return self


class FeaturesConfig(BaseConfig):
    """Features of items (columns of `items`) and of users (columns of the table `users`)."""

    SECTION = "features"

    items: dict[str, FeatureConfig] = Field({}, description="name -> feature of the items")
    users: dict[str, FeatureConfig] = Field({}, description="name -> feature of the users")

    @model_validator(mode="after")
    def _readable_names(self) -> FeaturesConfig:
        for side, named in (("items", self.items), ("users", self.users)):
            for name, feature in named.items():
                if not re.fullmatch(FEATURE_NAME, name):
                    raise ValueError(f"{side}.{name}: a name has letters, digits and _ alone")
                if (feature.column or name) in _TAKEN:
                    raise ValueError(f"{side}.{name}: {feature.column or name} is known already")
        return self

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.items or self.users)

    def of(self, side: Literal["items", "users"]) -> Mapping[str, FeatureConfig]:
        """Returns the features of one table by name."""
        return self.items if side == "items" else self.users

    def columns(self) -> tuple[str, ...]:
        """Returns the columns to read, see `input_tables.contract.further_columns`."""
        found = dict[str, None]()
        for prefix, named in (("", self.items), ("users.", self.users)):
            for name, feature in named.items():
                several = "[]" if feature.kind in ("list", "embedding") else ""
                found[f"{prefix}{feature.column or name}{several}"] = None
        return tuple(found)
