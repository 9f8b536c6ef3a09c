"""Which rows of a batch are bad, and why."""

from __future__ import annotations

import numpy as np


class Faults:
    """Which rows of a batch are bad, and the first reason of each.

    Attributes:
      reasons: texts, indexed by `codes`.
      codes: int16 `[rows]`, -1 for a good row; None while all rows are good.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.reasons: list[str] = []
        self.codes: np.ndarray | None = None

    def flag(self, bad: np.ndarray | None, reason: str) -> None:
        """Marks rows `[rows]` bool (None: none) that are not marked yet."""
        if bad is None or not bad.any():
            return
        if self.codes is None:
            self.codes = np.full(self._rows, -1, np.int16)
        self.codes[bad & (self.codes < 0)] = len(self.reasons)
        self.reasons.append(reason)
