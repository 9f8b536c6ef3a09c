"""The day of a run as a caller writes it: a date, or some days before one."""

from __future__ import annotations

import datetime as dt
import re

from core.errors import ConfigError

_GRAMMAR = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:-([0-9]{1,4})d)?")


def parse_run_date(text: str) -> dt.date:
    """Returns the last day of the window.

    A scheduler's macro gives the day on which a run is started, and no other; the data of
    that day is not complete then. So days can be taken off: `2024-07-01-1d` is 2024-06-30.

    Args:
      text: `YYYY-MM-DD`, or `YYYY-MM-DD-Nd` for N days before.

    Raises:
      ConfigError: anything else, a macro that nobody has replaced among it.
    """
    if "[[" in text or "{{" in text:
        raise ConfigError(
            f"run_date {text!r}: the scheduler has not replaced its macro, so the day is not "
            "known; start the run through a schedule, or give the day itself (YYYY-MM-DD)"
        )
    found = _GRAMMAR.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        day = dt.date.fromisoformat(found.group(1))
        return day - dt.timedelta(days=int(found.group(2) or 0))
    except (ValueError, OverflowError):
        raise ConfigError(
            f"run_date {text!r}: a scheduler must give the last day of the data as YYYY-MM-DD, "
            "or as YYYY-MM-DD-Nd for N days before (2024-07-01-1d is 2024-06-30)"
        ) from None
