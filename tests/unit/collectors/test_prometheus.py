"""Tests Prometheus's text format against its own client, and which changes count as reports."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from katibflow.collectors.prometheus import ChangedSamples, PrometheusCollector

NAMES = st.sampled_from(["loss", "val_loss", "loss2", "a:b"])
LABELS = st.text(st.characters(codec="utf-8"), max_size=6)
VALUES = st.floats(allow_nan=False).filter(bool)


@given(st.dictionaries(NAMES, st.dictionaries(LABELS, VALUES, max_size=3), max_size=4))
def test_a_page_is_read_as_prometheus_reads_it(gauges: dict[str, dict[str, float]]) -> None:
    registry = CollectorRegistry()
    for name, samples in gauges.items():
        gauge = Gauge(name, "some help", ["stage"], registry=registry)
        for label, value in samples.items():
            gauge.labels(label).set(value)
    page = generate_latest(registry).decode()
    expected: dict[str, list[float]] = {name: [] for name in gauges}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            expected[sample.name].append(sample.value)
    names = list(gauges) or ["loss"]
    collector = PrometheusCollector(names, "the page")
    for line in ChangedSamples(names).feed(page, 12.5):
        collector.feed(line)
    for name, values in expected.items():
        points = collector.series[name]
        assert [point.value for point in points] == values
        assert {point.time for point in points} <= {"1970-01-01T00:00:12.500000Z"}


@given(st.text(max_size=60))
def test_no_page_is_an_error(page: str) -> None:
    reader = ChangedSamples(["loss"])
    for line in reader.feed(page, 1.0):
        PrometheusCollector(["loss"], "the page").feed(line)
    reader.account()


def pages(*pages: str, names: tuple[str, ...] = ("loss",)) -> list[str]:
    reader = ChangedSamples(names)
    return [line for number, page in enumerate(pages) for line in reader.feed(page, number + 1.0)]


@pytest.mark.parametrize(
    ("given_pages", "lines"),
    [
        (["loss 0.5", "loss 0.5", "loss 0.25"], ["loss 0.5 1000", "loss 0.25 3000"]),
        (["loss 0", "loss 0.0", "loss 0.5", "loss 0"], ["loss 0.5 3000", "loss 0 4000"]),
        (["loss NaN", "loss NaN", "loss +Inf"], ["loss NaN 1000", "loss +Inf 3000"]),
        (["loss 0.5 7000", "loss 0.5 7000", "loss 0.5 8000"], ["loss 0.5 7000", "loss 0.5 8000"]),
        (["loss 0.5 7000", "loss 0.5"], ["loss 0.5 7000"]),
        (['loss{a="1"} 1', 'loss{a="2"} 1'], ['loss{a="1"} 1 1000', 'loss{a="2"} 1 2000']),
        (['loss{a="1",} 2 # {x="y"} 3'], ['loss{a="1"} 2 1000']),
        (["loss  0.5\r\n\tloss2 3"], ["loss 0.5 1000"]),
        (["# loss 1", "loss", "loss{ 1", "loss one", "loss 1_0", "los 1"], []),
    ],
)
def test_each_new_value_is_a_report(given_pages: list[str], lines: list[str]) -> None:
    assert pages(*given_pages) == lines


def test_what_was_read_before_is_not_reported_again() -> None:
    reader = ChangedSamples(["loss"])
    reader.feed("loss 0.5 1000\nloss 0.25 2000", 0)
    assert reader.feed("loss 0.25", 3.0) == []
    assert reader.feed("loss 0.125", 4.0) == ["loss 0.125 4000"]


def test_labels_choose_among_samples_in_any_order() -> None:
    name = 'loss{stage="val", fold="1"}'
    lines = pages('loss{fold="1",stage="val"} 0.5\nloss{stage="train"} 2', names=(name,))
    assert lines == ['loss{fold="1",stage="val"} 0.5 1000']
    collector = PrometheusCollector([name, "loss"], "the page")
    assert [metric for metric, _ in collector.feed(lines[0])] == [name, "loss"]


def test_what_is_not_finite_is_kept() -> None:
    collector = PrometheusCollector(["loss"], "the page")
    (_, point), *_ = collector.feed("loss NaN 1000")
    assert math.isnan(point.value)


def test_a_metric_that_did_not_come_is_explained() -> None:
    reader = ChangedSamples(["loss"])
    reader.feed("loss 0\nacc 1", 1.0)
    assert reader.account() == ["loss was 0 all the time, as a gauge is that was never set"]
    reader = ChangedSamples(["loss"])
    reader.feed("loss_total 1\nprocess_cpu_seconds 2\npython_info 1\nacc 1", 1.0)
    assert reader.account() == ["no sample is called loss, but these: loss_total, acc"]
    assert ChangedSamples(["loss"]).account() == []
