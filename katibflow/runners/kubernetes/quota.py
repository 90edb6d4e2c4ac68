"""Tells a used-up quota from other refusals, says what uses it up, and waits for room in it.

Source: the admission plugin ResourceQuota of Kubernetes, whose refusals have a fixed form. It asks
before the API server looks whether the name is taken.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from katibflow.errors import RunnerError
from katibflow.experiment.job_kinds import JobKind
from katibflow.runners.events import Notice, Observer
from katibflow.runners.kubernetes.api import ApiError, Timing
from katibflow.runners.kubernetes.job_object import EXPERIMENT, STATE
from katibflow.runners.kubernetes.record_lifetime import lifetime_path
from katibflow.runners.kubernetes.refusals import Refusal, refusal
from katibflow.runners.stopping import StopRequest

__all__ = ["QuotaWait", "Room", "UsedUp", "explanation", "used_up"]

_EXCEEDED = re.compile(
    r"exceeded quota: (?P<quota>\S+), requested: (?P<requested>\S+), "
    r"used: (?P<used>\S+), limited: (?P<limited>\S+)"
)
_NAMED = 5
"""Number of jobs that an explanation names."""


@dataclass(frozen=True)
class UsedUp:
    """A quota that refused an object.

    Attributes:
        quota: The name of the ResourceQuota; several names, if several refuse.
        requested: The resources that the object asks for, as ``count/jobs.batch=1``.
        used: The resources that are in use.
        limited: The resources that the quota allows.
    """

    quota: str
    requested: str
    used: str
    limited: str

    def __str__(self) -> str:
        return f"quota {self.quota} is used up (used: {self.used}, limited: {self.limited})"


def used_up(error: ApiError, name: str) -> UsedUp | None:
    """Returns the quota that refused an object, or None if something else did.

    Args:
        error: The refusal.
        name: The object's name.
    """
    by = refusal("create", error.status, error.details)
    if by is not Refusal.ADMISSION or error.details.get("name") != name:
        return None
    found = _EXCEEDED.search(error.message)
    return UsedUp(**found.groupdict()) if found else None


def explanation(
    full: UsedUp, kind: JobKind, namespace: str, experiment: str, finished: Sequence[str]
) -> str:
    """Returns what fills a quota while no trial of a run runs, and what frees it.

    Args:
        full: The quota.
        kind: The kind of the trials.
        namespace: Their namespace.
        experiment: The Experiment's name.
        finished: The names of the experiment's finished jobs that are there.
    """
    text = f"{full}, and none of this run's jobs runs"
    if not finished:
        return f"{text}; no finished job of {experiment} is in it: others must free it"
    names = ", ".join(finished[:_NAMED]) + (" ..." if len(finished) > _NAMED else "")
    free = (
        f"kubectl delete {kind.plural} -n {namespace} -l {EXPERIMENT}={experiment},{STATE}"
        " deletes them, and what the run's folder has as finished stays finished"
    )
    if path := lifetime_path(kind):
        free = (
            f"spec.trialTemplate.trialSpec.{path} (0, say) keeps the records of finished trials in "
            f"ConfigMaps and deletes their jobs, these too; or {free}"
        )
    return f"{text}; {len(finished)} finished jobs of {experiment} are in it: {names}. {free}"


class Room:
    """Wakes the trials that wait for room in a quota, once another trial has ended."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ends = 0

    def trial_ended(self) -> None:
        """Wakes the waiting trials."""
        with self._changed:
            self._ends += 1
            self._changed.notify_all()

    def wait(self, seconds: float, stop: StopRequest) -> bool:
        """Waits until a trial has ended, a stop is requested or the time is over.

        Returns:
            Whether a trial has ended.
        """

        def wake() -> None:
            with self._changed:
                self._changed.notify_all()

        ends = self._ends
        unsubscribe = stop.subscribe(wake)
        try:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._ends != ends or stop.reason is not None, seconds
                )
                return self._ends != ends
        finally:
            unsubscribe()


class QuotaWait:
    """The wait of one trial that a quota refuses.

    Args:
        room: Wakes the trial.
        timing: The pauses between tries.
        limit: Seconds to wait while no trial of the run runs.
        why_full: Returns what fills a quota, or None while trials of the run run.
    """

    def __init__(
        self, room: Room, timing: Timing, limit: float, why_full: Callable[[UsedUp], str | None]
    ) -> None:
        self._room = room
        self._timing = timing
        self._limit = limit
        self._why_full = why_full
        self._told: set[str] = set()
        self._idle_since: float | None = None
        self._pause = 0.0

    def pass_time(self, full: UsedUp, observe: Observer, stop: StopRequest) -> None:
        """Tells why the trial waits, and waits until it makes sense to try again.

        Raises:
            RunnerError: No trial of the run has run for too long; it says what fills the quota.
        """
        if not self._told:
            self._tell(f"waits to be created: {full}", observe)
        why = self._why_full(full)
        if why is None:
            self._idle_since = None
        else:
            self._tell(why, observe)
            self._idle_since = self._idle_since or monotonic()
            if monotonic() - self._idle_since >= self._limit:
                raise RunnerError(f"no trial could be created for {self._limit:g} s: {why}")
        self._pause = min(self._timing.backoff_most, 2 * self._pause or self._timing.backoff)
        if self._room.wait(self._pause, stop):
            self._pause = 0.0

    def _tell(self, text: str, observe: Observer) -> None:
        if text not in self._told:
            self._told.add(text)
            observe(Notice(text))
