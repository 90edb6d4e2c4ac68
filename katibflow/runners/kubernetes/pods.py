"""Reads pods as values: which pod holds the metrics, and what is wrong with any of them.

The functions are pure: they take a pod's API object and return values. The caller keeps the time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from katibflow.runners.kubernetes.causes import CAUSES, Prospect, Reason, cause_of, prospect_of

__all__ = [
    "HAS_LOG",
    "REPLICA_LABEL",
    "Container",
    "Finding",
    "Pod",
    "failed_starts",
    "findings",
    "followed_container",
    "held_open",
    "is_taken",
    "primary_pods",
    "read_pod",
    "replica_name",
    "taken_away",
    "training_container",
]

REPLICA_LABEL = "katibflow/replica"
"""Label with the job's pod template, or type of replica, that a pod was made from."""

MESSAGE_LENGTH = 1000
"""Number of characters of a container's last message that a finding quotes."""

_OPERATOR = "training.kubeflow.org"
_INDEX_LABELS = (f"{_OPERATOR}/replica-index", "batch.kubernetes.io/job-completion-index")
_PARTS = ("metadata", "spec", "status")
_KILLED = 137  # 128 and SIGKILL


HAS_LOG = ("running", "terminated")
"""The states of a container's instance that has begun."""


@dataclass(frozen=True)
class Container:
    """The status of a container, and the parts of its spec that explain it.

    Attributes:
        init: Whether the container must end before the pod's main containers start.
        native: Whether it is a native sidecar: the kubelet starts it before the main containers,
            restarts it whatever its exit code, and ends it after them. It decides nothing.
        state: ``waiting``, ``running`` or ``terminated``; empty while nothing is known.
        restarts: Number of restarts.
        finished: The time at which it ended, as Kubernetes writes it.
        last_reason: The reason for which the previous instance ended.
        last_message: What was said of that end.
        started: Time at which the instance started; empty while it waits.
    """

    name: str
    init: bool = False
    native: bool = False
    state: str = ""
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    finished: str = ""
    restarts: int = 0
    last_reason: str = ""
    last_message: str = ""
    last_exit_code: int | None = None
    memory_limit: str = ""
    started: str = ""

    @property
    def has_log(self) -> bool:
        """Whether an instance of it has begun, so that it has a log."""
        return bool(self.restarts) or self.state in HAS_LOG


@dataclass(frozen=True)
class Pod:
    """The status of a pod.

    Attributes:
        unscheduled: Reason and message of the scheduler; empty once the pod has a node.
        disruption: Reason and message of the condition DisruptionTarget: who takes the pod away.
        restarting: Whether the kubelet restarts failed containers.
        deleting: Whether the pod was deleted and ends.
        deleted: The time of the request to delete it, if it is known.
        containers: All containers, init containers first.
    """

    name: str
    uid: str = ""
    created: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    unscheduled: tuple[str, str] | None = None
    disruption: tuple[str, str] | None = None
    restarting: bool = False
    deleting: bool = False
    deleted: datetime | None = None
    containers: tuple[Container, ...] = ()

    @property
    def is_over(self) -> bool:
        """Returns whether no container of the pod will run any more."""
        return self.phase in ("Succeeded", "Failed")

    def container(self, name: str) -> Container | None:
        """Returns the container of that name."""
        return next((item for item in self.containers if item.name == name), None)


@dataclass(frozen=True)
class Finding:
    """A fact about a pod for the user; findings are equal whatever their consequence is.

    Attributes:
        container: Name of the container; empty if the finding is about the pod as a whole.
        reason: One word: a `Reason`, or the word of Kubernetes.
        unexplained: Whether only Events can say why.
        exit_code: The exit code of the container that it is about; None without one.
        topic: Findings of the same topic about a container are reported once; empty: each text is.
    """

    pod: str
    container: str
    reason: str
    message: str
    prospect: Prospect = field(compare=False)
    unexplained: bool = field(default=False, compare=False)
    exit_code: int | None = field(default=None, compare=False)
    topic: str = field(default="", compare=False)

    def __str__(self) -> str:
        where = f"pod {self.pod}" if self.pod else ""
        where += f", container {self.container}" if self.container else ""
        text = f"{self.reason}: {self.message}" if self.message else self.reason
        return f"{where}: {text}" if where else text


