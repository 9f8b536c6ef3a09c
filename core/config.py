"""Base class of every typed configuration object."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

ConfigT = TypeVar("ConfigT", bound="BaseConfig")
_LOG = logging.getLogger("tessera")


class Removed(NamedTuple):
    """A key that configurations had.

    Attributes:
      value: what is used now, whatever is given.
      why: why it went.
    """

    value: Any
    why: str


class BaseConfig(BaseModel):
    """Frozen pydantic model that refuses unknown keys and numbers that are not finite.

    Units are part of field names (`history_max_items`, `window_days`). What an earlier version
    wrote is read: a key that went is left out, one that moved is put in its place, and either is
    warned of once where it asks for something else than the default.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    #: Path of the section, for warnings.
    SECTION: ClassVar[str] = ""
    REMOVED: ClassVar[Mapping[str, Removed]] = {}
    #: Section (a field of this one) -> keys that were here and are in it now.
    MOVED: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    #: Keys that are left out of what is written while they are empty: they came later, and
    #: configurations without them keep their digests.
    LATER: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _earlier_keys(cls, tree: Any) -> Any:
        if not isinstance(tree, Mapping):
            return tree
        tree = dict(tree)
        for key in cls.REMOVED.keys() & tree.keys():
            if tree.pop(key) != cls.REMOVED[key].value:
                _warn(f"{cls.SECTION}.{key} is no longer read ({cls.REMOVED[key].why}): remove it")
        for section, keys in cls.MOVED.items():
            moved = {key: tree.pop(key) for key in keys if key in tree}
            if not moved:
                continue
            defaults = cls.model_fields[section].default
            for key, value in moved.items():
                if value != getattr(defaults, key):
                    _warn(f"{cls.SECTION}.{key} is now {cls.SECTION}.{section}.{key}: rename it")
            tree[section] = {**moved, **dict(tree.get(section) or {})}
        return tree

    @model_serializer(mode="wrap")
    def _without_empty_later_keys(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = write(self)
        return {k: v for k, v in dumped.items() if k not in self.LATER or getattr(self, k)}

    def canonical_json(self) -> str:
        """Returns JSON with sorted keys, the same bytes for equal configurations."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls: type[ConfigT], text: str) -> ConfigT:
        """Parses what `canonical_json` wrote."""
        data: Any = json.loads(text)
        return cls.model_validate(data)


@functools.cache
def _warn(words: str) -> None:
    """Warns once in a process, however often a configuration is read."""
    _LOG.warning("%s", words)
