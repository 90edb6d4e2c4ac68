"""When files that others write are looked at again.

They are looked at, not watched: of a log that a process keeps open, as a trial's is, macOS tells
when it is closed and no earlier (FSEvents, which every watcher of folders there is made of), and a
file system of a network tells nothing of what another machine writes. A look is one read at the
end of an open file.
"""

from __future__ import annotations

__all__ = ["Pace"]

_SHORTEST = 0.01
_LONGEST = 0.1


class Pace:
    """The pauses between looks: short where something just came, longer while nothing does."""

    def __init__(self) -> None:
        self._pause = _SHORTEST

    def next(self, came: bool) -> float:
        """Returns the seconds until the next look.

        Args:
            came: Whether the last look found something.
        """
        self._pause = _SHORTEST if came else min(2 * self._pause, _LONGEST)
        return self._pause