def read_pod(data: Mapping[str, Any]) -> Pod:
    """Returns the pod of an API object."""
    parts: Iterator[Mapping[str, Any]] = (data.get(key) or {} for key in _PARTS)
    metadata, spec, status = parts
    conditions: Iterable[Mapping[str, Any]] = status.get("conditions") or ()
    unscheduled = _condition(conditions, "PodScheduled", "False", Reason.UNSCHEDULABLE)
    return Pod(
        name=metadata.get("name", ""),
        uid=metadata.get("uid", ""),
        created=metadata.get("creationTimestamp") or "",
        labels=dict(metadata.get("labels") or {}),
        phase=status.get("phase", "Pending"),
        reason=status.get("reason", ""),
        message=status.get("message", "").strip(),
        unscheduled=unscheduled,
        disruption=_condition(conditions, "DisruptionTarget", "True", Reason.POD_DELETED),
        restarting=spec.get("restartPolicy", "Always") != "Never",
        deleting="deletionTimestamp" in metadata,
        deleted=_deletion(metadata),
        containers=tuple(
            _container(item, status.get(f"{key}Statuses") or (), key == "initContainer")
            for key in ("initContainer", "container")
            for item in spec.get(f"{key}s") or ()
        ),
    )


def _condition(
    conditions: Iterable[Mapping[str, Any]], kind: str, status: str, otherwise: str
) -> tuple[str, str] | None:
    """Returns reason and message of a condition that has this status; None without it."""
    found = next((item for item in conditions if item.get("type") == kind), {})
    if found.get("status") != status:
        return None
    return found.get("reason") or otherwise, found.get("message", "")


def _deletion(metadata: Mapping[str, Any]) -> datetime | None:
    """Returns the time of the request to delete a pod.

    ``deletionTimestamp`` is the time at which the pod is to be gone: the grace period later.
    """
    ends = _time(metadata.get("deletionTimestamp"))
    grace = metadata.get("deletionGracePeriodSeconds") or 0
    return ends - timedelta(seconds=grace) if ends else None


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _container(
    spec: Mapping[str, Any], statuses: Iterable[Mapping[str, Any]], init: bool
) -> Container:
    name = spec.get("name", "")
    status: Mapping[str, Any] = next((item for item in statuses if item.get("name") == name), {})
    states: Mapping[str, Mapping[str, Any]] = status.get("state") or {}
    state = next(iter(states), "")
    details = states.get(state) or {}
    last = (status.get("lastState") or {}).get("terminated") or {}
    limits = (spec.get("resources") or {}).get("limits") or {}
    return Container(
        name=name,
        # a native sidecar stands among the init containers and never ends
        init=init and spec.get("restartPolicy") != "Always",
        native=init and spec.get("restartPolicy") == "Always",
        state=state,
        reason=details.get("reason", ""),
        message=_in_one_line(details.get("message", "")),
        exit_code=details.get("exitCode"),
        finished=details.get("finishedAt") or "",
        restarts=status.get("restartCount", 0),
        last_reason=last.get("reason", ""),
        last_message=_in_one_line(last.get("message", "")),
        last_exit_code=last.get("exitCode"),
        memory_limit=str(limits.get("memory", "")),
        started=details.get("startedAt") or "",
    )


def _in_one_line(message: str) -> str:
    """Returns a message without its line ends; a container may have left any text there."""
    text = " ".join(message.split())
    return text if len(text) <= MESSAGE_LENGTH else f"{text[:MESSAGE_LENGTH]}..."


def replica_name(pod: Pod) -> str:
    """Returns a pod's replica, such as ``master-0``; its own name if its labels do not say."""
    kind = pod.labels.get(REPLICA_LABEL) or pod.labels.get(f"{_OPERATOR}/replica-type")
    index = _index(pod)
    return f"{kind.lower()}-{index or 0}" if kind else pod.name


def _index(pod: Pod) -> int | None:
    texts = (pod.labels.get(label, "") for label in _INDEX_LABELS)
    return next((int(text) for text in texts if text.isdecimal()), None)


def training_container(pod: Pod, primary: str | None) -> Container | None:
    """Returns the container that does the pod's work: the primary one, or else the first."""
    mains = _mains(pod)
    return next((item for item in mains if item.name == primary), mains[0] if mains else None)


def _mains(pod: Pod) -> list[Container]:
    return [item for item in pod.containers if not (item.init or item.native)]


def followed_container(pod: Pod, primary: str | None) -> Container | None:
    """Returns the container of a primary pod whose output holds the metrics."""
    return (pod.container(primary) if primary else None) or training_container(pod, None)


