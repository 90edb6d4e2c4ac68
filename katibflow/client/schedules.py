"""Reads the schedule of a recurring run: checks it and writes it as Kubeflow Pipelines reads it.

KFP parses a cron expression with robfig/cron, version 1, whose first field is seconds and whose
last may be left out. KFP would accept the usual five fields and read the minute as seconds, so that
``0 3 * * *`` ran every hour. The times are UTC, unless the installation sets
``CRON_SCHEDULE_TIMEZONE``.

Source: robfig/cron v1 ``parser.go``; KFP's ``scheduledworkflow/util/cron_schedule.go``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from katibflow.client.base import Cron, Every, Trigger
from katibflow.errors import InputError

__all__ = ["argo_schedule", "read_cron", "read_interval", "trigger_of"]

_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_INTERVAL = re.compile(r"([0-9]+[smhdw])+")
_ENTRY = re.compile(r"(\*|\?|[A-Za-z0-9]+)(?:-([A-Za-z0-9]+))?(?:/([0-9]+))?")


@dataclass(frozen=True)
class _Field:
    """One field of a cron expression.

    Attributes:
        name: The field's name, for errors.
        least: The least number allowed.
        most: The greatest number allowed.
        words: Names that stand for the numbers from ``least`` on, as ``JAN``.
    """

    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        words = f", {self.words[0]} to {self.words[-1]}" if self.words else ""
        return f"{self.least} to {self.most}{words}, *, lists, ranges and /steps"

    def number(self, text: str) -> int | None:
        """Returns the number that a text stands for, or None if it stands for none."""
        if text.upper() in self.words:
            return self.words.index(text.upper()) + self.least
        return int(text) if text.isdecimal() and self.least <= int(text) <= self.most else None

    def holds(self, text: str) -> bool:
        return all(self._holds_entry(entry) for entry in text.split(","))

    def _holds_entry(self, text: str) -> bool:
        match = _ENTRY.fullmatch(text)
        if match is None:
            return False
        first, last, step = match.groups()
        if step is not None and int(step) == 0:
            return False
        if first in ("*", "?"):
            return last is None
        start, end = self.number(first), self.number(last or first)
        return start is not None and end is not None and start <= end


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, tuple(_MONTHS)),
    _Field("day of the week", 0, 6, tuple(_DAYS)),
)


def read_cron(text: str) -> Cron:
    """Returns a cron expression as KFP reads it.

    Args:
        text: Five fields as in crontab (minute, hour, day of the month, month, day of the week),
            six with seconds first, or a word such as ``@daily``.

    Raises:
        InputError: The text is none of these.
    """
    words = text.split()
    if len(words) == 1 and words[0].startswith("@"):
        if words[0] not in _DESCRIPTORS:
            raise InputError(
                f'--schedule: found "{text}"; allowed: {", ".join(_DESCRIPTORS)}, or five fields; '
                "for intervals there is --every"
            )
        return Cron(words[0])
    if len(words) not in (5, 6):
        raise InputError(
            f'--schedule: found "{text}", {len(words)} fields; allowed: 5, as in crontab (minute '
            'hour day month weekday: "0 3 * * *" is 3:00 every day), or 6 with seconds first'
        )
    fields = words
    if len(words) == 5:
        fields = ["0", *words[:-1], ",".join(map(_without_7, words[-1].split(",")))]
    for field, part in zip(_FIELDS, fields, strict=True):
        if not field.holds(part):
            raise InputError(f'--schedule: {field.name}: found "{part}"; allowed: {field.allowed}')
    return Cron(" ".join(fields))


def _without_7(entry: str) -> str:
    """Returns an entry of crontab's weekdays in which Sunday is 0, not 7, as KFP wants it."""
    match = _ENTRY.fullmatch(entry)
    if match is None or (match[2] or match[1]) != "7":
        return entry
    first = _FIELDS[-1].number(match[1]) if match[1] != "7" else 7
    if first is None or match[3] == "0":
        return entry
    days = range(first, 8, int(match[3] or 1))
    return ",".join(str(day % 7) for day in days)


def read_interval(text: str) -> Every:
    """Returns a time between runs.

    Args:
        text: Numbers with s, m, h, d or w, as ``6h`` or ``1h30m``.

    Raises:
        InputError: The text has another form, or the time is 0 or too long.
    """
    wanted = text.strip().lower()
    parts = re.findall(r"([0-9]+)([smhdw])", wanted)
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if not _INTERVAL.fullmatch(wanted) or not 0 < seconds < 2**31:
        raise InputError(
            f'--every: found "{text}"; allowed: a time above 0 with units, as 30m, 6h, 1h30m, 1d'
        )
    return Every(seconds)


def trigger_of(schedule: str | None, every: str | None) -> Trigger | None:
    """Returns the trigger of a recurring run, or None for a run that is started now.

    Args:
        schedule: A cron expression, or None.
        every: The time between two starts, as ``6h``, or None.

    Raises:
        InputError: Both are given, or one is wrong.
    """
    if schedule is not None and every is not None:
        raise InputError("--schedule and --every: found both; allowed: one of them")
    if schedule is not None:
        return read_cron(schedule)
    return read_interval(every) if every is not None else None


def argo_schedule(trigger: Trigger) -> str:
    """Returns a trigger as a CronWorkflow has it, which knows five fields and no seconds.

    Source: robfig/cron v3 ``ParseStandard``, which Argo uses.

    Raises:
        InputError: It names seconds.
    """
    if isinstance(trigger, Every):
        return f"@every {trigger.seconds}s"
    seconds, *fields = trigger.expression.split()
    if not fields:
        return seconds  # a word, as @daily
    if seconds != "0":
        raise InputError(
            f'--schedule: found "{trigger.expression}"; allowed: five fields, as in crontab '
            '(minute hour day month weekday: "0 3 * * *" is 3:00 every day), as Argo knows no '
            "seconds"
        )
    return " ".join(fields)
