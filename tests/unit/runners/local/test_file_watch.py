"""Tests the pauses between two reads of files."""

from __future__ import annotations

from katibflow.runners.local.file_watch import Pace


def test_looks_are_close_while_something_comes_and_rarer_while_nothing_does() -> None:
    pace = Pace()
    quiet = [pace.next(came=False) for _ in range(8)]
    assert quiet == sorted(quiet)
    assert quiet[0] < quiet[-1] == pace.next(came=False) <= 0.1
    assert pace.next(came=True) < quiet[0] <= 0.02
