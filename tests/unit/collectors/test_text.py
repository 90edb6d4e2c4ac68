"""Tests metrics from lines of text: filters, values, search reports."""

from __future__ import annotations

import math
import re
import sys
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from katibflow.collectors import collector_for
from katibflow.collectors.text import (
    DEFAULT_FILTER,
    TextCollector,
    compile_filter,
    filter_for,
    is_readable,
    observation,
)
from katibflow.errors import MissingPackage
from katibflow.study.history import Point
from tests.samples import experiment


def values(line: str, *filters: str, metric: str = "loss") -> list[float]:
    collector = TextCollector([metric], filters)
    assert collector.feed(line) == tuple((metric, point) for point in collector.series[metric])
    return [point.value for point in collector.series[metric]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("loss=0.3", [0.3]),
        ("loss = 1e-5", [1e-5]),
        ("loss=-.5", [-0.5]),
        ("loss=+3E+2", [300.0]),
        ("loss=3", [3.0]),
        ("loss=98%", [98.0]),
        ("val/loss=0.2", [0.2]),
        ("step 1 loss=0.5, loss=0.4", [0.5, 0.4]),
        ("loss=0.5\rloss=0.4", [0.5, 0.4]),
        ("loss=1loss=2", [1.0, 2.0]),
        ("loss=1,loss=2", [1.0, 2.0]),
        ("loss=1e", [1.0]),
        ("loss=0.3.7", [0.3]),
        ("loss: 0.3", []),
        ('{"loss": 0.2}', []),
        ("LOSS=0.3", []),
        ("val_loss=0.2", []),
        ("val-loss=0.2", []),
        ("loss2=0.2", []),
        ("a|loss=0.2", []),
        ("the loss", []),
        ("", []),
        ("   ", []),
        ("accuracy=0.3", []),
        ("\u00e4loss=0.3", [0.3]),
        ("loss=3\u0663", [3.0]),
        ("loss\u00a0= 0.3", []),
    ],
)
def test_the_default_filter_reads_what_katibs_does(line: str, expected: list[float]) -> None:
    assert values(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("loss=nan", math.nan),
        ("loss = NaN", math.nan),
        ("loss=-nan", math.nan),
        ("\x1b[31mloss\x1b[0m=\x1b[1mnan\x1b[0m", math.nan),
        ("loss=inf", math.inf),
        ("loss=-inf", -math.inf),
        ("loss=+Infinity,", math.inf),
        ("loss=1e999", math.inf),
    ],
)
def test_what_is_no_finite_number_is_kept_as_such(line: str, expected: float) -> None:
    (value,) = values(line)
    assert value == expected or (math.isnan(value) and math.isnan(expected))


@pytest.mark.parametrize(
    "line",
    [
        "loss=",
        "loss=-",
        "loss=info",
        "loss=None",
        "loss==0.3",
        "loss='mse', lr=0.1",
        "loss=tensor(0.3)",
        "loss= # to be computed",
    ],
)
def test_a_line_without_a_number_reports_nothing_and_is_told_as_a_near_miss(line: str) -> None:
    collector = TextCollector(["loss"])
    assert collector.feed(line) == ()
    assert f"nearly: {line}" in collector.search_report()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("\x1b[32mloss\x1b[0m=\x1b[1m0.3\x1b[0m", 0.3),
        ("\x1b[2K\x1b[1Gloss=0.3", 0.3),
        ("loss=\x1b[38;5;208m0.3", 0.3),
        ("\x1b]8;;http://x\x1b\\loss=0.3\x1b]8;;\x1b\\", 0.3),
    ],
)
def test_colours_do_not_hide_a_metric(line: str, expected: float) -> None:
    assert values(line) == [expected]


@pytest.mark.parametrize(
    "name", ["val/loss", "validation:loss", "top1@acc%", "a.b", "f(x)", "x y", "m+n", "[0]"]
)
def test_a_filter_for_any_name_reads_it_and_no_other(name: str) -> None:
    assert not is_readable(name)
    collector = TextCollector([name, "loss"], [filter_for([name, "loss"])])
    assert [(found, point.value) for found, point in collector.feed(f"e 1, {name}=0.5,loss=2")] == [
        (name, 0.5),
        ("loss", 2.0),
    ]
    assert collector.feed(f"my{name}=3") == ()
    assert collector.feed(f"{name} = nan")


