"""The day of a run: a date, or some days before one, and nothing else."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from input_tables.run_date import parse_run_date

DATES = st.dates(dt.date(1970, 1, 1), dt.date(2200, 1, 1))


@given(DATES)
def test_a_date_is_itself(day):
    assert parse_run_date(day.isoformat()) == day


@given(DATES, st.integers(0, 400))
def test_days_are_taken_off(day, days):
    assert parse_run_date(f"{day.isoformat()}-{days}d") == day - dt.timedelta(days=days)


def test_months_and_leap_years_are_crossed():
    assert parse_run_date("2024-03-01-1d") == dt.date(2024, 2, 29)
    assert parse_run_date("2024-01-01-1d") == dt.date(2023, 12, 31)


@pytest.mark.parametrize("text", ["[[ScheduledTime.2006-01-02]]", "{{ds}}", "[[ScheduledTime]]-1d"])
def test_a_macro_that_nobody_replaced_is_named(text):
    with pytest.raises(ConfigError, match="scheduler has not replaced") as caught:
        parse_run_date(text)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "today", "2024-6-1", "2024-02-30", "20240601", "2024-06-01T00:00", "2024-06-01-1",
     "2024-06-01-d", "2024-06-01--1d", "2024-06-01-1.5d", " 2024-06-01", "2024-06-01\n",
     "0001-01-01-9999d", "\u0662\u0660\u0662\u0664-06-01"],
)  # fmt: skip
def test_anything_else_says_what_a_scheduler_must_give(text):
    with pytest.raises(ConfigError, match="YYYY-MM-DD-Nd"):
        parse_run_date(text)


@given(st.text(max_size=20))
def test_any_text_gives_a_day_or_a_configuration_error(text):
    try:
        assert isinstance(parse_run_date(text), dt.date)
    except ConfigError as error:
        assert repr(text) in str(error)
