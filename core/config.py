"""Base class of every typed configuration object."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

ConfigT = TypeVar("ConfigT", bound="BaseConfig")


class BaseConfig(BaseModel):
    """Frozen pydantic model that refuses unknown keys and numbers that are not finite.

    Units are part of field names (`history_max_items`, `window_days`).
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    def canonical_json(self) -> str:
        """Returns JSON with sorted keys, the same bytes for equal configurations."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls: type[ConfigT], text: str) -> ConfigT:
        """Parses what `canonical_json` wrote."""
        data: Any = json.loads(text)
        return cls.model_validate(data)
