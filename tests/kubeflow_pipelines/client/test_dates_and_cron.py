"""Days and cron expressions: what is taken, what is refused with its mend."""

import datetime as dt

import pytest

from core.errors import ConfigError
from kubeflow_pipelines.client.cron import check_cron
from kubeflow_pipelines.client.dates import day_of_run, days_between, parse_day, scheduled_run_date

TODAY = dt.date(2024, 7, 10)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-06-30", "2024-06-30"),
        ("2024-03-01-1d", "2024-02-29"),
        ("2024-01-01-0d", "2024-01-01"),
    ],
)
def test_a_day_or_days_before_it(text, day):
    assert parse_day(text, "--run-date").isoformat() == day


@pytest.mark.parametrize(
    "text", ["latest", "", "2024-6-30", "2024-06-31", "2024-06-30-d", "20240630"]
)
def test_anything_else_is_refused_by_its_key(text):
    with pytest.raises(ConfigError, match=r"--run-date .*YYYY-MM-DD"):
        parse_day(text, "--run-date")


def test_days_are_in_order_and_both_ends_belong():
    days = days_between("2024-02-28", "2024-03-01", TODAY)
    assert [day.isoformat() for day in days] == ["2024-02-28", "2024-02-29", "2024-03-01"]


@pytest.mark.parametrize(
    ("first", "last", "says"),
    [("2024-07-02", "2024-07-01", "earlier day first"), ("2024-07-01", "2024-07-11", "future")],
)
def test_days_in_the_wrong_order_or_of_the_future_are_refused(first, last, says):
    with pytest.raises(ConfigError, match=says):
        days_between(first, last, TODAY)


def test_a_schedule_asks_for_the_day_of_the_start_less_the_lag():
    assert scheduled_run_date(1) == "[[CurrentTime.2006-01-02]]-1d"
    assert scheduled_run_date(0) == "[[CurrentTime.2006-01-02]]"


@pytest.mark.parametrize(
    ("run_date", "day"),
    [
        ("2024-06-30", dt.date(2024, 6, 30)),
        ("2024-07-01-1d", dt.date(2024, 6, 30)),
        ("[[CurrentTime.2006-01-02]]-1d", dt.date(2024, 7, 1)),
        ("[[ScheduledTime.2006-01-02]]-1d", None),
        (None, None),
        ("soon", None),
    ],
)
def test_the_day_of_a_run_is_read_in_each_form(run_date, day):
    started = dt.datetime(2024, 7, 2, 3, tzinfo=dt.timezone.utc)
    assert day_of_run(run_date, started) == day


@pytest.mark.parametrize(
    "text",
    [
        "0 0 3 * * *",
        "0 30 3 ? * MON-FRI",
        "0 */15 0-6 1,15 jan,JUL ?",
        "0 5/20 3 * * 0",
        "0 0 3 29 2 *",
        "0 0 3 31 * *",
        "0 0 3 31 2 MON",
    ],
)
def test_a_cron_expression_is_taken(text):
    assert check_cron(f" {text} ").text == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 3 * * *", r"write '0 0 3 \* \* \*'"),
        ("0 0 3", "3 field"),
        ("0 0 3 * * * 2024", "7 field"),
        ("@daily", "1 field"),
        ("0 60 3 * * *", "'60' is no minutes: expected 0-59"),
        ("0 0 24 * * *", "no hours"),
        ("0 0 3 0 * *", "no day of month"),
        ("0 0 3 * 13 *", "no month"),
        ("0 0 3 * * 7", "no day of week"),
        ("0 0 3 * * SUNDAY", "no day of week"),
        ("0 0 5-3 * * *", "'5-3' is no hours"),
        ("0 0 */0 * * *", r"'\*/0' is no hours"),
        ("0 0 3,, * * *", "'' is no hours"),
        ("0 0 -1 * * *", "no hours"),
        ("0 0 ³ * * *", "no hours"),
        ("* 0 3 * * *", "several runs in a minute"),
        ("0 0 3 30 2 *", "no month named in it has a day 30"),
        ("0 0 3 31 4,6 ?", "no month named in it has a day 31"),
    ],
)
def test_a_bad_cron_expression_is_refused_with_the_mend(text, says):
    with pytest.raises(ConfigError, match=says):
        check_cron(text)


def test_kubernetes_gets_five_fields():
    assert check_cron("0 30 3 * * MON").five_fields() == "30 3 * * MON"
    assert check_cron("0 0 3,23 * * *").latest_second == 23 * 3600
    with pytest.raises(ConfigError, match="first field"):
        check_cron("5 0 3 * * *").five_fields()
