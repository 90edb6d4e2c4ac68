"""The errors that katibflow raises on purpose, and the faults that an Experiment can have.

The tree::

    KatibflowError
    ├─ InputError             the user's input is wrong; nothing was started (exit code 2)
    │  ├─ InvalidExperiment   an Experiment has faults, all of them listed
    │  └─ NoSuchRun           no run has the name, the id or the path
    ├─ HistoryError           a study history cannot be read or does not fit
    ├─ SuggestionError        the sampler could not make a suggestion
    ├─ MissingPackage         an optional package is needed and not installed
    └─ RunnerError            the place that runs the trials cannot run any
       └─ RunBusy             another process runs the same experiment
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from katibflow.printing import visible

__all__ = [
    "MOST_FAULTS",
    "Fault",
    "HistoryError",
    "InputError",
    "InvalidExperiment",
    "KatibflowError",
    "MissingPackage",
    "NoSuchRun",
    "RunBusy",
    "RunnerError",
    "SuggestionError",
]

MOST_FAULTS = 1000
"""Faults of an input that are looked for; nobody reads more, and a foreign file may have any."""

_SHOWN_FAULTS = 50
"""Faults that an error's text has."""

_LONGEST_FOUND = 500
"""Characters of a value that a fault's text has."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an input.

    Attributes:
        path: The field's path in the file's own names, as ``spec.parameters[0].feasibleSpace.min``.
        found: The value in the file, as a short text; empty if the field is missing.
        allowed: The values that would be right, as a phrase that follows "allowed:".

    ``str`` makes one line of a fault, cuts a long value or path, and escapes the characters that
    cannot be printed.
    """

    path: str
    found: str
    allowed: str

    def __str__(self) -> str:
        found = f"found {_cut(self.found)}" if self.found else "missing"
        text = f"{_cut(self.path)}: {found}; allowed: {self.allowed}"
        return visible(text, lines=False)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_FOUND else f"{text[:_LONGEST_FOUND]}..."


class KatibflowError(Exception):
    """The root of all errors that katibflow raises on purpose.

    Its text may have parts that others wrote, as a trial's last lines; what is not printable is
    escaped in it, as Python prints it to a terminal where nobody catches it.
    """

    def __str__(self) -> str:
        """Returns the text, as a terminal may show it."""
        return visible(super().__str__())


class InputError(KatibflowError):
    """The user's input is wrong, and nothing was started."""


class InvalidExperiment(InputError):
    """An Experiment has faults.

    The text has the first 50 of them, and how many more there are.

    Args:
        source: The file's name, or another name of the text's origin.
        faults: All faults, in the file's order; `MOST_FAULTS` of them are kept.
    """

    def __init__(self, source: str, faults: Iterable[Fault]) -> None:
        self.source = source
        found = tuple(islice(faults, MOST_FAULTS + 1))
        self.faults = found[:MOST_FAULTS]
        lines = [f"{source}: {fault}" for fault in self.faults[:_SHOWN_FAULTS]]
        if len(self.faults) > len(lines):
            count = f"{len(self.faults) - len(lines)} more faults"
            lines.append(f"{source}: {'more than ' if len(found) > MOST_FAULTS else ''}{count}")
        super().__init__("\n".join(lines))


class NoSuchRun(InputError):
    """No run has the name, the id or the path that the user gives."""


class HistoryError(KatibflowError):
    """A study history cannot be read, or belongs to another experiment."""


class SuggestionError(KatibflowError):
    """The sampler could not make a suggestion."""


class MissingPackage(InputError):
    """A command or an Experiment needs an optional package that is not installed.

    Args:
        package: The package's name for pip, or the module's name if an extra installs the package.
        needed_by: The command or field that needs the package, in the user's own terms.
        extra: The extra of katibflow that installs the package; None if there is no such extra.
    """

    def __init__(self, package: str, needed_by: str, extra: str | None = None) -> None:
        self.package = package
        self.extra = extra
        if extra is None:
            text = f"the package {package!r}: pip install {package}"
        else:
            text = f"katibflow[{extra}]: pip install 'katibflow[{extra}]'"
        super().__init__(f"{needed_by} needs {text}")


class RunnerError(KatibflowError):
    """The place that runs the trials cannot run any."""


class RunBusy(RunnerError):
    """Another process runs the same experiment."""
