"""Tests that a trial's reports take bounded room and lose nothing that counts."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from katibflow.collectors.text import observation
from katibflow.study.history import Point
from katibflow.study.series import MOST_POINTS, Series


def series(values: list[float], times: dict[int, str] | None = None) -> Series:
    made = Series()
    for step, value in enumerate(values):
        made.append(Point(step, value, (times or {}).get(step)))
    return made


def test_up_to_a_thousand_reports_are_all_kept() -> None:
    values = [float(step) for step in range(MOST_POINTS)]
    assert [point.value for point in series(values).points] == values


@pytest.mark.parametrize("count", [1001, 2500, 100_000])
def test_more_are_thinned_evenly_and_the_observation_stays(count: int) -> None:
    values = [math.sin(step * 0.37) for step in range(count)]
    values[501], values[777], values[5] = -7.0, 9.0, math.nan
    points = series(values, {333: "2026-01-01T00:00:00Z"}).points
    steps = [point.step for point in points]
    assert MOST_POINTS / 2 <= len(points) <= MOST_POINTS + 4
    assert steps == sorted(set(steps))
    assert {0, 333, 501, 777, count - 1} <= set(steps)
    gaps = {after - before for before, after in pairwise(steps)}
    stride = max(gaps)
    assert stride & (stride - 1) == 0, "the steps of two trials have to meet"
    seen = observation(points)
    assert (seen.latest, seen.min, seen.max) == (values[333], -7.0, 9.0)


def test_a_series_can_begin_anew() -> None:
    again = series([1.0] * 3000)
    again.clear()
    again.append(Point(0, 2.0))
    assert (again.count, again.points) == (1, (Point(0, 2.0),))
