"""Follows one trial's job from its creation to its end and the end of its log.

All that happens comes as events into one inbox: changes of the job and of its pods, log lines, the
request to stop. The calling thread handles them and sleeps until the next one, or until the next
moment at which something has taken too long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from katibflow.experiment import job_kinds
from katibflow.runners.base import JobOutcome, JobState, TrialJob
from katibflow.runners.events import LogLine, MetricLine, Notice, Observer, SourceNote, Started
from katibflow.runners.kubernetes.api import Api, ApiError
from katibflow.runners.kubernetes.conditions import Conditions
from katibflow.runners.kubernetes.ending import (
    CAUSES,
    HAS_LOG,
    TAIL_LINES,
    delete_pod,
    end_job,
    explained,
    failed_log,
    outcome_logs,
)
from katibflow.runners.kubernetes.inbox import FOREVER, Inbox
from katibflow.runners.kubernetes.job_object import STATE, Shape, holds_still, was_stopped
from katibflow.runners.kubernetes.logs import Instance, LogReader
from katibflow.runners.kubernetes.metrics_registry import source_of
from katibflow.runners.kubernetes.pods import (
    Container,
    Finding,
    Pod,
    Prospect,
    findings,
    held_open,
    primary_pods,
    replica_name,
    training_container,
)
from katibflow.runners.kubernetes.watch import Changed, Gone, Outage, WatchFailed
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import time_text

__all__ = ["TrialFollower"]


@dataclass(frozen=True)
class _StopAsked:
    pass


@dataclass(frozen=True)
class _LogsDone:
    pass


@dataclass(frozen=True)
class _SourceDone:
    pass


class TrialFollower:
    """The trial that one call of `Runner.run` is about.

    Args:
        api: The namespace.
        job: The trial's job, which exists in the cluster.
        conditions: When it is over.
        labels: primaryPodLabels; None to go by the replica alone.
        retain: Whether pods of finished trials are kept.
        found: The job as it was found; None if it was just created.
        created: When it was.
        observe: Told what happens.
        stop: Ends the job early when set.

    Attributes:
        left: Once the job is over: its pods, those included that still run.
    """

    def __init__(
        self,
        api: Api,
        job: TrialJob,
        conditions: Conditions,
        labels: Mapping[str, str] | None,
        retain: bool,
        found: Mapping[str, Any] | None,
        created: datetime,
        observe: Observer,
        stop: StopRequest,
    ) -> None:
        self.inbox = Inbox()
        self.left: tuple[Pod, ...] = ()
        self._api = api
        self._timing = api.timing
        self._job = job
        self._name = job.trial.job or ""
        self._kind = job_kinds.kind_of(job.manifest)
        self._shape = Shape.of(job.manifest)
        self._conditions = conditions
        self._labels = labels
        self._retain = retain
        self._observe = observe
        self._stop = stop
        age = 0.0 if found is None else (datetime.now(UTC) - created).total_seconds()
        self._start = time_text(created)
        self._created = monotonic() - max(0.0, age)
        self._body = found
        self._deleted = False
        self._pods: dict[str, Pod] = {}
        self._logs: dict[str, str] = {}
        self._since: dict[tuple[str, ...], float] = {}
        self._told: set[str] = set()
        self._cause: Finding | None = None
        self._outages = 0
        self._all_seen = False
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._last_line = 0.0
        self._logs_done = self._source_done = False
        self._reader = LogReader(
            api,
            lambda text: self.inbox.put_line(LogLine(text)),
            lambda: self.inbox.put(_LogsDone()),
            lambda error: self.inbox.put(WatchFailed(error)),
        )
        self._source = source_of(
            api,
            job.source,
            self.inbox.put_line,
            lambda: self.inbox.put(_SourceDone()),
            lambda error: self.inbox.put(WatchFailed(error)),
        )

    def follow(self) -> JobOutcome:
        """Blocks until the job is over and its primary container's output is complete.

        Raises:
            RunnerError: The cluster cannot be followed.
        """
        unsubscribe = self._stop.subscribe(lambda: self.inbox.put(_StopAsked()))
        try:
            self._observe(Started(self._start))
            while True:
                verdict, until = self._judge()
                if verdict is not None:
                    return self._conclude(verdict)
                while isinstance(self._take(until), LogLine | MetricLine) and monotonic() < until:
                    pass  # a line changes nothing
        finally:
            unsubscribe()
            self.inbox.close()
            self._reader.cancel()
            self._source.cancel()

    # What happens

    def _take(self, until: float) -> Any | None:
        """Handles the next event, if one comes in time, and returns it."""
        event = self.inbox.get(until)
        if event is None:
            return None
        if not isinstance(event, Outage | LogLine | MetricLine):
            self._outages = 0
        match event:
            case LogLine(text):
                self._tail.append(text)
                self._last_line = monotonic()
                self._observe(event)
            case MetricLine() | SourceNote():
                self._last_line = monotonic()
                self._observe(event)
            case Changed(_, Pod() as pod):
                self._pods[pod.name] = pod
                self._pod_changed(pod)
            case Changed(_, body):
                self._body = body
            case Gone(name) if name in self._pods:
                del self._pods[name]
                self._reader.end(name)
                self._source.end(name)
            case Gone(name) if name == self._name:
                self._look_again()
            case Outage(text):
                self._outages += 1
                if self._outages == 2:
                    self._tell(f"the API server is out of reach, trying on: {text}")
            case WatchFailed(error):
                raise error
            case _LogsDone():
                self._logs_done = True
            case _SourceDone():
                self._source_done = True
        return event

    def _look_again(self) -> None:
        """The job left the watch: it was deleted, or another process put its end on record."""
        try:
            self._body = self._api.request(
                "GET", self._api.path(self._kind.api_version, self._kind.plural, self._name)
            )
        except ApiError as error:
            if error.status != 404:
                raise
            self._deleted = True

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._observe(Notice(text))

    def _pod_changed(self, pod: Pod) -> None:
        primary = self._job.primary_container
        self._logs |= outcome_logs(self._api, [pod], primary)
        present = [item for item in self._pods.values() if not item.deleting]
        self._all_seen = self._all_seen or len(present) >= self._shape.expected
        for finding in findings(pod, primary, self._shape.allowed_restarts):
            if finding.prospect is not Prospect.SLOW:
                start = self._job.limits.start
                waits = finding.prospect is Prospect.WAITING
                self._tell(f"{finding}; waits up to {start:g} s" if waits else str(finding))
            if finding.prospect is Prospect.REMARK or finding.prospect >= Prospect.CONTROLLER:
                self._cause = max(self._cause or finding, finding, key=_weight)
        for chosen in self._primary_pods():
            self._read_log(chosen)

    def _primary_pods(self) -> tuple[Pod, ...]:
        return primary_pods(
            list(self._pods.values()),
            self._labels,
            self._job.primary_container,
            self._shape.first_replica,
            self._shape.expected,
        )

    def _read_log(self, pod: Pod) -> None:
        container = _followed_container(pod, self._job.primary_container)
        if container is not None:
            self._source.pod_changed(pod, container)
        if container is None or not (container.restarts or container.state in HAS_LOG):
            return
        self._reader.restarted(pod.name, container.restarts)
        if container.restarts:
            before = Instance(pod.name, pod.uid, container.name, container.restarts - 1)
            self._reader.follow(before, ended=True)
        latest = Instance(pod.name, pod.uid, container.name, container.restarts)
        self._reader.follow(latest, ended=container.state != "running" or pod.is_over)

    # What it means

    def _judge(self) -> tuple[JobOutcome | None, float]:
        """The outcome if there is one, and when to look again without an event."""
        now = monotonic()
        if self._stop.reason is not None:
            return _outcome(JobState.STOPPED, "TrialStopped", self._stop.reason), now
        if self._deleted:
            return _outcome(JobState.FAILED, "JobDeleted", f"{self._name} was deleted"), now
        if self._body is None:
            return None, FOREVER
        reason = was_stopped(self._body)
        if reason is not None:
            return _outcome(JobState.STOPPED, "TrialStopped", reason), now
        end = self._conditions.end(self._body)
        if end is not None:
            return _outcome(end.state, end.reason, end.message), now
        state = self._body["metadata"].get("labels", {}).get(STATE)
        if state is not None:
            return _outcome(JobState.STOPPED, "TrialStopped", f"it is on record as {state}"), now
        limit = self._job.limits.trial
        deadline = FOREVER if limit is None else self._created + limit
        if now >= deadline:
            text = f"the job ran longer than {limit:g} s"
            return _outcome(JobState.FAILED, "TrialTimedOut", text), now
        if holds_still(self._kind, self._body):
            self._tell(f"{self._name} is suspended, as by a queue; waiting for its start")
            self._since.clear()
            return None, deadline
        verdict, until = self._judge_pods(now)
        return verdict, min(until, deadline)

    def _findings(self) -> Iterator[tuple[tuple[str, ...], Finding]]:
        """Each finding, under what its time is counted for."""
        primary = self._job.primary_container
        for pod in self._pods.values():
            if pod.deleting:
                continue
            for finding in findings(pod, primary, self._shape.allowed_restarts):
                scope = finding.container if finding.prospect >= Prospect.SETTLING else ""
                yield (pod.uid, scope, finding.prospect.name if scope else ""), finding
        missing = self._shape.expected - len(self._pods)
        if missing > 0 and not self._all_seen:
            text = (
                f"{missing} of {self._shape.expected} pods are not there; the controller of "
                f"{self._kind.kind} is not running, or a quota is used up"
            )
            yield ("", "", ""), Finding("", "", "PodsMissing", text, Prospect.SLOW)
        holder = held_open(list(self._pods.values()), primary, self._shape.expected)
        if holder:
            yield ("", "", holder.reason), holder

    def _judge_pods(self, now: float) -> tuple[JobOutcome | None, float]:
        start, timing = self._job.limits.start, self._timing
        current = dict[tuple[str, ...], float]()
        until, worst = FOREVER, None
        for key, finding in self._findings():
            since = current[key] = self._since.get(key, now)
            prospect = finding.prospect
            if prospect is Prospect.CONTROLLER and self._left_to_controller(finding):
                prospect = Prospect.REMARK
            tell = since + (timing.notice if prospect is Prospect.SLOW else 0.0)
            end = (
                since
                + {
                    Prospect.REMARK: FOREVER,
                    Prospect.SLOW: start,
                    Prospect.WAITING: start,
                    Prospect.SETTLING: min(timing.settle, start),
                    Prospect.CONTROLLER: timing.grace,
                    Prospect.HOPELESS: 0.0,
                }[prospect]
            )
            if now >= tell and prospect not in (Prospect.WAITING, Prospect.REMARK):
                self._tell(str(finding))
            if now >= end:
                worst = max(worst or finding, finding, key=lambda item: item.prospect)
            until = min(until, *(moment for moment in (tell, end) if moment > now), FOREVER)
        self._since = current
        if worst is None:
            return None, until
        if worst.prospect in (Prospect.SLOW, Prospect.WAITING):
            text = f"not started within {start:g} s: {worst}"
            return _outcome(JobState.FAILED, worst.reason, text), now
        state = JobState.SUCCEEDED if worst.reason == _HELD else JobState.FAILED
        self._cause = worst
        return _outcome(state, worst.reason, str(worst)), now

    def _left_to_controller(self, finding: Finding) -> bool:
        """Whether a failed pod is certain to be decided about by the job's controller.

        The Training Operator may leave a job running without one of its replicas; the controllers
        of the other kinds count failures, or start another pod after a while.
        """
        pod = self._pods.get(finding.pod)
        if pod is None or pod.phase != "Failed":
            return False
        replaced = any(
            other.phase != "Failed" and replica_name(other) == replica_name(pod)
            for other in self._pods.values()
        )
        return replaced or not self._kind.replica_specs

    # How it ends

    def _conclude(self, verdict: JobOutcome) -> JobOutcome:
        """The outcome, once what it needs is complete.

        Of a job that ended by itself that is the output of its primary container, which the other
        pods are not waited for. Whatever else ends a job leaves no pod.
        """
        by_itself = self._body is not None and self._conditions.end(self._body) is not None
        failed = verdict.state is JobState.FAILED
        if by_itself and verdict.state is not JobState.STOPPED:
            self._await(self._timing.linger, self._unread, lambda: self._is_complete(failed))
            lines = self._failed_log() if failed else []
            self._finish_logs()
            self.left = tuple(self._pods.values())
        else:
            if verdict.state is JobState.SUCCEEDED:
                self._finish_logs()
            lines = self._failed_log() if failed else []
            if not self._deleted:
                end_job(self._api, self._kind, self._name, verdict.message)
            self._await(self._timing.stop, self._alive, lambda: True)
            self._finish_logs()
        outcome = replace(verdict, logs=self._logs if self._retain else {})
        return explained(outcome, self._cause, lines or list(self._tail)) if failed else outcome

    def _failed_log(self) -> list[str]:
        return failed_log(self._api, self._cause, self._pods, self._reader)

    def _await(
        self, seconds: float, pods: Callable[[], list[Pod]], is_complete: Callable[[], bool]
    ) -> None:
        """Waits until none of the pods runs; deletes those that do not end in time.

        Args:
            seconds: How long they may take.
            pods: Those that still run.
            is_complete: Whether no more of them can be on their way, as far as is known: the job's
                end may be told before what its pods did. It is not asked after the first deletion.
        """
        until = monotonic() + seconds
        while monotonic() < until and (pods() or not is_complete()):
            self._take(until)
        for pod in pods():
            delete_pod(self._api, pod)
        until = monotonic() + self._timing.stop
        while monotonic() < until and pods():
            self._take(until)
        if names := ", ".join(pod.name for pod in pods()):
            self._tell(f"still there after the job's end: {names}")

    def _is_complete(self, failed: bool) -> bool:
        """Whether the pods that are known account for the job's end."""
        if not self._all_seen:
            return False
        if failed:  # one of them has said why, or none is left that could
            return self._cause is not None or not self._alive()
        primary = self._primary_pods()
        replaced = bool(primary) and all(pod.phase == "Failed" for pod in primary)
        return self._reader.has_begun and not replaced

    def _alive(self) -> list[Pod]:
        return [pod for pod in self._pods.values() if not pod.is_over]

    def _unread(self) -> list[Pod]:
        """The primary pods whose output, or what is read beside it, may go on."""
        return [pod for pod in self._primary_pods() if not self._has_ended(pod)]

    def _has_ended(self, pod: Pod) -> bool:
        container = _followed_container(pod, self._job.primary_container)
        if container is None or self._job.source is not None:
            return pod.is_over
        return pod.is_over or container.state == "terminated"

    def _finish_logs(self) -> None:
        """Takes what is left of the logs."""
        self._reader.end()
        self._source.end()
        self._last_line = monotonic()
        while not (self._logs_done and self._source_done):
            until = self._last_line + self._timing.log
            self._take(until)
            if monotonic() >= self._last_line + self._timing.log:
                self._tell("the log may be incomplete: its end did not arrive")
                return


def _followed_container(pod: Pod, primary: str | None) -> Container | None:
    """The container of a primary pod whose output holds the metrics."""
    return (pod.container(primary) if primary else None) or training_container(pod, None)


_HELD = "SidecarKeepsPodAlive"


def _weight(finding: Finding) -> tuple[bool, Prospect]:
    return finding.reason in CAUSES, finding.prospect


def _outcome(state: JobState, reason: str, message: str) -> JobOutcome:
    return JobOutcome(state, reason, message)
