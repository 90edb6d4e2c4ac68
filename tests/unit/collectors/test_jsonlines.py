"""Tests JSON lines, pushed metrics, and the function that pushes them."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import katibflow
from katibflow.collectors.jsonlines import JsonCollector, PushCollector
from katibflow.study.history import Point

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


def points(*lines: str, metric: str = "loss") -> tuple[Point, ...]:
    collector = JsonCollector([metric], "the file")
    for line in lines:
        collector.feed(line)
    return collector.series[metric]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.5", 0.5),
        ('"0.5"', 0.5),
        ('" 1e-3 "', 1e-3),
        ("3", 3.0),
        ("1" + "0" * 400, math.inf),
        ("-1" + "0" * 400, -math.inf),
        ('"inf"', math.inf),
        ("-Infinity", -math.inf),
    ],
)
def test_numbers_and_their_text_are_values(value: str, expected: float) -> None:
    (point,) = points(f'{{"loss": {value}, "accuracy": 1}}')
    assert point.value == expected


@pytest.mark.parametrize("value", ['"nan"', "NaN", '"none"', '""', '"1_0"'])
def test_text_that_is_no_number_is_not_a_number(value: str) -> None:
    (point,) = points(f'{{"loss": {value}}}')
    assert math.isnan(point.value)


@pytest.mark.parametrize(
    "line",
    [
        '{"loss": null}',
        '{"loss": true}',
        '{"loss": [1]}',
        '{"loss": {"value": 1}}',
        '{"Loss": 1}',
        '["loss", 1]',
        '{"loss": 1',
        '{"loss": 1} {"loss": 2}',
        "loss=1",
        '"loss"',
        "",
        "[" * 100_000 + "loss",
    ],
)
def test_what_is_no_object_with_a_number_reports_nothing(line: str) -> None:
    assert points(line) == ()


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("1767225600", "2026-01-01T00:00:00Z"),
        ("1767225600.25", "2026-01-01T00:00:00.250000Z"),
        ('"2026-01-01T00:00:00.123456789+02:00"', "2026-01-01T00:00:00.123456789+02:00"),
        ('"yesterday"', None),
        ("true", None),
        ("1e300", None),
        ("NaN", None),
        ("null", None),
    ],
)
def test_a_timestamp_is_in_seconds_or_rfc_3339(stamp: str, expected: str | None) -> None:
    (point,) = points(f'{{"loss": 1, "timestamp": {stamp}, "epoch": 3}}')
    assert (point.time, point.epoch) == (expected, 3)


def test_a_metric_may_be_called_epoch_or_timestamp() -> None:
    (point,) = points('{"epoch": 3}', metric="epoch")
    assert (point.value, point.epoch) == (3.0, None)
    (point,) = points('{"timestamp": 3}', metric="timestamp")
    assert (point.value, point.time) == (3.0, None)


@given(st.dictionaries(st.sampled_from(["loss", "epoch", "timestamp", "x"]), VALUES))
def test_no_object_is_an_error(data: dict[str, Any]) -> None:
    for point in points(json.dumps(data)):
        assert isinstance(point.value, float)


def test_lines_that_nearly_matched_explain_a_missing_metric() -> None:
    collector = JsonCollector(["loss"], "/logs/m.json")
    for line in ('{"acc": 1}', '{"loss": null}', "loss=0.5"):
        collector.feed(line)
    collector.skip("no metric")
    collector.skip("the loss = 0.25, at last")
    collector.skip("loss=9")
    collector.warn("something hindered")
    assert collector.search_report().split("\n  ") == [
        "3 lines of /logs/m.json were read as JSON objects",
        "something hindered",
        "nearly: loss=0.5",
        'nearly: {"loss": null}',
        "in the output, which is not searched: the loss = 0.25, at last",
    ]


class TestPush:
    METRICS = st.dictionaries(
        st.sampled_from(["loss", "acc"]),
        st.integers(-(2**70), 2**70) | st.floats(),
        min_size=1,
    )

    @given(METRICS, st.integers(0, 4 * 10**9))
    def test_what_is_pushed_is_what_is_read(self, metrics: dict[str, float], time: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            out = StringIO()
            patch.setattr("sys.stdout", out)
            katibflow.report_metrics({**metrics, "epoch": 4}, timestamp=time)
        (line,) = out.getvalue().splitlines()
        collector = PushCollector(["loss", "acc"])
        read = {name: point for name, point in collector.feed(f"50%|#### |\r{line}")}
        assert read.keys() == metrics.keys()
        for name, value in metrics.items():
            assert read[name].value == pytest.approx(float(value), rel=0, abs=0, nan_ok=True)
            assert datetime.fromisoformat(read[name].time or "").timestamp() == time
            assert read[name].epoch == 4

    @pytest.mark.parametrize(
        "line",
        [
            'katibflow-metrics {"loss": 0.5}',
            'katibflow-metrics: {"loss": "0.5"}',
            'katibflow-metrics{"loss": 0.5} and more',
            '[rank 0] katibflow-metrics {"loss": 0.5}',
        ],
    )
    def test_a_line_may_be_printed_without_the_client(self, line: str) -> None:
        assert PushCollector(["loss"]).feed(line) == (("loss", Point(0, 0.5)),)

    def test_other_lines_report_nothing_and_explain_why(self) -> None:
        collector = PushCollector(["loss"])
        for line in ("loss=0.5", '{"loss": 1}', 'katibflow-metrics {"loss": 1', "quiet"):
            assert collector.feed(line) == ()
        report = collector.search_report()
        assert report.startswith('4 lines were read for "katibflow-metrics {...}"')
        assert "nearly: loss=0.5" in report

    def test_the_call_of_katibs_client_is_understood(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        katibflow.report_metrics({"loss": "0.5"}, "katib-db-manager.kubeflow:6789", timeout=30)
        assert '"loss": 0.5' in capsys.readouterr().out

    @pytest.mark.parametrize("value", ["high", None, [1], object()])
    def test_a_value_that_is_no_number_is_refused(self, value: object) -> None:
        with pytest.raises(ValueError, match=r"metric loss: .* is no number"):
            katibflow.report_metrics({"loss": value})

    @pytest.mark.parametrize(
        "stamp",
        [
            1767225600,
            1767225600.0,
            "2026-01-01T00:00:00Z",
            "2026-01-01T02:00:00+02:00",
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))),
        ],
    )
    def test_a_timestamp_may_have_any_form(
        self, stamp: float | str | datetime, capsys: pytest.CaptureFixture[str]
    ) -> None:
        katibflow.report_metrics({"loss": 1}, timestamp=stamp)
        assert capsys.readouterr().out == '2026-01-01T00:00:00Z katibflow-metrics {"loss": 1}\n'

    def test_a_time_without_a_zone_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no time zone"):
            katibflow.report_metrics({"loss": 1}, timestamp=datetime(2026, 1, 1))
