"""Tests event files (real, damaged and growing ones) and the choice of tags."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from katibflow.collectors.event_messages import scalars
from katibflow.collectors.tfevent import EventCollector, EventFiles
from tests.behaviour.collectors.event_files import event, record, simple, tensor, version
from tests.paths import GOLDEN

EVENTS = GOLDEN / "events"
WRITTEN = record(version()) + b"".join(
    record(event(simple("loss", 1 / (step + 1)), step=step, time=10.0 + step)) for step in range(4)
)


def read(data: bytes, name: str = "x") -> list[dict[str, Any]]:
    return [json.loads(line) for line in EventFiles().feed(name, data)]


def told(data: bytes) -> list[tuple[str, int, float]]:
    return [(line["tag"], line["step"], line["value"]) for line in read(data)]


def test_a_file_of_tensorboardx_is_read() -> None:
    lines = read((EVENTS / "events.out.tfevents.tensorboardx").read_bytes())
    assert [(line["tag"], line["step"], line["time"]) for line in lines] == [
        ("loss", 0, 1767225600.5),
        ("loss", 1, 1767225601.5),
        ("loss", 2, 1767225602.5),
        ("eval/accuracy", 2**40, 1767225603.25),
    ]
    values = [line["value"] for line in lines]
    assert values[:2] + values[3:] == [0.5, 0.25, 0.1]
    assert math.isnan(values[2])


def test_scalar_tensors_of_every_type_are_read_and_others_passed_over() -> None:
    values = told((EVENTS / "events.out.tfevents.tensors").read_bytes())
    assert {tag: value for tag, _, value in values} == {
        "float_val": 0.1,
        "float_content": 0.1,
        "double_val": 0.1,
        "double_content": 1 / 3,
        "int_val": -7,
        "int64_val": -(2**40),
        "int64_content": -5,
        "int_neg_content": -9,
        "bool_val": 1,
        "half_val": 0.5,
        "bfloat_content": 0.5,
    }


@given(st.lists(st.integers(0, len(WRITTEN)), max_size=8))
def test_it_does_not_matter_in_which_pieces_a_file_comes(cuts: list[int]) -> None:
    reader = EventFiles()
    edges = [0, *sorted(cuts), len(WRITTEN)]
    pieces = [WRITTEN[start:end] for start, end in pairwise(edges)]
    lines = [line for piece in pieces for line in reader.feed("x", piece)]
    assert lines == EventFiles().feed("x", WRITTEN)
    assert [json.loads(line)["value"] for line in lines] == [1.0, 0.5, 0.33333334, 0.25]


@given(st.integers(0, len(WRITTEN) - 1), st.integers(1, 255))
def test_a_damaged_byte_is_named_and_what_came_before_it_counts(at: int, change: int) -> None:
    damaged = bytearray(WRITTEN)
    damaged[at] ^= change
    reader = EventFiles()
    lines = reader.feed("x", bytes(damaged))
    assert lines == EventFiles().feed("x", WRITTEN)[: len(lines)]
    (account,) = reader.account()
    assert len(lines) < 4
    assert account.startswith("x is damaged at byte ")
    assert reader.feed("x", b"more") == []


@given(st.binary(max_size=200))
def test_what_is_no_event_is_no_more_than_damaged(data: bytes) -> None:
    reader = EventFiles()
    reader.feed("x", record(data))
    reader.feed("y", data)


@pytest.mark.slow
def test_a_record_too_long_for_scalars_is_passed_over() -> None:
    long = record(event(simple("image", 1.0)) + b"\x3a\xff\xff\x7f" + b"x" * (2**21 - 1))
    reader = EventFiles()
    lines = reader.feed("x", long[: 2**20]) + reader.feed("x", long[2**20 :] + WRITTEN)
    assert [json.loads(line)["tag"] for line in lines] == ["loss"] * 4


def test_a_message_that_is_cut_is_no_event() -> None:
    whole = event(simple("loss", 1.0), step=300)
    with pytest.raises(ValueError, match="cut"):
        scalars(whole[:-1])


def collected(
    metrics: Sequence[str], *lines: tuple[str, str, float], place: str = "/logs"
) -> dict[str, list[float]]:
    collector = EventCollector(metrics, place)
    for step, (file, tag, value) in enumerate(lines):
        data = {"file": file, "tag": tag, "step": step, "value": value, "time": 1.0}
        collector.feed(json.dumps(data))
    return {name: [point.value for point in points] for name, points in collector.series.items()}


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy", [1.0, 2.0]),
        ("train/accuracy", [1.0]),
        ("test/accuracy", [2.0]),
        ("logs/train/accuracy", [1.0]),
        ("los", [3.0]),
        ("loss", [4.0]),
        ("eval/loss", [5.0]),
        ("nothing", []),
        ("other/accuracy", []),
    ],
)
def test_a_metric_is_a_tag_or_a_folder_and_a_tag_or_the_beginning_of_one(
    metric: str, expected: list[float]
) -> None:
    lines = [
        ("train/e.1", "accuracy", 1.0),
        ("test/e.1", "accuracy", 2.0),
        ("e.1", "loss_1", 3.0),
        ("e.1", "loss", 4.0),
        ("e.1", "eval/loss", 5.0),
    ]
    assert collected([metric], *lines)[metric] == expected


def test_the_tags_that_came_explain_the_one_that_did_not() -> None:
    collector = EventCollector(["loss"], "/logs/")
    for line in EventFiles().feed("train/e.1", record(event(simple("acc", 1.0)))):
        collector.feed(line)
    collector.warn("x is damaged")
    assert collector.search_report() == (
        "1 scalars were read from event files in /logs; their tags are train/acc\n  x is damaged"
    )


def test_a_tensor_with_a_value_for_many_is_no_scalar() -> None:
    shape = b"\x12\x02\x08\x03"
    data = record(event(tensor("filled", 1, b"\x2d\x00\x00\x80\x3f", shape=shape)))
    assert told(data) == []
    assert told(record(event(tensor("one", 1, b"\x2d\x00\x00\x80\x3f")))) == [("one", 0, 1.0)]
