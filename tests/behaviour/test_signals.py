"""Signals that end a program, as requests to stop."""

from __future__ import annotations

import os
import signal
import threading
from queue import SimpleQueue

import pytest

from katibflow.engine.signals import ENDING, caught
from katibflow.runners.stopping import StopKind, StopReason, StopRequest


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_is_a_request_while_the_block_runs(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = StopRequest()
    seen: SimpleQueue[None] = SimpleQueue()
    stop.subscribe(lambda: seen.put(None))
    with caught(stop):
        os.kill(os.getpid(), number)
        seen.get(timeout=10)
    assert stop.reason == StopReason(
        f"interrupted by signal {int(number)}", StopKind.SIGNAL, int(number)
    )
    assert signal.getsignal(number) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_request_does_not_wait_for_the_main_thread() -> None:
    """No handler in Python has run when the request is there: the main thread is kept busy."""
    stop = StopRequest()
    told: list[str] = []
    stop.subscribe(lambda: told.append(threading.current_thread().name))
    with caught(stop):
        sender = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGTERM))
        sender.start()
        sender.join()
        while stop.reason is None:
            pass
    assert told == ["signals"]


def test_signals_that_are_not_asked_for_keep_their_handlers() -> None:
    stop = StopRequest()
    got: list[int] = []
    kept = signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
    try:
        with caught(stop, (signal.SIGINT,)):
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, kept)
    assert got == [signal.SIGUSR1]
    assert stop.reason is None


def test_only_the_main_thread_can_catch() -> None:
    errors: list[Exception] = []

    def catch() -> None:
        try:
            with caught(StopRequest()):
                pass
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=catch)
    thread.start()
    thread.join()
    assert len(errors) == 1


def test_each_further_signal_is_told_apart() -> None:
    stop = StopRequest()
    first: SimpleQueue[None] = SimpleQueue()
    further: SimpleQueue[int] = SimpleQueue()
    stop.subscribe(lambda: first.put(None))
    with caught(stop, again=further.put):
        os.kill(os.getpid(), signal.SIGTERM)
        first.get(timeout=10)
        assert further.empty()
        os.kill(os.getpid(), signal.SIGINT)
        assert further.get(timeout=10) == signal.SIGINT
    assert stop.reason is not None and stop.reason.signal == signal.SIGTERM