LINES = st.text(alphabet="ab|-_= \t1.+eE/\u00e4", max_size=16)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@given(LINES)
def test_the_default_filter_matches_exactly_as_its_expression_says(line: str) -> None:
    collector = TextCollector(["a", "b", "a|b"])
    reported = [name for name, _ in collector.feed(line)]
    found = re.finditer(DEFAULT_FILTER, line, re.ASCII)
    matched = [match[1] for match in found if _is_number(match[2])]
    assert reported == [name for name in matched if name in ("a", "b", "a|b")]


@pytest.mark.parametrize(
    ("line", "pattern", "expected"),
    [
        ("loss: 0.3", r"([\w|-]+)\s*:\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)", [0.3]),
        ('{"loss": 0.25}', r'"(\w+)":\s*([\d.]+)', [0.25]),
        ("{metricName: loss, metricValue: 0.7}", r"{metricName: (\w+), metricValue: (.*)}", [0.7]),
        (" loss  is  -2 ", r"(\w+\s+)is(\s+-?\d)", [-2.0]),
        ("loss is high", r"(loss) is (\w+)", []),
        ("loss", r"(loss)(\d+)?", []),
        ("loss is inf", r"(loss) is ([\d.]*)", [math.inf]),
        ("loss is 1_0", r"(loss) is (\w+)", []),
        ("größe loss=3", r"([[:alpha:]]+)=([[:digit:]]+)", [3.0]),
        ("\udc80\udcff loss=3", r"(\w+)=(\d+)", [3.0]),
        ("loss loss=3", r"(?P<name>\w+)=(?P<value>\d+)", [3.0]),
        ("loss=3", r"()(\w+)", []),
    ],
)
def test_a_filter_of_the_users_own(line: str, pattern: str, expected: list[float]) -> None:
    assert values(line, pattern) == pytest.approx(expected, nan_ok=True)


def test_filters_are_all_tried_and_replace_the_default() -> None:
    filters = [r"(\w+):(\d+)", r"(\w+)~(\d+)"]
    assert values("loss~2 loss:1 loss=3", *filters) == [1.0, 2.0]


def test_the_experiments_filters_and_metrics_are_used() -> None:
    spec = experiment(
        {
            "spec.metricsCollectorSpec.source.filter.metricsFormat": [r"(\w+)->(\d+)"],
            "spec.objective.additionalMetricNames": ["acc"],
        }
    ).spec
    collector = collector_for(spec)
    collector.feed("loss->1 acc->2 other->3 loss=4")
    assert {name: [p.value for p in points] for name, points in collector.series.items()} == {
        "loss": [1.0],
        "acc": [2.0],
    }
    assert list(collector_for(experiment().spec).series) == ["loss"]


@pytest.mark.parametrize(
    "pattern", [r"(a+)+=(b)", r"((loss|l.*)*)*=(x)", r"(\w+\s*)+:(\d+)", r"(.*)*(.*)*(.*)*=(z)"]
)
def test_no_filter_takes_more_than_linear_time(pattern: str) -> None:
    line = "loss " + "a" * 20_000 + "!"
    start = process_time()
    values(line, pattern)
    assert process_time() - start < 2.0


@pytest.mark.parametrize(
    "line",
    [
        "loss " + "a" * 1_000_000,
        "loss " + "a " * 500_000,
        "loss" + " " * 1_000_000,
        "loss=" + "1" * 1_000_000,
        "loss " + "a|-" * 300_000 + " = x",
    ],
    ids=["word", "words", "spaces", "digits", "signs"],
)
def test_a_very_long_line_takes_linear_time(line: str) -> None:
    start = process_time()
    values(line)
    assert process_time() - start < 2.0


@pytest.mark.parametrize("pattern", ["(a", "(?<=x)(a)(b)", r"(a)\1(b)", "[[:alpha:](a)(b)"])
def test_what_re2_does_not_know_is_no_filter(
    pattern: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=r"^(missing|invalid|unexpected) "):
        compile_filter(pattern)
    assert capfd.readouterr() == ("", "")


def test_a_filter_without_re2_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(MissingPackage, match=r"source\.filter needs .* pip install google-re2"):
        TextCollector(["loss"], ["(a)(b)"])
    TextCollector(["loss"]).feed("loss=1")


