"""Passes what is said while an Experiment is submitted to the caller, as Python's warnings."""

from __future__ import annotations

import inspect
import warnings

from katibflow.errors import InputError, KatibflowError

__all__ = ["WarningListener"]

_OWN = f"{__package__.partition('.')[0]}."
"""What the names of katibflow's modules begin with."""


class WarningListener:
    """A `SubmissionListener` that passes warnings to the caller of ``Experiment.submit``.

    Args:
        source: The name of the Experiment's origin.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    def warning(self, text: str) -> None:
        """Warns of the Experiment."""
        _warn(f"{self._source}: {text}")

    def line(self, text: str) -> None:
        """Shows nothing."""

    def cluster_unavailable(self, error: KatibflowError) -> None:
        """Warns that the trials of earlier runs are not checked."""
        if isinstance(error, InputError):
            return  # the run needs no cluster, and reading its trials later raises the error
        _warn(f"earlier trials cannot be seen from here: {error}")


def _warn(text: str) -> None:
    """Warns at the line that called katibflow: the nearest one that is none of its own."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_OWN):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)