def primary_pods(
    pods: Collection[Pod],
    labels: Mapping[str, str] | None,
    container: str | None,
    first_replica: str,
    expected: int,
) -> tuple[Pod, ...]:
    """Returns the pods whose output holds the metrics, oldest first: rank 0 and its replacements.

    Args:
        pods: All pods of the trial so far.
        labels: primaryPodLabels; empty for any pod. None: only the replica counts, as for a
            PyTorchJob, which has no pod with the label ``job-role: master`` if it has only workers.
        container: Name of the container with the output; None: the only container.
        first_replica: Type of the replica with rank 0, which counts if no pod has the labels;
            empty if the kind has none.
        expected: Number of the job's pods.
    """
    able = [pod for pod in pods if container is None or pod.container(container)]
    chosen = [pod for pod in able if labels is not None and labels.items() <= pod.labels.items()]
    if not chosen and first_replica and (labels is None or len(pods) >= expected):
        wanted = f"{first_replica.lower()}-0"
        chosen = [pod for pod in able if replica_name(pod) in (wanted, pod.name)]
    return tuple(
        sorted((pod for pod in chosen if not _index(pod)), key=lambda pod: (pod.created, pod.name))
    )


def findings(pod: Pod, primary: str | None, allowed_restarts: int | None) -> Iterator[Finding]:
    """Yields what is wrong with a pod, or only takes long.

    Args:
        pod: The pod.
        primary: Name of the primary container.
        allowed_restarts: The template's backoffLimit, which is the number of crashes that its
            author accepts. None without one: a container that crashes twice in a row is hopeless
            then.
    """
    if is_taken(pod):
        yield taken_away(pod)
    if is_taken(pod) or (pod.deleting and pod.phase == "Succeeded"):
        return
    if pod.phase == "Failed":
        yield _failed_pod(pod)
    if pod.is_over:
        for item in pod.containers:
            if item.restarts and pod.phase == "Succeeded" and not item.native:
                text = f"it crashed {item.restarts} times before it ended well"
                yield Finding(pod.name, item.name, Reason.RESTARTED, text, Prospect.REMARK)
        return
    if pod.unscheduled:
        reason, message = pod.unscheduled
        yield Finding(pod.name, "", reason, message, prospect_of(reason, Prospect.WAITING))
    elif pod.phase == "Pending" and not any(item.state for item in pod.containers):
        reason = pod.reason or Reason.PENDING
        yield Finding(pod.name, "", reason, pod.message, prospect_of(reason, Prospect.SLOW))
    training = training_container(pod, primary)
    states = {item.state for item in _mains(pod)}
    has_begun, is_done = bool(states & {"running", "terminated"}), states == {"terminated"}
    for item in pod.containers:
        if item.native and is_done:
            continue  # the kubelet ends it
        for finding in _container_findings(pod, item, item is training, allowed_restarts):
            yield _of_native(finding, has_begun) if item.native else finding


def _of_native(finding: Finding, has_begun: bool) -> Finding:
    """Returns a finding about a native sidecar: it can only keep the main containers waiting."""
    if has_begun:
        return replace(finding, prospect=Prospect.REMARK)
    crashes = finding.reason in (Reason.CRASH_LOOP, Reason.OUT_OF_MEMORY)
    return replace(finding, prospect=Prospect.WAITING) if crashes else finding


def _container_findings(
    pod: Pod, item: Container, is_training: bool, allowed: int | None
) -> Iterator[Finding]:
    def finding(reason: str, message: str, prospect: Prospect, *, why: str = "") -> Finding:
        code, topic = _exit_code(item), cause_of(reason).topic
        return Finding(pod.name, item.name, reason, message, prospect, not why, code, topic)

    too_often = allowed is None or item.restarts > allowed
    if _was_killed_for_memory(item) and too_often:
        prospect = CAUSES[Reason.OUT_OF_MEMORY].prospect
        text = _memory_text(item)
        yield finding(Reason.OUT_OF_MEMORY, text, prospect, why=text)
    elif item.state == "waiting":
        crashing = item.reason == Reason.CRASH_LOOP
        prospect = prospect_of(item.reason, Prospect.SETTLING if item.reason else Prospect.SLOW)
        if crashing and not too_often:
            prospect = Prospect.REMARK
        message = f"{_exit_text(item)}; {item.message}" if crashing else item.message
        why = item.last_message if crashing else item.message
        if not cause_of(item.reason).is_silent:
            yield finding(item.reason or Reason.CONTAINER_WAITING, message, prospect, why=why)
    elif item.state == "running" and item.init:
        text = "the pod waits for it to end"
        yield finding(Reason.INIT_CONTAINER_RUNNING, text, Prospect.SLOW, why=text)
    elif item.state == "terminated" and item.exit_code:
        ends_it = is_training and not pod.restarting
        prospect = Prospect.CONTROLLER if ends_it else Prospect.REMARK
        killed = item.reason == Reason.OUT_OF_MEMORY
        text = _memory_text(item) if killed else _exit_text(item)
        why = text if killed else item.message
        yield finding(item.reason or Reason.ERROR, text, prospect, why=why)
    elif item.restarts:
        why = item.last_message
        yield finding(Reason.RESTARTED, _exit_text(item), Prospect.REMARK, why=why)


