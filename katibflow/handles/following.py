"""Follows a run by looking at it again and again, for sources that have nothing better."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from katibflow.client.following import updates_between
from katibflow.handles.base import Pause, Snapshot, Streams
from katibflow.progress.status import Status
from katibflow.study.history import Trial

__all__ = ["follow_by_looking"]


def follow_by_looking(
    look: Callable[[], Snapshot],
    is_over: Callable[[Snapshot], bool],
    pause: Pause,
    stream: Streams | None,
    poll: float,
) -> Snapshot:
    """Shows a run until it is over, or until ``pause`` returns True; returns it as last seen.

    Args:
        look: Returns the run as it is now.
        is_over: Returns whether no more comes.
        pause: Waits between two looks; returns True to stop.
        stream: Returns the stream to show it on; None to show nothing.
        poll: Seconds between two looks.

    Raises:
        KatibflowError: The run cannot be read.
    """
    from katibflow.progress.display import progress_for

    now = look()
    seen: dict[int, Trial] = {}
    progress = None
    if stream is not None and now.history is not None:
        seen = {trial.number: trial for trial in now.history.trials}
        status = Status.of(now.history.experiment, now.history.trials)
        progress = progress_for(status, stream(), since=now.created)
    with progress or nullcontext():
        while not is_over(now) and not pause(poll):
            now = look()
            trials = now.history.trials if now.history is not None else ()
            for update in updates_between(seen, trials):
                if progress is not None:
                    progress(update)
    return now
