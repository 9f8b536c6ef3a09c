"""Checks of cron expressions, before a server or a cluster sees them.

Kubeflow Pipelines reads six fields, seconds first. It takes five fields too, and then
reads them as seconds, minutes, hours, day of month and month: `0 3 * * *` would start
a run every hour.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import ConfigError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_STEP = re.compile(r"(?P<range>[^/]+)(?:/(?P<step>[0-9]+))?")


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: dict[str, int]


_FIELDS = (
    _Field("seconds", 0, 59, {}),
    _Field("minutes", 0, 59, {}),
    _Field("hours", 0, 23, {}),
    _Field("day of month", 1, 31, {}),
    _Field("month", 1, 12, {name: n + 1 for n, name in enumerate(_MONTHS)}),
    _Field("day of week", 0, 6, {name: n for n, name in enumerate(_DAYS)}),
)


@dataclass(frozen=True)
class Cron:
    """A checked expression.

    Attributes:
      text: six fields, one space between.
      values: what each field allows, growing.
    """

    text: str
    values: tuple[tuple[int, ...], ...]

    @property
    def latest_second(self) -> int:
        """The last time of a day at which it fires, as seconds since midnight."""
        seconds, minutes, hours = (values[-1] for values in self.values[:3])
        return (hours * 60 + minutes) * 60 + seconds

    def five_fields(self) -> str:
        """Returns it as Kubernetes reads it, without seconds.

        Raises:
          ConfigError: its seconds are not 0.
        """
        if self.values[0] != (0,):
            raise ConfigError(
                f"cron {self.text!r}: a CronJob of Kubernetes starts at full minutes; "
                "write 0 in the first field (seconds)"
            )
        return " ".join(self.text.split()[1:])


def check_cron(text: str) -> Cron:
    """Returns a cron expression that Kubeflow Pipelines reads as it was meant.

    Raises:
      ConfigError: not six fields, a value out of range, more than one run per minute,
        or a day that no month has.
    """
    fields = text.split()
    if len(fields) == 5:
        raise ConfigError(
            f"cron {text!r}: Kubeflow Pipelines reads six fields, seconds first; "
            f"write '0 {' '.join(fields)}'"
        )
    if len(fields) != 6:
        raise ConfigError(
            f"cron {text!r}: {len(fields)} field(s), expected six (seconds, minutes, hours, day "
            "of month, month, day of week), for example '0 0 3 * * *': every day at 03:00 UTC"
        )
    values = tuple(_values(field, kind, text) for field, kind in zip(fields, _FIELDS, strict=True))
    if len(values[0]) > 1:
        raise ConfigError(
            f"cron {text!r}: the seconds {fields[0]!r} would start several runs in a minute; "
            "write 0 in the first field"
        )
    by_weekday = fields[5] not in ("*", "?")
    if not by_weekday and min(values[3]) > max(_LONGEST[month - 1] for month in values[4]):
        raise ConfigError(f"cron {text!r}: no month named in it has a day {min(values[3])}")
    return Cron(" ".join(fields), values)


def _values(field: str, kind: _Field, text: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in field.split(","):
        found.update(_part(part, kind, text))
    return tuple(sorted(found))


def _part(part: str, kind: _Field, text: str) -> range:
    match = _STEP.fullmatch(part)
    if match is None:
        raise _bad(part, kind, text)
    step = int(match["step"] or 1)
    if match["range"] in ("*", "?"):
        low, high = kind.low, kind.high
    else:
        first, dash, last = match["range"].partition("-")
        low = _number(first, kind, text, part)
        high = _number(last, kind, text, part) if dash else low
        if not dash and match["step"]:  # `5/15` is `5-59/15`
            high = kind.high
    if step < 1 or low > high:
        raise _bad(part, kind, text)
    return range(low, high + 1, step)


def _number(word: str, kind: _Field, text: str, part: str) -> int:
    number = kind.names.get(word.lower(), -1)
    if number < 0 and word.isascii() and word.isdigit():
        number = int(word)
    if not kind.low <= number <= kind.high:
        raise _bad(part, kind, text)
    return number


def _bad(part: str, kind: _Field, text: str) -> ConfigError:
    names = f" or {', '.join(kind.names)}" if kind.names else ""
    return ConfigError(
        f"cron {text!r}: {part!r} is no {kind.name}: expected {kind.low}-{kind.high}{names}, "
        "lists (1,2), ranges (1-5), steps (*/2) or *"
    )
