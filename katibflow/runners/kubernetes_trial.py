"""Follows one trial's job from its creation to the last of its pods.

All that happens comes as events into one inbox: changes of the job and of its pods, log lines, the
request to stop. The calling thread handles them and sleeps until the next one, or until the next
moment at which something has taken too long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from katibflow import jobs
from katibflow.history import time_text
from katibflow.jobs import JobKind
from katibflow.runners.base import (
    JobOutcome,
    JobState,
    LogLine,
    MetricLine,
    Notice,
    Observer,
    SourceNote,
    Started,
    StopRequest,
    TrialJob,
)
from katibflow.runners.conditions import Conditions
from katibflow.runners.kubernetes_api import Api, ApiError
from katibflow.runners.kubernetes_inbox import FOREVER, Inbox
from katibflow.runners.kubernetes_logs import Instance, LogReader, tail
from katibflow.runners.kubernetes_objects import STATE, Shape, holds_still, stop_patch, was_stopped
from katibflow.runners.kubernetes_readings import source_of
from katibflow.runners.kubernetes_watch import Changed, Gone, Outage, WatchFailed
from katibflow.runners.pods import (
    Finding,
    Pod,
    Prospect,
    findings,
    held_open,
    primary_pods,
    replica_name,
    training_container,
)

__all__ = ["TrialFollower", "end_job", "outcome_logs"]

TAIL_LINES, LINE_LENGTH = 20, 500
"""What of a log gets into an outcome's message."""


@dataclass(frozen=True)
class _StopAsked:
    pass


@dataclass(frozen=True)
class _LogsDone:
    pass


@dataclass(frozen=True)
class _SourceDone:
    pass


def end_job(api: Api, kind: JobKind, name: str, reason: str) -> None:
    """Stops a job: its controller ends the pods, and the object stays where its kind allows.

    Raises:
        RunnerError: The server refuses, other than that the job is gone.
    """
    path = api.path(kind.api_version, kind.plural, name)
    try:
        body = api.request("PATCH", path, body=stop_patch(kind, reason))
        if not holds_still(kind, body):
            api.request("DELETE", path, body={"propagationPolicy": "Foreground"})
    except ApiError as error:
        if error.status != 404:
            raise


def outcome_logs(api: Api, pods: Iterable[Pod], container: str | None) -> dict[str, str]:
    """Where each replica's log is: the command that shows it."""
    return {
        replica_name(pod): f"kubectl logs -n {api.namespace} {pod.name}"
        + (f" -c {main.name}" if (main := training_container(pod, container)) else "")
        for pod in pods
    }


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
        self._api = api
        self._timing = api.timing
        self._job = job
        self._name = job.trial.job or ""
        self._kind = jobs.kind_of(job.manifest)
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
        self._no_more = False  # whether no more pods are to come
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
        """Blocks until the job is over and no replica is left.

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
        for chosen in primary_pods(
            list(self._pods.values()),
            self._labels,
            primary,
            self._shape.first_replica,
            self._shape.expected,
        ):
            self._read_log(chosen)

    def _read_log(self, pod: Pod) -> None:
        primary = self._job.primary_container
        container = (primary and pod.container(primary)) or training_container(pod, None)
        if container is not None:
            self._source.pod_changed(pod, container)
        if container is None or not (container.restarts or container.state in _HAS_LOG):
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
        by_itself = self._body is not None and self._conditions.end(self._body) is not None
        failed = verdict.state is JobState.FAILED
        if by_itself and verdict.state is not JobState.STOPPED:
            self._await_pods(self._timing.linger)
            lines = self._failed_log() if failed else []
        else:
            if verdict.state is JobState.SUCCEEDED:
                self._finish_logs()
            lines = self._failed_log() if failed else []
            if not self._deleted:
                end_job(self._api, self._kind, self._name, verdict.message)
            self._no_more = True
            self._await_pods(self._timing.stop)
        self._finish_logs()
        logs = self._logs if self._retain else {}
        if not failed:
            return JobOutcome(verdict.state, verdict.reason, verdict.message, logs)
        cause = self._cause
        reason, text = verdict.reason, verdict.message
        if cause and str(cause) not in text:
            text = f"{text}; {cause}" if text else str(cause)
            reason = cause.reason if cause.reason in _CAUSES else reason
        reason = reason or (cause.reason if cause else "JobFailed")
        lines = lines or list(self._tail)
        if lines:
            text = f"{text or reason}; the last lines of its log:\n" + "\n".join(
                line[:LINE_LENGTH] for line in lines
            )
        return JobOutcome(verdict.state, reason, text, logs)

    def _failed_log(self) -> list[str]:
        """The last lines of the container that failed, if that is not the one that is followed."""
        cause = self._cause
        if cause is None or not cause.container:
            return []
        pod = self._pods.get(cause.pod)
        container = pod.container(cause.container) if pod else None
        if pod is None or container is None or container.state not in (*_HAS_LOG, "waiting"):
            return []
        if container.state == "waiting" and container.last_exit_code is None:
            return []
        if self._reader.knows(Instance(pod.name, pod.uid, container.name, container.restarts)):
            return []
        previous = container.state == "running" and container.restarts > 0
        return tail(self._api, pod.name, container.name, TAIL_LINES, previous=previous)

    def _await_pods(self, seconds: float) -> None:
        """Waits until no pod runs; deletes those that do not end in time.

        The job's end may be told before its pods were, so the one with the log is waited for too.
        """
        for patience in (seconds, self._timing.stop):
            until = monotonic() + patience
            while monotonic() < until and (self._alive() or not self._is_complete()):
                self._take(until)
            self._no_more = True
            if not self._alive():
                return
            if patience == seconds:
                for pod in self._alive():
                    self._delete_pod(pod)
        names = ", ".join(pod.name for pod in self._alive())
        self._tell(f"still there after the job's end: {names}")

    def _is_complete(self) -> bool:
        return self._no_more or (self._all_seen and self._reader.has_begun)

    def _alive(self) -> list[Pod]:
        return [pod for pod in self._pods.values() if not pod.is_over]

    def _delete_pod(self, pod: Pod) -> None:
        try:
            self._api.request("DELETE", self._api.path("v1", "pods", pod.name))
        except ApiError as error:
            if error.status != 404:
                raise

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


_HAS_LOG = ("running", "terminated")
_HELD = "SidecarKeepsPodAlive"
_CAUSES = ("OOMKilled", "Evicted")
"""Reasons of pods that say more than the job's own."""


def _weight(finding: Finding) -> tuple[bool, Prospect]:
    return finding.reason in _CAUSES, finding.prospect


def _outcome(state: JobState, reason: str, message: str) -> JobOutcome:
    return JobOutcome(state, reason, message)
