"""Registry of the trackers that a run can write to, and reads the option that names one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

from katibflow.errors import Fault, InputError
from katibflow.extras import require

if TYPE_CHECKING:
    from katibflow.experiment.parsing import Parts
    from katibflow.experiment.types import Experiment
    from katibflow.tracking.base import Tracker

__all__ = [
    "TRACK",
    "TRACKERS",
    "Kind",
    "Tracked",
    "check_compiled",
    "faults",
    "read_track",
    "track_of",
]

TRACK = "katibflow/track"
"""Annotation of the Experiment that names its tracker; Katib ignores it."""


@dataclass(frozen=True)
class Kind:
    """A kind of tracker.

    Attributes:
        extra: The extra of katibflow that installs its client.
        module: The module that has its class, which is imported when a run begins.
        name: The name of that class, which is made with the place that the user gave.
        place: What may follow the kind's name, in words.
        requirement: What pip installs in a pipeline's steps; "" if steps cannot write to it.
    """

    extra: str
    module: str
    name: str
    place: str
    requirement: str = ""


TRACKERS: Mapping[str, Kind] = {
    "mlflow": Kind(
        "mlflow",
        "katibflow.tracking.mlflow_tracker",
        "MlflowTracker",
        "a tracking URI, as http://HOST:5000 or sqlite:///mlflow.db; MLFLOW_TRACKING_URI by "
        "default",
        requirement="mlflow-skinny==3.17.2",
    ),
    "wandb": Kind(
        "wandb",
        "katibflow.tracking.wandb_tracker",
        "WandbTracker",
        "a project's name, the Experiment's by default; the run's folder gets W&B's offline files",
    ),
}
"""The trackers by the name that the user gives."""


@dataclass(frozen=True)
class Tracked:
    """A tracker as the user names it.

    Attributes:
        text: What the user wrote, as mlflow:http://host:5000.
        kind: The kind of tracker.
        place: What follows the kind's name; "" for its default.
    """

    text: str
    kind: Kind
    place: str

    def make(self) -> Tracker:
        """Returns a new tracker.

        Raises:
            MissingPackage: Its client is not installed.
        """
        require(self.kind.extra, f"--track {self.text}")
        made = getattr(import_module(self.kind.module), self.kind.name)
        return cast("Callable[[str], Tracker]", made)(self.place)


def read_track(text: str) -> Tracked:
    """Reads the name of a tracker and, after a colon, its place.

    Raises:
        InputError: There is no such tracker.
    """
    name, _, place = text.strip().partition(":")
    if name not in TRACKERS:
        raise InputError(f'--track: found "{text}"; allowed: {_allowed()}')
    return Tracked(text.strip(), TRACKERS[name], place)


def track_of(experiment: Experiment, given: str | None) -> Tracked | None:
    """Returns the tracker of a run: that of its option, or of the Experiment's annotation.

    Raises:
        InputError: There is no such tracker.
    """
    text = given if given is not None else experiment.metadata.annotations.get(TRACK)
    return None if text is None or text == "none" else read_track(text)


def faults(parts: Parts) -> Iterator[Fault]:
    """Yields the fault of the annotation."""
    text = parts.metadata.annotations.get(TRACK) if parts.metadata is not None else None
    if text is not None and text.strip().partition(":")[0] not in (*TRACKERS, "none"):
        yield Fault(f"metadata.annotations[{TRACK}]", f'"{text}"', _allowed())


def check_compiled(experiment: Experiment, source: str | None) -> None:
    """Checks that a pipeline is not asked for what its steps cannot do.

    Args:
        experiment: A checked Experiment.
        source: The name of its origin in the error; None for its own name.

    Raises:
        InputError: The Experiment names a tracker that steps cannot write to, or no place of it.
    """
    tracked = track_of(experiment, None)
    if tracked is not None and not (tracked.kind.requirement and tracked.place):
        able = " or ".join(f"{name}:URI" for name, kind in TRACKERS.items() if kind.requirement)
        raise InputError(
            f"{source or experiment.name}: metadata.annotations[{TRACK}]: found "
            f'"{tracked.text}"; allowed in a pipeline: none, or {able} with an address that its '
            "pods reach"
        )


def _allowed() -> str:
    return "; or ".join(f"{name}[:PLACE], with {kind.place}" for name, kind in TRACKERS.items())
