"""What ends a command early: the signals that end a program."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from katibflow.runners.base import StopRequest

__all__ = ["caught"]


@contextmanager
def caught(stop: StopRequest) -> Iterator[None]:
    """Turns the signals that end a program into a stop request while the block runs."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set(f"interrupted by signal {number}")

    kept = {
        number: signal.signal(number, handle)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
