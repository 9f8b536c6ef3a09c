"""Counts of one table: what was read, and what became of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

_EXAMPLES = 5
_TEXT = 160


class Tally:
    """Counts that add up: read + added = written + refused + left out + merged.

    Attributes:
      read: rows of the files, blank lines and headers not counted.
      lines: lines of the files, with headers, blank ones and those within a quote.
      written: rows of the table.
      left_out: rows that a condition did not choose, or without any topic.
      merged: further rows of an item.
      added: rows more than one that a list of topics gave.
      reasons: refused rows by reason.
      examples: the first of them.
      formats: how each file was understood, by path.
      first_rows: the first rows as they were understood.
      warnings: what looks wrong.
    """

    def __init__(self) -> None:
        self.read = self.lines = self.written = self.left_out = self.merged = self.added = 0
        self.reasons: Counter[str] = Counter()
        self.examples: list[dict[str, Any]] = []
        self.formats: dict[str, str] = {}
        self.first_rows: list[dict[str, Any]] = []
        self.warnings: list[str] = []

    @property
    def refused(self) -> int:
        """Rows that could not be read or break the contract."""
        return sum(self.reasons.values())

    def understood(self, path: str, how: str) -> None:
        """Notes how a file was read."""
        self.formats[path] = how

    def refuse(self, path: str, line: int, reason: str, text: str) -> None:
        """Counts one row that is not used."""
        self.reasons[reason] += 1
        if len(self.examples) < _EXAMPLES:
            shown = text.encode("utf-8", "replace").decode().strip()[:_TEXT]
            self.examples.append({"file": path, "line": line, "reason": reason, "text": shown})

    def report(self) -> dict[str, Any]:
        """Returns the counts for `source.json`."""
        return {
            "lines": self.lines,
            "read": self.read,
            "written": self.written,
            "refused": self.refused,
            "left_out": self.left_out,
            "merged": self.merged,
            "added": self.added,
            "reasons": dict(self.reasons.most_common()),
            "examples": self.examples,
            "formats": self.formats,
            "first_rows": self.first_rows,
        }