def is_taken(pod: Pod) -> bool:
    """Returns whether somebody deleted a pod before it had ended, or a container had failed."""
    if not pod.deleting or pod.phase == "Succeeded":
        return False
    ended = (_time(item.finished) for item in pod.containers if item.exit_code)
    return not any(pod.deleted is None or (at is not None and at < pod.deleted) for at in ended)


def taken_away(pod: Pod) -> Finding:
    """Returns who takes away a pod that has not ended, as far as its condition says."""
    if pod.disruption:
        reason, message = pod.disruption
    else:
        reason, message = Reason.POD_DELETED, "it was deleted before it had ended"
    return Finding(pod.name, "", reason, message, Prospect.REMARK)


def failed_starts(pod: Pod) -> Iterator[tuple[tuple[str, str, str], tuple[str, int]]]:
    """Yields the starts of containers that failed in a way that cannot heal.

    Each is the failure (container, reason, message), and the instance of the container that had it.
    """
    for item in pod.containers:
        last = item.restarts if item.state == "waiting" else item.restarts - 1
        for reason, message, number in (
            (item.reason, item.message, item.restarts),
            (item.last_reason, item.last_message, last),
        ):
            if not cause_of(reason).heals:
                yield (item.name, reason, message), (pod.uid, number)


def _was_killed_for_memory(item: Container) -> bool:
    """Returns whether the container's own process was killed for want of memory.

    The runtime gives the reason OOMKilled for any process that was killed in the container; if that
    was a child, the container's exit code is what its main process made of it.
    """
    latest, last = (item.reason, item.exit_code), (item.last_reason, item.last_exit_code)
    return (Reason.OUT_OF_MEMORY.value, _KILLED) in (latest, last)


def _failed_pod(pod: Pod) -> Finding:
    failing = [item for item in pod.containers if item.exit_code and not item.native]
    failed = next(iter(failing), None)
    killed = next((item for item in failing if item.reason == Reason.OUT_OF_MEMORY), failed)
    own = (pod.reason, pod.message) if pod.reason else pod.disruption
    if own or killed is None:
        reason, message = own or (Reason.POD_FAILED, pod.message)
        prospect = prospect_of(reason, Prospect.CONTROLLER)
        return Finding(pod.name, "", reason, message, prospect, not message)
    is_memory = killed.reason == Reason.OUT_OF_MEMORY
    return Finding(
        pod.name,
        killed.name,
        killed.reason if cause_of(killed.reason).tells_more else Reason.REPLICA_FAILED,
        _memory_text(killed) if is_memory else _exit_text(killed),
        Prospect.CONTROLLER,
        not (is_memory or killed.message),
        killed.exit_code,
    )


def _memory_text(item: Container) -> str:
    limit = (
        f"its memory limit is {item.memory_limit}"
        if item.memory_limit
        else ("it has no memory limit of its own, so the node ran out")
    )
    codes = (item.exit_code, item.last_exit_code)
    code = next((each for each in codes if each is not None), _KILLED)
    if code == _KILLED:
        return f"killed for want of memory; {limit}"
    return f"a process of it was killed for want of memory, it ended with exit code {code}; {limit}"


def _exit_code(item: Container) -> int | None:
    return item.last_exit_code if item.exit_code is None else item.exit_code


def _exit_text(item: Container) -> str:
    code = _exit_code(item)
    said = item.last_message if item.exit_code is None else item.message
    text = f"exit code {code}" if code is not None else "it ended"
    text = f"{text}, started again {item.restarts} times" if item.restarts else text
    return f"{text}: {said}" if said else text


def held_open(pods: Collection[Pod], primary: str | None, expected: int) -> Finding | None:
    """Returns a pod that only a sidecar keeps alive, once the work of every replica ended well.

    Args:
        pods: All pods of the trial.
        primary: Name of the primary container.
        expected: Number of the job's pods.
    """
    holder: Finding | None = None
    done = 0
    for pod in pods:
        training = training_container(pod, primary)
        if pod.phase == "Failed" or training is None:
            continue
        if pod.phase != "Succeeded" and (training.state, training.exit_code) != ("terminated", 0):
            return None
        done += 1
        alive = [item for item in _mains(pod) if item.state == "running"]
        if pod.phase == "Running" and alive and holder is None:
            holder = Finding(
                pod.name,
                alive[0].name,
                Reason.SIDECAR_KEEPS_POD_ALIVE,
                f"{training.name} ended with exit code 0, but this container runs on",
                Prospect.CONTROLLER,
            )
    return holder if done >= expected else None
