"""The table of reasons why trials are stuck or broken, each with its consequence for the trial.

It is data without logic. Each reason has one entry in `CAUSES`, and no other module uses its name.
The entries are also the reference in ``docs/troubleshooting.md``: this prints its rows::

    python -m katibflow.runners.kubernetes.causes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

__all__ = [
    "CAUSES",
    "Cause",
    "Prospect",
    "Reason",
    "cause_of",
    "prospect_of",
    "reference",
    "tells_more",
]


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
    """Katibflow's own reasons, in an outcome or for a pod, and those that it makes findings of."""

    CONTAINER_WAITING = "ContainerWaiting"
    CRASH_LOOP = "CrashLoopBackOff"
    ERROR = "Error"
    INIT_CONTAINER_RUNNING = "InitContainerRunning"
    JOB_DELETED = "JobDeleted"
    JOB_FAILED = "JobFailed"
    OUT_OF_MEMORY = "OOMKilled"
    PENDING = "Pending"
    POD_DELETED = "PodDeleted"
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
    """The meaning of a reason that a pod, an Event or a job gives.

    Attributes:
        prospect: The consequence for the trial. For crashes (CrashLoopBackOff, OOMKilled) it is the
            consequence once there are more of them than the template allows.
        who: Who says it, for people.
        seen: What happened, for people.
        do: What to do about it, for people.
        tells_more: Whether the reason says more than the one in the job's own condition.
        is_silent: Whether the reason is not reported, as another one explains it.
        is_weak: Whether any other finding explains a failure better.
        leaves_open: Whether it is a job's reason that says that the job failed, and not why.
        kills: Whether it is an Event's reason that explains why a container was killed.
        heals: Whether another start can end differently; otherwise the second identical failure
            ends the trial.
        topic: Reasons of the same topic take turns, and are reported once for a container.
    """

    prospect: Prospect
    who: str = ""
    seen: str = ""
    do: str = ""
    tells_more: bool = False
    is_silent: bool = False
    is_weak: bool = False
    leaves_open: bool = False
    kills: bool = False
    heals: bool = True
    topic: str = ""


_KUBELET, _SCHEDULER, _US = "kubelet", "scheduler", "katibflow"
_JOB = "the job's controller"
_IMAGE = "the image cannot be pulled: its name or tag, the registry's credentials or limits"
_SET_IMAGE = "set the image, or `imagePullSecrets`; the message has the registry's words"
_REFUSED = "a quota, a LimitRange, PodSecurity, a missing service account or class, or a webhook"

