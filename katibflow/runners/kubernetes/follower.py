"""Follows one trial's job from its creation to its end and the end of its log.

One inbox receives all events: changes of the job and its pods, log lines, the request to stop. The
calling thread handles them. It sleeps until the next event, or until the next moment at which
something has taken too long. `verdict` decides what the events mean. A job that a queue preempts
begins anew (`attempts`): the lines of the attempt before are read no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from katibflow.experiment import job_kinds
from katibflow.runners.base import JobOutcome, JobState, TrialJob
from katibflow.runners.events import (
    LogLine,
    MetricLine,
    Notice,
    Observer,
    Queued,
    SourceNote,
    Started,
)
from katibflow.runners.kubernetes.api import Api, ApiError
from katibflow.runners.kubernetes.causes import Prospect
from katibflow.runners.kubernetes.conditions import Conditions, ended_at
from katibflow.runners.kubernetes.ending import (
    delete_pod,
    end_job,
    failed_log,
    is_taken_back,
    outcome_logs,
)
from katibflow.runners.kubernetes.event_log import EventLog, EventsAnswered
from katibflow.runners.kubernetes.events import Access, WarningEvent
from katibflow.runners.kubernetes.inbox import Inbox
from katibflow.runners.kubernetes.job_object import Shape, created_at, started_at
from katibflow.runners.kubernetes.log_position import LogPosition
from katibflow.runners.kubernetes.pods import Finding, Pod
from katibflow.runners.kubernetes.queue_notices import QueueNotices
from katibflow.runners.kubernetes.seen import (
    Seen,
    Terms,
    accounted_for,
    alive,
    present_attempt,
    primaries,
    unread,
)
from katibflow.runners.kubernetes.trial_output import LogEnded, SourceEnded, TrialOutput
from katibflow.runners.kubernetes.verdict import (
    BY_TIME,
    Standing,
    Verdict,
    judge,
    judged,
    news,
    outcome,
)
from katibflow.runners.kubernetes.waiting import Waiting
from katibflow.runners.kubernetes.watch import Changed, Gone, Outage, WatchFailed
from katibflow.runners.kubernetes.workloads import is_suspended
from katibflow.runners.stopping import StopKind, StopRequest
from katibflow.study.history import time_text

__all__ = ["TrialFollower"]

_ALL_STOP = (StopKind.REQUESTED, StopKind.SIGNAL)
"""Kinds of requests that all trials of a runner get at the same time."""

_TURN = 5.0
"""Seconds that a running trial leaves to those in the queue to stop before it."""


@dataclass(frozen=True)
class _StopAsked:
    pass


class TrialFollower:
    """Follows the trial of one call of `Runner.run`.

    Args:
        api: Requests in the namespace.
        job: The trial's job, which exists in the cluster.
        conditions: The conditions under which the job is over.
        labels: primaryPodLabels; None to go by the replica alone.
        retain: Whether pods of finished trials are kept.
        made: The job as it was created, or found.
        is_found: Whether the job was found, and is adopted.
        observe: Called with each event.
        stop: A request that ends the job early.
        events: The warnings of the namespace, for trials that nothing else explains.
        pods_now: Returns the trial's pods as the API server has them now, by name.
        waiting: The trials of the same runner that wait in a queue.

    Attributes:
        left: The job's pods once it is over, running ones included.
    """

    def __init__(
        self,
        api: Api,
        job: TrialJob,
        conditions: Conditions,
        labels: Mapping[str, str] | None,
        retain: bool,
        made: Mapping[str, Any],
        is_found: bool,
        observe: Observer,
        stop: StopRequest,
        events: EventLog,
        pods_now: Callable[[], Mapping[str, Pod]],
        waiting: Waiting,
    ) -> None:
        self.inbox = Inbox()
        self.left: tuple[Pod, ...] = ()
        self._api = api
        self._timing = api.timing
        self._job = job
        self._retain = retain
        self._observe = observe
        self._stop = stop
        self._events = events
        self._forget_events: Callable[[], None] | None = None
        self._waiting = waiting
        self._pods_now = pods_now
        created = created_at(made)
        age = (datetime.now(UTC) - created).total_seconds() if is_found else 0.0
        self._start = time_text(started_at(made))
        self._is_adopted = is_found
        self._terms = Terms(
            name=job.trial.job or "",
            kind=job_kinds.kind_of(job.manifest),
            shape=Shape.of(job.manifest),
            conditions=conditions,
            labels=labels,
            primary=job.primary_container,
            limits=job.limits,
            timing=api.timing,
            created=monotonic() - max(0.0, age),
            namespace=api.namespace,
            created_at=created if is_found else None,
        )
        self._seen = Seen(made if is_found or is_suspended(made) else None)
        self._queue = QueueNotices(api, self._terms.name)
        self._logs: dict[str, str] = {}
        self._told: set[object] = set()
        self._is_shown = False  # whether the watch has shown the job
        self._look = monotonic() + self._timing.notice
        self._outages = 0
        self._is_stopped = self._is_being_stopped = self._is_watched_over = False
        uid = str(made["metadata"].get("uid", ""))
        after = LogPosition.of(job.after)
        self._after = after if is_found and after is not None and after.job == uid else None
        self._output = TrialOutput(api, job, self.inbox, uid, self._after, self._log_lost)

    def follow(self) -> JobOutcome:
        """Blocks until the job is over and its primary container's output is complete.

        Raises:
            RunnerError: The cluster cannot be followed.
        """
        unsubscribe = self._stop.subscribe(lambda: self.inbox.put(_StopAsked()))
        forget = self._stop.leaves(self._left_behind)
        try:
            if self._seen.body is None or not is_suspended(self._seen.body):
                self._observe(Started(self._start, self._after is not None))
            while True:
                verdict = self._judge()
                if verdict.state is not None and verdict.asks:
                    self._await_events()
                    verdict = self._judge()
                if verdict.standing in BY_TIME:
                    self._look_at_all()
                    verdict = self._judge()
                if verdict.state is not None:
                    return self._conclude(verdict)
                until = verdict.until if self._is_shown else min(verdict.until, self._look)
                if verdict.attempt.waits:
                    until = min(until, self._ask_queue())
                while isinstance(self._take(until), LogLine | MetricLine) and monotonic() < until:
                    pass  # a line changes nothing
                if not self._is_shown and monotonic() >= self._look:
                    # it may have gone before the watch began, which then never tells
                    self._look = monotonic() + self._timing.notice
                    self._look_again()
        finally:
            unsubscribe()
            self._waiting.note(self._terms.name, False)
            forget()
            self.inbox.close()
            self._output.cancel()
            if self._forget_events:
                self._forget_events()

    # What happens

    def _take(self, until: float) -> Any | None:
        """Handles the next event, if one comes in time, and returns it."""
        event = self.inbox.get(until)
        if event is None:
            return None
        if not isinstance(event, Outage | LogLine | MetricLine):
            self._outages = 0
        match event:
            case Notice(text):
                self._tell(text)
            case LogLine() | MetricLine() | SourceNote():
                self._output.note(event)
                self._observe(event)
            case Changed(_, Pod() as pod):
                self._pod_changed(pod)
            case Changed(_, WarningEvent()) | EventsAnswered():
                self._learn(event)
            case Changed(_, body):
                self._job_changed(body)
            case Gone(name) if name in self._seen.pods:
                self._pod_gone(name)
            case Gone(name) if name == self._terms.name:
                self._is_shown = True
                self._look_again()
            case Outage(text):
                self._out_of_reach(text)
            case WatchFailed(error):
                raise error
            case LogEnded() | SourceEnded():
                self._output.note(event)
        return event

    def _job_changed(self, body: Mapping[str, Any]) -> None:
        self._is_shown = True
        self._seen = replace(self._seen, body=body)
        if self._is_watched_over and is_taken_back(self._terms.kind, body):
            self._end("somebody let the stopped job run again", waited=True)

    def _out_of_reach(self, text: str) -> None:
        self._outages += 1
        if self._outages == 2:
            self._tell(f"the API server is out of reach, trying on: {text}")

    def _learn(self, event: Changed[WarningEvent] | EventsAnswered) -> None:
        """Takes what the trial's Events say."""
        match event:
            case Changed(name, warning):
                self._seen = self._seen.with_warning(self._terms, name, warning)
                self._tell_news(warning.name)
            case EventsAnswered(access):
                self._seen = self._seen.with_access(self._terms, access)

    def _log_lost(self, text: str) -> None:
        """Takes, in the reader's thread, that lines are lost: for the user, and for the metrics."""
        self.inbox.put(Notice(text))
        self.inbox.put_line(SourceNote(text))

    def _look_again(self) -> None:
        """Reads the job again after it left the watch: deleted, or recorded by another process."""
        kind, name = self._terms.kind, self._terms.name
        try:
            body = self._api.request("GET", self._api.path(kind.api_version, kind.plural, name))
        except ApiError as error:
            if error.status != 404:
                raise
            self._seen = replace(self._seen, deleted=True)
        else:
            self._seen = replace(self._seen, body=body)

    def _look_at_all(self) -> None:
        """Reads the job and its pods again: the watches may have heard nothing for a while."""
        self._seen = replace(self._seen, closed=False)
        self._look_again()
        self._look_at_pods()

    def _look_at_pods(self) -> None:
        pods = self._pods_now()
        for name in self._seen.pods.keys() - pods.keys():
            self._pod_gone(name)
        for pod in pods.values():
            self._pod_changed(pod)

    def _tell(self, text: str, topic: object = None) -> None:
        """Reports a text, unless that, or something of its topic, was reported."""
        topic = topic or text
        if topic not in self._told:
            self._told.add(topic)
            self._observe(Notice(text))

    def _tell_finding(self, finding: Finding, more: str = "") -> None:
        topic = (finding.pod, finding.container, finding.topic) if finding.topic else None
        self._tell(f"{finding}{more}", topic)

    def _tell_news(self, name: str) -> None:
        """Reports what is new about a pod, if the trial has one of that name."""
        pod = self._seen.pods.get(name)
        for finding in news(self._terms, self._seen, pod) if pod else ():
            waits = finding.prospect is Prospect.WAITING
            limit = f"; waits up to {self._terms.limits.start:g} s" if waits else ""
            self._tell_finding(finding, limit)

    def _ask_events(self) -> None:
        """Asks for the trial's Events, once."""
        if self._forget_events is None:
            number = str(self._job.trial.number)
            self._forget_events = self._events.ask(number, self.inbox.put)

    def _await_events(self) -> None:
        """Waits a little for the Events that may say why the trial is over."""
        self._ask_events()
        until = monotonic() + self._timing.explain
        while self._seen.known.access is Access.UNREAD and monotonic() < until:
            self._take(until)

    def _pod_gone(self, name: str) -> None:
        self._seen = self._seen.without_pod(name)
        self._output.end(name)

    def _pod_changed(self, pod: Pod) -> None:
        self._seen = self._seen.with_pod(self._terms, pod)
        self._note_attempt()
        self._logs |= outcome_logs(self._api, [pod], self._terms.primary)
        self._tell_news(pod.name)
        self._read_logs()

    def _read_logs(self) -> None:
        """Reads the trial's output; of a job that waits only once it is known to run."""
        if not self._seen.attempt.waits:
            for chosen in primaries(self._terms, self._seen):
                self._output.read(chosen, self._terms.primary)

    def _judge(self) -> Verdict:
        """Judges what was seen so far, and reports findings that have become worth reporting."""
        asked = self._stop.reason
        stop = None if asked is None else asked.text
        self._note_attempt()
        verdict = judge(self._terms, self._seen, stop, monotonic())
        self._seen = judged(self._seen, verdict)
        if verdict.asks:
            self._ask_events()
        for finding in verdict.news:
            self._tell_finding(finding)
        return verdict

    def _note_attempt(self) -> None:
        """Reports that a queue holds the job back, releases it, or preempts it."""
        now, before, queue = monotonic(), self._seen.attempt, self._queue
        attempt = present_attempt(self._terms, self._seen, now)
        self._seen = replace(self._seen, attempt=attempt)
        if attempt.waits != before.waits:
            self._waiting.note(self._terms.name, attempt.waits)
        if attempt.waits and not before.waits:
            queue.held(now, None if before.begun is None else now - before.begun)
            if attempt.number > before.number:
                self._output.begin_anew()
            self._observe(Queued())
            self._observe(Notice(queue.text))
            self._ask_queue()
        elif before.waits and not attempt.waits:
            self._observe(Notice(queue.released(now)))
        if attempt.waited and before.begun is None and attempt.begun is not None:
            ago = timedelta(seconds=now - attempt.begun)
            self._observe(Started(time_text(datetime.now(UTC) - ago)))
            self._read_logs()

    def _ask_queue(self) -> float:
        """Reports what the queue says of the job, if that is new; returns when to ask again."""
        assert self._seen.body is not None
        text, again = self._queue.asked(self._seen.body, monotonic())
        if text:
            self._observe(Notice(text))
        return again

    def _left_behind(self) -> str:
        """Returns what is left if this process leaves now; any thread may call it."""
        job = f"{self._terms.kind.kind} {self._terms.name}"
        if not self._is_stopped:
            how = (
                "is asked to stop" if self._is_being_stopped else "runs on: it was not stopped yet"
            )
            return f"{job} {how}"
        pods = ", ".join(pod.name for pod in alive(self._seen))
        return f"{job} is stopped; " + (f"still ending: {pods}" if pods else "it has no pods left")

    # How it ends

    def _conclude(self, verdict: Verdict) -> JobOutcome:
        """Returns the outcome, once all output that it needs is complete.

        If the job ended by itself, this waits for the primary container's output, and not for the
        other pods. In all other cases no pod is left afterwards.
        """
        failed = verdict.state is JobState.FAILED
        if verdict.standing is Standing.ENDED:
            self._await(self._timing.linger, self._unread, lambda: self._is_complete(failed))
            if failed and self._seen.cause and self._seen.cause.unexplained:
                self._await_events()
            if self._seen.attempt.waited and self._seen.attempt.begun is None:
                self._observe(Started(time_text(started_at(self._seen.body or {}))))
            lines = self._failed_log() if failed else []
            self._finish_logs()
            self.left = tuple(self._seen.pods.values())
        else:
            if verdict.standing is Standing.HELD_OPEN:
                self._finish_logs()
            lines = self._failed_log() if failed else []
            if not self._seen.deleted:
                self._is_being_stopped = True
                self._end(verdict.message, self._seen.attempt.waited)
            if not alive(self._seen):  # the watch may not have told of them yet
                self._look_at_pods()
            self._is_stopped = True
            self._await(self._timing.stop, self._alive, lambda: True)
            self._finish_logs()
        logs = self._logs if self._retain else {}
        told = outcome(verdict, self._seen, logs, lines or list(self._output.tail))
        if self._is_adopted and verdict.standing is Standing.ENDED and self._seen.body is not None:
            return replace(told, end=ended_at(self._seen.body))
        return told

    def _end(self, reason: str, waited: bool) -> None:
        """Ends the job for good; sees to it that it stays so while its pods end."""
        terms, asked, attempt = self._terms, self._stop.reason, self._seen.attempt
        if attempt.waited and not attempt.waits and asked and asked.kind in _ALL_STOP:
            self._waiting.await_none(_TURN)
        lasts = end_job(
            self._api,
            terms.kind,
            terms.name,
            reason,
            self._tell,
            job=self._seen.body,
            waited=waited,
        )
        self._waiting.note(terms.name, False)
        self._is_watched_over = not lasts

    def _failed_log(self) -> list[str]:
        return failed_log(self._api, self._seen.cause, self._seen.pods, self._output.log)

    def _await(
        self, seconds: float, pods: Callable[[], list[Pod]], is_complete: Callable[[], bool]
    ) -> None:
        """Waits until none of the pods runs; deletes those that do not end in time.

        Args:
            seconds: The time limit.
            pods: Returns the pods that still run.
            is_complete: Returns whether all changes of the pods have arrived, as far as is known:
                the job's end may arrive before them. It is not called after the first deletion.
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
        return accounted_for(self._terms, self._seen, failed, self._output.log.has_begun)

    def _alive(self) -> list[Pod]:
        return alive(self._seen)

    def _unread(self) -> list[Pod]:
        return unread(self._terms, self._seen, self._job.source is not None)

    def _finish_logs(self) -> None:
        """Takes the remaining lines of the logs."""
        self._output.end()
        asked_again = False
        while not self._output.is_complete:
            patience = self._timing.log if asked_again else self._timing.log / 3
            self._take(self._output.last + patience)
            if monotonic() < self._output.last + patience:
                continue
            if asked_again:
                self._tell("the log may be incomplete: its end did not arrive")
                return
            asked_again = True  # the connection may be dead, and nobody has noticed yet
            self._output.log.ask_again()
