"""Tests the text that says how far a job's output was read."""

from __future__ import annotations

import pytest

from katibflow.runners.kubernetes.log_position import LogPosition, nanoseconds

STAMP = "2026-11-28T15:02:43.046397196Z"


@pytest.mark.parametrize("read", [(), ("a/0", "b/1")])
def test_a_position_outlives_the_program(read: tuple[str, ...]) -> None:
    position = LogPosition("job-uid", read, "c/2", STAMP, 3)
    assert LogPosition.of(str(position)) == position


@pytest.mark.parametrize("text", ["", "x", "a - b c 1", f"a - b {STAMP} x", f"a - b {STAMP} 1 2"])
def test_any_other_text_is_none(text: str) -> None:
    assert LogPosition.of(text) is None


def test_times_are_compared_as_times() -> None:
    """Kubernetes leaves out zeros at the end of a fraction."""
    texts = ["T00:00:00Z", "T00:00:00.1Z", "T00:00:00.12Z", "T00:00:00.120000001Z", "T00:00:01Z"]
    times = [nanoseconds(f"2026-01-01{text}") for text in texts]
    assert None not in times
    assert times == sorted(times, key=lambda time: time or 0) and len(set(times)) == 5
    assert nanoseconds("2026-01-01T01:00:00.5+01:00") == nanoseconds("2026-01-01T00:00:00.5Z")
    assert nanoseconds("yesterday") is None
