"""The number of runs that may follow one in Kubeflow Pipelines that can hold no more rounds.

A file gives it in an annotation that Katib ignores.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from katibflow.errors import Fault

if TYPE_CHECKING:
    from katibflow.experiment.parsing import Parts
    from katibflow.experiment.types import Experiment

__all__ = ["FURTHER_RUNS", "faults", "further_runs_of"]

FURTHER_RUNS = "katibflow/furtherRuns"

_MOST = 1000
"""A bound for what could start runs for ever."""


def further_runs_of(experiment: Experiment) -> int:
    """Returns the number in the annotation of an Experiment without faults; 0 without one."""
    return int(experiment.metadata.annotations.get(FURTHER_RUNS, 0))


def faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of the annotation."""
    text = parts.metadata.annotations.get(FURTHER_RUNS) if parts.metadata is not None else None
    if text is None:
        return
    if not (text.isascii() and text.isdigit() and int(text) <= _MOST):
        allowed = f"a number of runs, from 0 to {_MOST}"
        yield Fault(f"metadata.annotations[{FURTHER_RUNS}]", f'"{text}"', allowed)
