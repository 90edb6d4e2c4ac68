"""Tells the attempts of a trial's job apart: each begins when a queue, or somebody, lets it run.

A queue such as Kueue suspends a job until there is room, and suspends it again to preempt it. The
job then begins anew, with new pods. The functions are pure; the caller keeps the time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from katibflow.runners.kubernetes.pods import Container, Pod, followed_container

__all__ = ["Attempt", "attempt_after"]


@dataclass(frozen=True)
class Attempt:
    """The present attempt of a trial's job.

    Attributes:
        number: The number of earlier attempts that did some of the trial's work.
        waits: Whether the job is suspended now, and not by katibflow.
        waited: Whether it was suspended at any time before.
        begun: Time at which the primary container first ran; None until then.
        former: The uids of the pods of earlier attempts.
    """

    number: int = 0
    waits: bool = False
    waited: bool = False
    begun: float | None = None
    former: frozenset[str] = frozenset()


def attempt_after(
    attempt: Attempt,
    *,
    suspended: bool,
    pods: Collection[Pod],
    primaries: Iterable[Pod],
    primary: str | None,
    clock: tuple[float, datetime | None],
    now: float,
) -> Attempt:
    """Returns the attempt after a change of the job or of its pods.

    Args:
        attempt: The attempt before.
        suspended: Whether the job asks for no pods, and katibflow did not stop it.
        pods: All pods of the trial.
        primaries: The pods that do the trial's work, of this attempt.
        primary: Name of the primary container.
        clock: The same moment twice: in seconds of the clock of ``now``, and by the cluster's
            clock; None if that is not known.
        now: The present time in seconds.
    """
    if suspended:
        # A pod that comes later may be of the next attempt: pods are watched apart from jobs.
        preempted = attempt.begun is not None
        old = {pod.uid for pod in pods if pod.uid and (pod.deleting or preempted)}
        number = attempt.number + preempted
        return Attempt(number, waits=True, waited=True, former=attempt.former | old)
    begun = attempt.begun
    if begun is None:
        moments = [
            _moment(container, clock, now)
            for pod in primaries
            if (container := followed_container(pod, primary)) and _has_run(container)
        ]
        begun = min(moments, default=None)
    if (attempt.waits, attempt.begun) == (False, begun):
        return attempt
    return replace(attempt, waits=False, begun=begun)


def _has_run(container: Container) -> bool:
    return bool(container.restarts) or container.state in ("running", "terminated")


def _moment(container: Container, clock: tuple[float, datetime | None], now: float) -> float:
    """Returns when a container started, as its status says: the job may be an adopted one."""
    seconds, moment = clock
    try:
        started = datetime.fromisoformat(container.started)
    except ValueError:
        return now
    if moment is None:
        return now
    started = started if started.tzinfo else started.replace(tzinfo=UTC)
    # Kubernetes keeps whole seconds, so that the container started up to a second later.
    return min(now, seconds + (started - moment).total_seconds() + 1)
