"""Turns signals that end a program into requests to stop."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from katibflow.runners.stopping import StopKind, StopRequest

__all__ = ["ENDING", "caught"]

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end a program unless it catches them."""


@contextmanager
def caught(
    stop: StopRequest,
    numbers: tuple[signal.Signals, ...] = ENDING,
    again: Callable[[int], None] = lambda number: None,
    text: str = "",
) -> Iterator[None]:
    """Makes a stop request for each signal while the block runs; only for the main thread.

    A thread that a file descriptor wakes makes the request. A Python handler runs in the main
    thread only, and would never run while that thread waits for a lock.

    Args:
        stop: The request to make; its reason holds the signal's number.
        numbers: Numbers of the signals.
        again: Called, in another thread, with the number of each signal after the first.
        text: The request's reason, for a person; by default it names the signal.

    Raises:
        ValueError: The calling thread is not the main thread.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def watch() -> None:
        asked = False
        while received := reader.recv(1):
            number = received[0]
            if number not in numbers:
                continue
            if asked:
                again(number)
            asked = True
            stop.set(text or f"interrupted by signal {number}", StopKind.SIGNAL, number)

    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    with reader, writer:
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        watcher.start()
        kept = {number: signal.signal(number, lambda number, frame: None) for number in numbers}
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
            writer.shutdown(socket.SHUT_WR)
            watcher.join()
