"""Ends what a trial has turned into a daemon, at the end of the run, on Linux.

A program that leaves its session, closes its files and empties its environment bears no mark of its
trial any more (`members`). On Linux the process that runs the trials becomes their subreaper: it
inherits what has lost its parent, so that nothing of a trial is out of its sight.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from katibflow.runners.local.ending import KILL_GRACE

__all__ = ["daemons_end"]

_PR_SET_CHILD_SUBREAPER = 36
"""Source: prctl(2), linux/prctl.h."""

_GONE_LIMIT = 10.0
"""Seconds that a killed process may take to end."""


@contextmanager
def daemons_end() -> Iterator[None]:
    """Ends the processes that this one inherits while the block runs, unless the block fails.

    The process must do nothing but run trials: any other child of its own, if it leads a session,
    would be taken for a trial's. Elsewhere than on Linux this does nothing.
    """
    before = frozenset(psutil.Process().children())
    is_reaper = _become_subreaper()
    yield
    if not is_reaper:
        return
    _end_inherited(before)


def _become_subreaper() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (AttributeError, OSError):
        return False
    return bool(prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def _end_inherited(before: frozenset[psutil.Process]) -> None:
    kill_at = time.monotonic() + KILL_GRACE
    while found := _inherited(before):
        now = time.monotonic()
        if now > kill_at + _GONE_LIMIT:
            return  # one that hangs in the kernel: nobody can end it
        for process in found:
            with suppress(psutil.Error):
                process.kill() if now >= kill_at else process.terminate()
        # This reaps them, too, as they are children of this process.
        psutil.wait_procs(found, timeout=min(1.0, KILL_GRACE))


def _inherited(before: frozenset[psutil.Process]) -> list[psutil.Process]:
    """Returns the children that lead or have left for a session of their own, and their children.

    The processes that katibflow itself starts beside trials stay in its session.
    """
    own = os.getsid(0)
    found: list[psutil.Process] = []
    for child in psutil.Process().children():
        with suppress(psutil.Error, OSError):
            if child not in before and os.getsid(child.pid) != own:
                found += [child, *child.children(recursive=True)]
    return found
