"""Days of data: what a run is asked for, and what a schedule writes."""

from __future__ import annotations

import datetime as dt
from typing import Any

from core.errors import ConfigError
from input_tables.run_date import parse_run_date

#: Kubeflow puts the day (UTC) on which it creates a run here, as Go formats it. Its macro for the
#: scheduled time is filled in by no version: the API server does not know that time.
CREATION_DAY = "[[CurrentTime.2006-01-02]]"


def parse_day(text: str, key: str) -> dt.date:
    """Returns a day.

    Args:
      text: `YYYY-MM-DD`, or `YYYY-MM-DD-Nd`: the day N days before.
      key: names the value in errors.

    Raises:
      ConfigError: neither of these, or no such day.
    """
    try:
        return parse_run_date(text.strip())
    except ConfigError:
        raise ConfigError(
            f"{key} {text!r}: expected a day as YYYY-MM-DD (or YYYY-MM-DD-Nd, N days before it)"
        ) from None


def days_between(first: str, last: str, today: dt.date | None = None) -> list[dt.date]:
    """Returns every day from `first` to `last`, both included, the earliest first.

    Args:
      first: as for `parse_day`.
      last: as for `parse_day`.
      today: in UTC; None: of the clock.

    Raises:
      ConfigError: no days, in the wrong order, or of the future.
    """
    start, end = parse_day(first, "--from"), parse_day(last, "--to")
    today = today or dt.datetime.now(dt.timezone.utc).date()
    if start > end:
        raise ConfigError(f"--from {start} is after --to {end}: give the earlier day first")
    if end > today:
        raise ConfigError(f"--to {end} is in the future (today is {today}, UTC): no data yet")
    return [start + dt.timedelta(days=n) for n in range((end - start).days + 1)]


def scheduled_run_date(lag_days: int) -> str:
    """Returns the parameter of a schedule: the day of the run's creation less `lag_days`."""
    return CREATION_DAY + (f"-{lag_days}d" if lag_days else "")


def day_of_run(run_date: Any, created: dt.datetime | None) -> dt.date | None:
    """Returns the day that a run covers, None when its parameter says none.

    Args:
      run_date: the run's parameter; a server keeps a schedule's macro in it.
      created: when the run was created.
    """
    text = str(run_date or "")
    if CREATION_DAY in text and created is not None:
        text = text.replace(CREATION_DAY, created.astimezone(dt.timezone.utc).date().isoformat())
    try:
        return parse_day(text, "run_date")
    except ConfigError:
        return None