def test_steps_epochs_and_timestamps_are_kept() -> None:
    collector = TextCollector(["loss", "acc"])
    for line in (
        "2024-01-01T10:00:00Z Epoch 1/10 loss=0.5 acc=0.1",
        "2024-01-01T10:00:01.123456789+02:00 epoch: 2 loss=0.4",
        "Train Epoch: 3 [0/60000 (0%)]\tloss=0.3",
        "no epoch loss=0.2",
        "epochs 5 loss=0.1 at 2024-01-01T10:00:00Z",
        f"epoch {'9' * 5000} loss=0.0",
    ):
        collector.feed(line)
    assert collector.series["loss"] == (
        Point(0, 0.5, "2024-01-01T10:00:00Z", 1),
        Point(1, 0.4, "2024-01-01T10:00:01.123456789+02:00", 2),
        Point(2, 0.3, None, 3),
        Point(3, 0.2),
        Point(4, 0.1),
        Point(5, 0.0),
    )
    assert collector.series["acc"] == (Point(0, 0.1, "2024-01-01T10:00:00Z", 1),)


def test_a_missing_metric_is_explained_by_the_lines_that_nearly_matched() -> None:
    collector = TextCollector(["loss", "acc"])
    for line in (
        "using cross-entropy loss",
        "the loss is mean",
        "starting",
        "epoch 1 loss: 0.5 acc=0.3",
        "epoch 2 loss: 0.4 acc=0.4",
        "x" * 500 + " loss: 0.3 " + "y" * 500,
        "epoch 4 loss: 0.2",
    ):
        collector.feed(line)
    first, *near = collector.search_report().split("\n")
    assert first == f"7 lines were read with the filter {DEFAULT_FILTER}"
    assert near[:2] == [
        "  nearly: epoch 1 loss: 0.5 acc=0.3",
        "  nearly: epoch 2 loss: 0.4 acc=0.4",
    ]
    *near, cure = near
    assert len(near) == 3
    assert "metricsFormat" in cure
    assert "loss: 0.3" in near[2]
    assert len(near[2]) <= 220


def test_lines_without_a_number_are_shown_when_there_are_no_better_ones() -> None:
    collector = TextCollector(["loss"], ["(a)(b)", "(c)(d)"])
    collector.feed("the loss")
    assert collector.search_report() == (
        "1 lines were read with the filter (a)(b) or (c)(d)\n  nearly: the loss"
    )


def points(*reports: tuple[float, str | None] | float) -> list[Point]:
    pairs = [report if isinstance(report, tuple) else (report, None) for report in reports]
    return [Point(step, value, time) for step, (value, time) in enumerate(pairs)]


@pytest.mark.parametrize(
    ("reports", "latest"),
    [
        ([0.3, 0.1, 0.2], 0.2),
        ([(1.0, "2024-01-01T00:00:02Z"), (2.0, "2024-01-01T00:00:01Z")], 1.0),
        ([(1.0, "2024-01-01T00:00:01Z"), (2.0, "2024-01-01T00:00:01Z")], 2.0),
        ([(1.0, "2024-01-01T02:00:00+02:00"), (2.0, "2024-01-01T00:00:00Z")], 2.0),
        ([(1.0, "2024-01-01T02:00:00+01:00"), (2.0, "2024-01-01t00:00:00z")], 1.0),
        ([(1.0, "2024-01-01T00:00:00.5Z"), (2.0, "2024-01-01T00:00:00.25Z")], 1.0),
        ([(1.0, "2024-01-01T00:00:00.123456789Z"), (2.0, None)], 1.0),
        ([(1.0, "2024-13-01T00:00:00Z"), (2.0, None)], 2.0),
        ([(1.0, "0001-01-01T00:00:00+14:00"), (2.0, None)], 1.0),
    ],
)
def test_latest_is_the_newest_report_and_on_a_tie_the_later_line(
    reports: list[tuple[float, str | None] | float], latest: float
) -> None:
    assert observation(points(*reports)).latest == latest


def test_min_and_max_are_over_the_finite_reports() -> None:
    seen = observation(points(0.5, math.nan, math.inf, -math.inf, 0.2, 0.9, math.nan))
    assert (seen.min, seen.max) == (0.2, 0.9)
    assert math.isnan(seen.latest)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_without_a_finite_report_there_are_those_that_are_not(value: float) -> None:
    seen = observation(points(math.nan, value))
    assert str([seen.latest, seen.min, seen.max]) == str([value] * 3)  # nan equals no nan
