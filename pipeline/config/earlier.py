"""Keys that configurations had and that mean nothing any more."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

_LOG = logging.getLogger("tessera")


def without_keys(tree: Any, where: str, dropped: Mapping[str, str]) -> Any:
    """Returns a tree without keys that were dropped; each one found is warned of.

    Args:
      tree: keys and values as YAML gives them, or as a manifest recorded them.
      where: path of the tree, for the warning.
      dropped: key -> why it went.
    """
    if not isinstance(tree, Mapping):
        return tree
    for key in dropped.keys() & tree.keys():
        _LOG.warning("%s.%s is no longer read (%s): remove it", where, key, dropped[key])
    return {key: value for key, value in tree.items() if key not in dropped}
