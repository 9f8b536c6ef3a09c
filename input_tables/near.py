"""Keys that do not meet although they are nearly the same, and why."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Collection
from typing import NamedTuple

#: Keys that are compared; more say nothing more about the cause.
_COMPARED = 20_000
_QUOTES = "'\"`=\u2018\u2019\u201c\u201d"


class NearMiss(NamedTuple):
    """Keys of one side that would meet the other side if both were written alike.

    Attributes:
      cause: what differs.
      share: of all keys of the side.
      example: a key.
      other: the key it would meet.
    """

    cause: str
    share: float
    example: str
    other: str

    def text(self) -> str:
        """Returns what a message says about it."""
        return (
            f"{self.share:.0%} differ by {self.cause} only: {self.example!r} against {self.other!r}"
        )


def _unquoted(text: str) -> str:
    return text.strip(_QUOTES)


def _without_decimals(text: str) -> str:
    return re.sub(r"^([+-]?[0-9]+)\.0*$", r"\1", text)


def _without_zeros(text: str) -> str:
    return text.lstrip("0") or "0" if text.isdigit() else text


def _composed(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _bare(text: str) -> str:
    return _without_zeros(_without_decimals(_unquoted(_composed(text).strip())))


def _compact(text: str) -> str:
    return re.sub(r"[\W_]+", "", text)


#: From the mildest change to the strongest: the first that makes keys meet is the cause.
_CHANGES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("blanks around them", str.strip),
    ("quotes around them", lambda text: _unquoted(text.strip())),
    ("a `.0` (numbers written as decimals)", lambda text: _without_decimals(text.strip())),
    ("leading zeros (ids read as numbers)", lambda text: _without_zeros(text.strip())),
    ("upper and lower case", lambda text: text.strip().casefold()),
    ("the form of Unicode", lambda text: _composed(text).strip()),
    (
        "more than one of: blanks, quotes, `.0`, leading zeros, case",
        lambda text: _without_zeros(
            _without_decimals(_unquoted(_composed(text).strip()))
        ).casefold(),
    ),
    ("blanks, hyphens and other signs", lambda text: _compact(_composed(text)).casefold()),
)


def near_miss(keys: Collection[bytes], others: Collection[bytes]) -> NearMiss | None:
    """Finds keys that meet none of the others but nearly do.

    Args:
      keys: distinct keys of one side.
      others: distinct keys of the other side.

    Returns:
      The most frequent cause, with the share of all such keys; None: nothing is near.
    """
    lone = sorted(set(keys) - set(others))
    if not lone or not others:
        return None
    sample = [_text(key) for key in lone[:: max(1, len(lone) // _COMPARED)]]
    found: dict[str, list[tuple[str, str]]] = {}
    for cause, change in _CHANGES:
        forms = {change(_text(other)): _text(other) for other in others}
        left = []
        for key in sample:
            other = forms.get(change(key))
            if other is None:
                left.append(key)
            else:
                found.setdefault(cause, []).append((key, other))
        sample = left
        if not sample:
            break
    if not found:
        return None
    met = sum(map(len, found.values()))
    cause, pairs = max(found.items(), key=lambda entry: len(entry[1]))
    share = met / (met + len(sample)) * len(lone) / len(set(keys))
    return NearMiss(cause, share, *pairs[0])


def near_list(keys: Collection[bytes], texts: Collection[bytes]) -> tuple[str, str] | None:
    """Returns (a key, the text that holds it as one of several), or None.

    Args:
      keys: keys that meet nothing.
      texts: topics that may be lists in truth.
    """
    wanted = {_text(key).strip().casefold(): _text(key) for key in keys}
    for raw in texts:
        text = _text(raw)
        for part in _parts(text):
            if (key := wanted.get(part.strip().casefold())) is not None and part != text:
                return key, text
    return None


def _parts(text: str) -> list[str]:
    if text.strip()[:1] == "[":
        try:
            return [str(value) for value in json.loads(text)]
        except ValueError:
            pass
    parts = re.split(r"[,;/|]", text.strip().strip("[]{}()"))
    return [_unquoted(part.strip()) for part in parts]


def _text(key: bytes) -> str:
    return key.decode("utf-8", "replace")
