"""The table of reasons why pods are stuck or broken, each with its consequence for the trial.

It is data without logic. Each reason that pods give has one line in `CAUSES`, and no other module
uses its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

__all__ = ["CAUSES", "Cause", "Prospect", "Reason", "prospect_of", "tells_more"]


class Prospect(IntEnum):
    """The consequence of a finding for its trial, the worst last.

    REMARK: the trial goes on; the finding is reported. SLOW: this is normal for a while, and is
    reported if it lasts. WAITING: it may recover within the time a trial has to start. SETTLING: it
    may recover within a minute. CONTROLLER: the trial is over unless the job's controller soon
    decides otherwise. HOPELESS: the trial is over.
    """

    REMARK = 0
    SLOW = 1
    WAITING = 2
    SETTLING = 3
    CONTROLLER = 4
    HOPELESS = 5


class Reason(StrEnum):
    """Katibflow's own reasons, in an outcome or for a pod."""

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
    """The meaning of a reason that a pod gives.

    Attributes:
        prospect: The consequence for the trial. For crashes (CrashLoopBackOff, OOMKilled) it is the
            consequence once there are more of them than the template allows.
        tells_more: Whether the reason says more than the one in the job's own condition.
        is_silent: Whether the reason is not reported, as another container's finding explains it.
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
"""Kubernetes's reason to cause. A reason that is missing here gets the default of its position: a
container that waits for an unknown reason, for example, has a minute (`prospect_of`)."""


def prospect_of(reason: str, otherwise: Prospect) -> Prospect:
    """Returns the consequence of a reason, or ``otherwise`` if the table lacks it."""
    cause = CAUSES.get(reason)
    return cause.prospect if cause else otherwise


def tells_more(reason: str) -> bool:
    """Returns whether a pod's reason says more than the one in the job's own condition."""
    cause = CAUSES.get(reason)
    return cause is not None and cause.tells_more
