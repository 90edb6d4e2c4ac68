"""Why pods are stuck or broken: Kubernetes's reasons, each with what becomes of it, and our own.

Plain data. A reason that pods give is one line in `CAUSES`; nothing else has to know its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

__all__ = ["CAUSES", "Cause", "Prospect", "Reason", "prospect_of", "tells_more"]


class Prospect(IntEnum):
    """What becomes of a finding, the worst last.

    REMARK: goes on by itself, worth a word. SLOW: normal for a while, worth a word if it lasts.
    WAITING: may heal, within the time a trial has to start. SETTLING: may heal within a minute.
    CONTROLLER: over, unless the job's controller decides otherwise in a moment. HOPELESS: over.
    """

    REMARK = 0
    SLOW = 1
    WAITING = 2
    SETTLING = 3
    CONTROLLER = 4
    HOPELESS = 5


class Reason(StrEnum):
    """The reasons that katibflow gives itself, in an outcome or of a pod."""

    CONTAINER_WAITING = "ContainerWaiting"
    CRASH_LOOP = "CrashLoopBackOff"
    ERROR = "Error"
    INIT_CONTAINER_RUNNING = "InitContainerRunning"
    JOB_DELETED = "JobDeleted"
    JOB_FAILED = "JobFailed"
    OUT_OF_MEMORY = "OOMKilled"
    PENDING = "Pending"
    POD_FAILED = "PodFailed"
    PODS_MISSING = "PodsMissing"
    REPLICA_FAILED = "ReplicaFailed"
    RESTARTED = "Restarted"
    SIDECAR_KEEPS_POD_ALIVE = "SidecarKeepsPodAlive"
    TIMED_OUT = "TrialTimedOut"
    STOPPED = "TrialStopped"
    UNSCHEDULABLE = "Unschedulable"


@dataclass(frozen=True)
class Cause:
    """What a reason of a pod means.

    Attributes:
        prospect: What becomes of the trial. Of what counts crashes (CrashLoopBackOff, OOMKilled)
            it is what becomes of one that crashed more often than its template allows.
        tells_more: Whether it says more than the reason of the job's own condition.
        is_silent: Whether another container's finding says it better.
    """

    prospect: Prospect
    tells_more: bool = False
    is_silent: bool = False


CAUSES: Mapping[str, Cause] = {
    # a container that waits
    "ContainerCreating": Cause(Prospect.SLOW),
    "PodInitializing": Cause(Prospect.SLOW, is_silent=True),
    "ErrImagePull": Cause(Prospect.WAITING),
    "ImageInspectError": Cause(Prospect.WAITING),
    "ImagePullBackOff": Cause(Prospect.WAITING),
    "RegistryUnavailable": Cause(Prospect.WAITING),
    "ErrImageNeverPull": Cause(Prospect.HOPELESS),
    "InvalidImageName": Cause(Prospect.HOPELESS),
    Reason.CRASH_LOOP: Cause(Prospect.HOPELESS),
    # a container or a pod that ended
    Reason.OUT_OF_MEMORY: Cause(Prospect.HOPELESS, tells_more=True),
    "Evicted": Cause(Prospect.CONTROLLER, tells_more=True),
    # a pod without a node
    Reason.UNSCHEDULABLE: Cause(Prospect.WAITING),
    "SchedulingGated": Cause(Prospect.WAITING),
}
"""By the reason as Kubernetes spells it. What it does not hold means what its place says, as every
container that waits for a reason of no name here has a minute (`prospect_of`)."""


def prospect_of(reason: str, otherwise: Prospect) -> Prospect:
    """Returns what becomes of a reason, or ``otherwise`` if it is not in the table."""
    cause = CAUSES.get(reason)
    return cause.prospect if cause else otherwise


def tells_more(reason: str) -> bool:
    """Returns whether a pod's reason says more than the reason of the job's own condition."""
    cause = CAUSES.get(reason)
    return cause is not None and cause.tells_more
