"""Says how far the output of a trial's job was read, as a text that outlives the program.

A kubelet rotates logs, and gives only the newest file of a container: what was read before it is
not there a second time. So whoever adopts a job goes on after the last line that is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

__all__ = ["LogPosition", "nanoseconds"]

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


def nanoseconds(stamp: str) -> int | None:
    """Returns the time of a log line in nanoseconds since 1970, or None if it is no time."""
    match = _STAMP.fullmatch(stamp)
    if match is None:
        return None
    second = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
    return int(second.timestamp()) * 10**9 + int((match[2] or "").ljust(9, "0"))


@dataclass(frozen=True)
class LogPosition:
    """The place of a line in the output of a job.

    Attributes:
        job: The job's uid.
        read: Instances of containers that were read to their end, each as its pod's uid and the
            number of its restarts.
        instance: The instance that printed the line.
        stamp: The line's time, as the kubelet gives it.
        same: Number of lines up to this one that have that time.
    """

    job: str
    read: tuple[str, ...]
    instance: str
    stamp: str
    same: int

    def __str__(self) -> str:
        return f"{self.job} {','.join(self.read) or '-'} {self.instance} {self.stamp} {self.same}"

    @classmethod
    def of(cls, text: str) -> LogPosition | None:
        """Returns the position that a text holds, or None if it holds none."""
        parts = text.split(" ")
        if len(parts) != 5 or not parts[4].isdecimal() or nanoseconds(parts[3]) is None:
            return None
        job, read, instance, stamp, same = parts
        return cls(job, () if read == "-" else tuple(read.split(",")), instance, stamp, int(same))