CAUSES: Mapping[str, Cause] = {
    # a container that waits
    "ContainerCreating": Cause(
        Prospect.SLOW,
        _KUBELET,
        "the container takes long to create, and no Event says why",
        "`kubectl describe pod`: volumes, network, a large image",
    ),
    "PodInitializing": Cause(
        Prospect.SLOW, _KUBELET, "init containers run", "see their own lines", is_silent=True
    ),
    "ErrImagePull": Cause(Prospect.WAITING, _KUBELET, _IMAGE, _SET_IMAGE, topic="image"),
    "ImagePullBackOff": Cause(Prospect.WAITING, _KUBELET, _IMAGE, _SET_IMAGE, topic="image"),
    "ImageInspectError": Cause(
        Prospect.WAITING, _KUBELET, "the node cannot read the image", "pull it anew", topic="image"
    ),
    "RegistryUnavailable": Cause(
        Prospect.WAITING, _KUBELET, "the registry does not answer", "wait for it", topic="image"
    ),
    "ErrImageNeverPull": Cause(
        Prospect.HOPELESS,
        _KUBELET,
        "`imagePullPolicy: Never`, and the node lacks the image",
        "load the image onto the nodes, or take the policy out",
    ),
    "InvalidImageName": Cause(
        Prospect.HOPELESS, _KUBELET, "the image's name cannot be one", "correct it"
    ),
    "CreateContainerConfigError": Cause(
        Prospect.SETTLING,
        _KUBELET,
        "a Secret, a ConfigMap or a key in it is missing, or `runAsNonRoot` meets a root image",
        "create it in the trials' namespace; set `runAsUser`",
    ),
    "CreateContainerError": Cause(
        Prospect.SETTLING,
        _KUBELET,
        "the container runtime refuses the container",
        "the message has its words: a subPath, a device, a working directory",
    ),
    "RunContainerError": Cause(
        Prospect.SETTLING,
        _KUBELET,
        "the container's program cannot be started",
        "correct `command`, `args` or `workingDir`",
    ),
    Reason.CRASH_LOOP: Cause(
        Prospect.HOPELESS,
        _KUBELET,
        "the container ends again and again",
        "read the last lines of its log; `backoffLimit` allows for crashes",
    ),
    # a container or a pod that ended
    Reason.OUT_OF_MEMORY: Cause(
        Prospect.HOPELESS,
        _KUBELET,
        "a container was killed for want of memory",
        "a larger `resources.limits.memory`, or a smaller range of what needs it",
        tells_more=True,
    ),
    "StartError": Cause(
        Prospect.CONTROLLER,
        _KUBELET,
        "the container's program cannot be started; the second time alike ends the trial",
        "correct `command`, `args` or `workingDir`",
        tells_more=True,
        heals=False,
    ),
    "ContainerCannotRun": Cause(
        Prospect.CONTROLLER,
        _KUBELET,
        "the same, from other container runtimes",
        "correct `command`, `args` or `workingDir`",
        tells_more=True,
        heals=False,
    ),
    "Evicted": Cause(
        Prospect.CONTROLLER,
        _KUBELET,
        "the node ran short of memory or disk, or the pod used more than its limit",
        "requests and limits nearer to the truth, `ephemeral-storage` among them",
        tells_more=True,
    ),
    "NodeLost": Cause(
        Prospect.CONTROLLER,
        "node controller",
        "the pod's node does not answer",
        "nothing if the job starts another pod; else `maxFailedTrialCount` that allows for some",
        tells_more=True,
    ),
    "DeadlineExceeded": Cause(
        Prospect.CONTROLLER,
        f"{_KUBELET} or {_JOB}",
        "it ran longer than its `activeDeadlineSeconds`",
        "raise that, or make trials shorter",
        tells_more=True,
    ),
    Reason.ERROR: Cause(
        Prospect.CONTROLLER, _KUBELET, "a container failed", "read the last lines of its log"
    ),
    Reason.REPLICA_FAILED: Cause(
        Prospect.CONTROLLER,
        _US,
        "a pod failed with its container",
        "read the last lines of its log",
    ),
    Reason.POD_FAILED: Cause(
        Prospect.CONTROLLER,
        _US,
        "a pod failed, and no container of it",
        "`kubectl describe pod`: its node, its deadline",
    ),
    Reason.RESTARTED: Cause(
        Prospect.REMARK,
        _US,
        "a container was started again",
        "nothing if it goes on; else read its log",
    ),
    # a pod that was taken away
    "EvictionByEvictionAPI": Cause(
        Prospect.CONTROLLER,
        "condition DisruptionTarget",
        "the pod was evicted, as by a drain of its node",
        "let the job retry (`backoffLimit`), or a PodDisruptionBudget",
        tells_more=True,
    ),
    "PreemptionByScheduler": Cause(
        Prospect.CONTROLLER,
        "condition DisruptionTarget",
        "the pod made room for one of a higher priority",
        "a PriorityClass, or let the job retry",
        tells_more=True,
    ),
    "DeletionByTaintManager": Cause(
        Prospect.CONTROLLER,
        "condition DisruptionTarget",
        "its node has a taint that the pod does not tolerate, as when the node is gone",
        "let the job retry, or tolerations",
        tells_more=True,
    ),
    "DeletionByPodGC": Cause(
        Prospect.CONTROLLER,
        "condition DisruptionTarget",
        "its node no longer exists",
        "let the job retry",
        tells_more=True,
    ),
    "TerminationByKubelet": Cause(
        Prospect.CONTROLLER,
        "condition DisruptionTarget",
        "the node shut down or ran short of something",
        "let the job retry",
        tells_more=True,
    ),
    Reason.POD_DELETED: Cause(
        Prospect.REMARK,
        _US,
        "somebody deleted a pod while it ran; it was not katibflow",
        "nothing if the job starts another; the API server's audit log knows who",
        tells_more=True,
        is_weak=True,
    ),
    # a pod without a node
    Reason.UNSCHEDULABLE: Cause(
        Prospect.WAITING,
        _SCHEDULER,
        "no node has room, or none fits the selector, the tolerations, the volumes",
        "fewer trials at a time, smaller `resources.requests`, or more time to start",
    ),
    "SchedulingGated": Cause(
        Prospect.WAITING,
        _SCHEDULER,
        "the pod's `schedulingGates` hold it back",
        "whoever set the gates takes them off",
    ),
    Reason.PENDING: Cause(
        Prospect.SLOW, _US, "no scheduler has seen the pod", "is the pod's `schedulerName` running?"
    ),
    Reason.CONTAINER_WAITING: Cause(
        Prospect.SLOW, _US, "a container waits and has no reason", "`kubectl describe pod`"
    ),
    Reason.INIT_CONTAINER_RUNNING: Cause(
        Prospect.SLOW,
        _US,
        "an init container runs on, and the others wait",
        "read the last lines of its log; a PyTorchJob's worker waits for its master's address",
    ),
    Reason.SIDECAR_KEEPS_POD_ALIVE: Cause(
        Prospect.CONTROLLER,
        _US,
        "the work ended well, and a container beside it runs on; the trial counts as succeeded",
        'a native sidecar, or `sidecar.istio.io/inject: "false"`',
    ),
    # Events of a pod
    "FailedMount": Cause(
        Prospect.SLOW,
        f"{_KUBELET}, Event",
        "a volume cannot be mounted: its ConfigMap, Secret, hostPath or server is not there",
        "create it in the trials' namespace, or correct the volume",
    ),
    "FailedAttachVolume": Cause(
        Prospect.SLOW,
        "attach controller, Event",
        "a disk cannot be attached, as one that another node holds",
        "a volume that several nodes may use, or fewer trials at a time",
    ),
    "FailedCreatePodSandBox": Cause(
        Prospect.SLOW,
        f"{_KUBELET}, Event",
        "the pod's network or its sandbox cannot be made",
        "the message has the network plugin's words: free addresses, a RuntimeClass's handler",
    ),
    "NetworkNotReady": Cause(
        Prospect.SLOW, f"{_KUBELET}, Event", "the node has no network yet", "wait for the node"
    ),
    "Unhealthy": Cause(
        Prospect.CONTROLLER,
        f"{_KUBELET}, Event",
        "a probe failed, and the container was killed for it",
        "a probe that the training can answer, with a larger `failureThreshold`",
        tells_more=True,
        kills=True,
    ),
    "FailedPostStartHook": Cause(
        Prospect.CONTROLLER,
        f"{_KUBELET}, Event",
        "the container's `postStart` hook failed, and the container was killed for it",
        "correct the hook",
        tells_more=True,
        kills=True,
    ),
    "BackOff": Cause(
        Prospect.SLOW,
        f"{_KUBELET}, Event",
        "it waits before it tries again",
        "see the container's own reason",
        is_silent=True,
    ),
    "Failed": Cause(
        Prospect.SLOW,
        f"{_KUBELET}, Event",
        "a container could not be made or started",
        "see the container's own reason",
        is_silent=True,
    ),
    "FailedScheduling": Cause(
        Prospect.SLOW, f"{_SCHEDULER}, Event", "no node fits", "see `Unschedulable`", is_silent=True
    ),
    # a job without its pods
    Reason.PODS_MISSING: Cause(
        Prospect.SLOW,
        _US,
        "the job has fewer pods than it asks for, and no Event says why",
        "is the job's controller running? `kubectl describe` of the job",
    ),
    "FailedCreate": Cause(
        Prospect.SLOW,
        f"{_JOB}, Event",
        f"its pods are refused: {_REFUSED}",
        "the message names which; mend the template, or have the limit raised",
        tells_more=True,
    ),
    "FailedCreatePod": Cause(
        Prospect.SLOW,
        "Training Operator, Event",
        f"its pods are refused: {_REFUSED}",
        "the message names which; mend the template, or have the limit raised",
        tells_more=True,
    ),
    "TrainJobResourcesCreationFailed": Cause(
        Prospect.SLOW,
        "Trainer, Event",
        "its JobSet is refused, as with a name that is too long",
        "the message has the reason",
        tells_more=True,
    ),
    "JobCreationFailed": Cause(
        Prospect.SLOW,
        "JobSet, Event",
        "a Job of the trial is refused",
        "the message has the reason",
        tells_more=True,
    ),
    # a job's own end
    "BackoffLimitExceeded": Cause(
        Prospect.HOPELESS,
        _JOB,
        "more pods failed than `backoffLimit` allows",
        "what follows in the message says why; read the last lines of the log",
        leaves_open=True,
    ),
    "PodFailurePolicy": Cause(
        Prospect.HOPELESS, _JOB, "a rule of `podFailurePolicy` fails the job", "read the log"
    ),
    Reason.JOB_FAILED: Cause(
        Prospect.HOPELESS,
        _US,
        "the job failed and gives no reason",
        "read the log",
        leaves_open=True,
    ),
    "ValidationFailed": Cause(
        Prospect.HOPELESS,
        "KubeRay",
        "the RayJob has a fault",
        "the message has it; correct the template",
    ),
    Reason.JOB_DELETED: Cause(
        Prospect.HOPELESS,
        _US,
        "somebody deleted the job while it ran",
        "see [JobDeleted](#jobdeleted)",
    ),
    Reason.TIMED_OUT: Cause(
        Prospect.HOPELESS,
        _US,
        "the trial ran longer than `--trial-timeout`",
        "see [it takes too long](#it-takes-too-long)",
    ),
    Reason.STOPPED: Cause(
        Prospect.HOPELESS,
        _US,
        "the trial was stopped: by Ctrl-C, a goal, early stopping",
        "nothing",
    ),
}
"""Kubernetes's reason to cause. A reason that is missing here gets the default of its position: a
container that waits for an unknown reason, for example, has a minute (`prospect_of`)."""

_UNKNOWN = Cause(Prospect.SLOW)


def cause_of(reason: str) -> Cause:
    """Returns the entry of a reason; one without any peculiarity if the table lacks it."""
    return CAUSES.get(reason, _UNKNOWN)


def prospect_of(reason: str, otherwise: Prospect) -> Prospect:
    """Returns the consequence of a reason, or ``otherwise`` if the table lacks it."""
    cause = CAUSES.get(reason)
    return cause.prospect if cause else otherwise


def tells_more(reason: str) -> bool:
    """Returns whether a pod's reason says more than the one in the job's own condition."""
    return cause_of(reason).tells_more


def reference() -> str:
    """Returns the table for ``docs/troubleshooting.md``: each reason, who says it, what to do."""
    rows = [
        f"| `{reason}` | {cause.seen} | {cause.who} | {cause.do} |"
        for reason, cause in sorted(CAUSES.items())
    ]
    head = "| reason | what is seen | who says it | what to do |\n| --- | --- | --- | --- |"
    return "\n".join([head, *rows]) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
