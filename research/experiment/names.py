"""Refuses names that name nothing, with the nearest one that does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from core.errors import ConfigError

#: What a model of an experiment may set; data and features are those of the data set.
MODEL_SECTIONS = ("model", "trainer", "retrieval")


def require(wanted: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuses unknown names.

    Args:
      wanted: the names that are used.
      known: the names that exist.
      where: the key or option that uses them.

    Raises:
      ConfigError: names the first unknown one and its nearest neighbour.
    """
    names = list(known)
    for name in wanted:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"{where}: unknown name {name!r}{hint} (known: {', '.join(names) or 'none'})"
            )
