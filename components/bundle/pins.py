"""`pins.json`: versions that retention must keep.

It lies beside the version folders and holds pinned versions and labels. A
version that carries a label (`stable`, `canary`) is being served.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field, ValidationError

from core.config import BaseConfig
from core.errors import BundleError
from core.files import write_json

PINS_NAME = "pins.json"


class Pins(BaseConfig):
    """Versions kept whatever their age."""

    pinned: tuple[int, ...] = ()
    labels: dict[str, int] = Field({}, description="label -> served version")

    @property
    def kept(self) -> frozenset[int]:
        """Versions that are pinned or served."""
        return frozenset(self.pinned) | frozenset(self.labels.values())

    def with_pin(self, version: int) -> Pins:
        """Returns a copy in which `version` is pinned."""
        return self.model_copy(update={"pinned": tuple(sorted({*self.pinned, version}))})

    def without_pin(self, version: int) -> Pins:
        """Returns a copy in which `version` is not pinned."""
        return self.model_copy(
            update={"pinned": tuple(pin for pin in self.pinned if pin != version)}
        )


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
    """Writes the pins of one model in one atomic step."""
    write_json(Path(model_dir) / PINS_NAME, pins.model_dump(mode="json"))
