"""The pauses between two reads of files that other processes write.

Files are polled, not watched. macOS reports changes of a log only when its writer closes it
(FSEvents, on which every watcher there is based), and a trial keeps its log open. A network's file
system reports nothing that another machine writes. A poll is one read at the end of an open file.
"""

from __future__ import annotations

__all__ = ["Pace"]

_SHORTEST = 0.01
_LONGEST = 0.1


class Pace:
    """Computes the pauses between polls: short after new data, longer while nothing comes."""

    def __init__(self) -> None:
        self._pause = _SHORTEST

    def next(self, came: bool) -> float:
        """Returns the seconds until the next poll.

        Args:
            came: Whether the last poll found something.
        """
        self._pause = _SHORTEST if came else min(2 * self._pause, _LONGEST)
        return self._pause
