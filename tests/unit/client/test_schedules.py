"""Schedules as users write them, and as Kubeflow Pipelines reads them."""

from __future__ import annotations

import pytest

from katibflow.client.base import Cron, Every
from katibflow.client.schedules import read_cron, read_interval
from katibflow.errors import InputError


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("0 3 * * *", "0 0 3 * * *"),  # KFP would run it at 3 minutes past every hour
        ("  */15  9-17 * * MON-FRI ", "0 */15 9-17 * * MON-FRI"),
        ("0 0 1,15 JAN 7", "0 0 0 1,15 JAN 0"),
        ("0 3 * * 5,7", "0 0 3 * * 5,0"),
        ("0 3 * * fri-7", "0 0 3 * * 5,6,0"),
        ("0 3 * * 1-7/2,2", "0 0 3 * * 1,3,5,0,2"),
        ("0 3 * * 7-7", "0 0 3 * * 0"),
        ("30 0 3 * * ?", "30 0 3 * * ?"),
        ("0 0 5/10 * * sun", "0 0 5/10 * * sun"),
        ("@daily", "@daily"),
    ],
)
def test_a_cron_expression_gets_seconds(text: str, expression: str) -> None:
    assert read_cron(text) == Cron(expression)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 fields"),
        ("3 * *", "3 fields; allowed: 5"),
        ("0 0 3 * * * *", "7 fields"),
        ("60 3 * * *", 'minute: found "60"; allowed: 0 to 59, *'),
        ("0 24 * * *", 'hour: found "24"'),
        ("0 3 0 * *", 'day of the month: found "0"; allowed: 1 to 31'),
        ("0 3 * FEBRUARY *", 'month: found "FEBRUARY"; allowed: 1 to 12, JAN to DEC'),
        ("0 3 * * 8", 'day of the week: found "8"; allowed: 0 to 6, SUN to SAT'),
        ("0 0 3 * * 7", 'day of the week: found "7"'),
        ("0 0 3 * * 5-7", 'day of the week: found "5-7"'),
        ("0 3 * * 7/0", 'day of the week: found "7/0"'),
        ("0 3 * * 7-1", 'day of the week: found "7-1"'),
        ("0 3 * * x-7", 'day of the week: found "x-7"'),
        ("*/0 3 * * *", 'minute: found "*/0"'),
        ("9-8 3 * * *", 'minute: found "9-8"'),
        ("1- 3 * * *", 'minute: found "1-"'),
        ("1,,2 3 * * *", 'minute: found "1,,2"'),
        ("0 3 L * *", 'day of the month: found "L"'),
        ("٣ 3 * * *", "minute: found"),
        ("@noon", '"@noon"; allowed: @yearly'),
        ("@every 6h", "2 fields"),
    ],
)
def test_what_is_no_cron_expression(text: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        read_cron(text)
    assert str(raised.value).startswith("--schedule: ")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("6h", 21600), ("1h30m", 5400), ("1D", 86400), ("2w", 1209600)],
)
def test_a_time_between_runs(text: str, seconds: int) -> None:
    assert read_interval(text) == Every(seconds)


@pytest.mark.parametrize("text", ["", "6", "h", "0h", "-1h", "1.5h", "1h x", "6 h", "99999999w"])
def test_what_is_no_time_between_runs(text: str) -> None:
    with pytest.raises(InputError, match=r"^--every: found .* allowed: a time above 0"):
        read_interval(text)
