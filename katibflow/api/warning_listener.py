"""Passes what is said while an Experiment is submitted to the caller, as Python's warnings."""

from __future__ import annotations

import warnings

from katibflow.errors import InputError, KatibflowError

__all__ = ["WarningListener"]


class WarningListener:
    """A `SubmissionListener` that passes warnings to the caller of ``Experiment.submit``.

    Args:
        source: The name of the Experiment's origin.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    def warning(self, text: str) -> None:
        """Warns of the Experiment."""
        # Frames up to the caller: this method, the client's, two of the handles', and
        # `Experiment.submit`.
        warnings.warn(f"{self._source}: {text}", stacklevel=6)

    def line(self, text: str) -> None:
        """Shows nothing."""

    def cluster_unavailable(self, error: KatibflowError) -> None:
        """Warns that the trials of earlier runs are not checked."""
        if isinstance(error, InputError):
            return  # the run needs no cluster, and reading its trials later raises the error
        # The frames as above, and two methods of the cluster.
        warnings.warn(f"earlier trials cannot be seen from here: {error}", stacklevel=8)
