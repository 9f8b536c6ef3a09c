"""`pins.json`: which versions are served and which must stay.

It lies beside the version folders and is the truth: `models.config` and
`models-scann.config` are derived from it (`components.bundle.model_config`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from core.config import BaseConfig
from core.errors import BundleError
from core.files import write_json

PINS_NAME = "pins.json"
#: What may stand in a URL between `/labels/` and the next `/` or `:`.
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Pins(BaseConfig):
    """Labels, pinned versions and where a rollback leads."""

    pinned: tuple[int, ...] = ()
    labels: dict[str, int] = Field({}, description="label -> served version")
    previous: int | None = Field(None, description="what `stable` was before; a rollback's target")
    server_root: str = Field(
        "", description="the serving folder as the model server sees it; '': as it is here"
    )

    @field_validator("labels")
    @classmethod
    def _legal(cls, labels: dict[str, int]) -> dict[str, int]:
        for label, version in labels.items():
            if not is_label(label) or version < 1:
                raise ValueError(f"label {label!r} of version {version}")
        return dict(sorted(labels.items()))

    @property
    def kept(self) -> frozenset[int]:
        """Versions that are pinned or labelled, and the one that a rollback leads to."""
        before = () if self.previous is None else (self.previous,)
        return frozenset((*self.pinned, *self.labels.values(), *before))

    def with_pin(self, version: int) -> Pins:
        """Returns a copy in which `version` is pinned."""
        return self.model_copy(update={"pinned": tuple(sorted({*self.pinned, version}))})

    def without_pin(self, version: int) -> Pins:
        """Returns a copy in which `version` is not pinned."""
        return self.model_copy(
            update={"pinned": tuple(pin for pin in self.pinned if pin != version)}
        )


def is_label(text: str) -> bool:
    """Returns whether `text` may be a label."""
    return _LABEL.fullmatch(text) is not None


def read_pins(model_dir: str | Path) -> Pins:
    """Reads the pins of one model; none where the file does not exist.

    Raises:
      BundleError: the file is not what `write_pins` wrote.
    """
    path = Path(model_dir) / PINS_NAME
    try:
        return Pins.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Pins()
    except (OSError, ValueError, ValidationError) as error:
        raise BundleError(f"{path}: cannot be read as pins: {error}; mend or remove it") from error


def write_pins(model_dir: str | Path, pins: Pins) -> None:
    """Writes the pins of one model in one atomic step; hold the model's lock."""
    write_json(Path(model_dir) / PINS_NAME, pins.model_dump(mode="json"))
