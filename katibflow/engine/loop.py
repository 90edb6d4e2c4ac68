"""Runs an experiment: as many trials at a time as it allows, and a new one after each end.

One queue holds all events, and the calling thread alone handles them: it asks for suggestions,
decides, and calls the watcher. Each trial has a thread that runs its job. The thread records the
finished trial before it sends the event, so a process that is killed at any moment loses nothing
that the watcher has seen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue

from katibflow.collectors import collector_for
from katibflow.early_stopping import Rule, memory_for, rule_for
from katibflow.engine.events import (
    Decided,
    Interrupted,
    MetricReported,
    TrialEnded,
    TrialNotice,
    TrialQueued,
    TrialStarted,
    Update,
    Watcher,
)
from katibflow.engine.silence import SILENCE, Silences
from katibflow.engine.trial import collect, conclude, new_trial, now, run_trial
from katibflow.engine.workers import Workers
from katibflow.errors import KatibflowError
from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobState, Runner
from katibflow.runners.events import Event, LogLine, MetricLine, Notice, Queued, Started
from katibflow.runners.stopping import StopReason, StopRequest
from katibflow.study.decision import Decision, used_up
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.interruption import interrupted
from katibflow.study.objectives import reported_metric
from katibflow.study.reasons import TrialReason
from katibflow.study.series import Series
from katibflow.study.state import StudyState
from katibflow.suggestion.suggester import Suggester, why_over

__all__ = ["Result", "run_experiment"]


@dataclass(frozen=True)
class Result:
    """The end of a run of the engine.

    Attributes:
        history: The experiment and all trials; after an interruption some may still be RUNNING.
        decision: The last decision; it is not a final one if the run was interrupted.
        interrupted: The reason of a stop that was requested from outside; None without a request.
    """

    history: History
    decision: Decision
    interrupted: StopReason | None = None


@dataclass(frozen=True)
class _Interrupted:
    reason: StopReason


@dataclass(frozen=True)
class _Broken:
    """The thread of a trial met an error that is not the trial's fault."""

    number: int
    error: BaseException


@dataclass(frozen=True)
class _Stopped:
    """An interruption stopped a trial; the record of the trial still says RUNNING."""

    number: int


_Internal = _Interrupted | _Broken | _Stopped


def run_experiment(
    history: History,
    runner: Runner,
    *,
    watch: Watcher,
    stop: StopRequest,
    limits: Limits | None = None,
    drain: bool = False,
    silence: float = SILENCE,
    records_interrupted: bool = False,
) -> Result:
    """Runs an experiment to its end, or until a stop is requested.

    Args:
        history: The experiment and the trials on record. Those in state RUNNING are taken up again
            under their numbers.
        runner: Runs the trials. Leftover jobs are stopped at the end; the runner is not closed.
        watch: Called with each event, in the calling thread.
        stop: Ends the run early. A later call with the same records goes on from there.
        limits: Time limits of each trial.
        drain: Whether to let running trials finish when the goal is met or too many failed;
            otherwise they are stopped and recorded as KILLED, which counts for nothing.
        silence: Seconds without output after which a trial's silence is told; it is told again
            each time that twice as long has passed.
        records_interrupted: Whether the trials that ``stop`` ends are put on record as interrupted
            (`study.interruption`); otherwise they stay on record as RUNNING.

    Raises:
        RunnerError: The runner cannot run any trial. Running trials are stopped first and stay
            on record as RUNNING.
        SuggestionError: The sampler failed; as above.
        InputError: The template cannot be rendered; as above.
    """
    run = _Run(history, runner, watch, limits or Limits(), drain, silence, records_interrupted)

    def interrupt() -> None:
        if stop.reason is not None:
            run.interrupt(stop.reason)

    with ExitStack() as undo:
        undo.callback(stop.leaves(run.left))
        undo.callback(stop.subscribe(interrupt))
        return run.to_its_end()


class _Others(Collection[Trial]):
    """All trials but one in their present states, running ones with their reports so far."""

    def __init__(
        self,
        number: int,
        trials: Callable[[], Iterable[Trial]],
        reports: Mapping[int, Series],
    ) -> None:
        self._number = number
        self._trials = trials
        self._reports = reports

    def __iter__(self) -> Iterator[Trial]:
        for trial in self._trials():
            if trial.number == self._number:
                continue
            if trial.state is TrialState.RUNNING:
                reports = self._reports.get(trial.number)
                yield replace(trial, intermediate=reports.points if reports else ())
            else:
                yield trial

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, trial: object) -> bool:
        return any(trial == each for each in self)


class _Run:
    def __init__(
        self,
        history: History,
        runner: Runner,
        watch: Watcher,
        limits: Limits,
        drain: bool,
        silence: float,
        records_interrupted: bool,
    ) -> None:
        self._silences = Silences(silence, limits)
        self._begun = history
        self._state = StudyState.of(history.experiment, history.trials)
        self._memory = memory_for(history.experiment.spec, history.trials)
        self._runner = runner
        self._watch = watch
        self._limits = limits
        self._drain = drain
        self._records_interrupted = records_interrupted
        self._suggester = Suggester(history.experiment)
        self._events: SimpleQueue[Update | _Internal] = SimpleQueue()
        self._active: dict[int, StopRequest] = {}
        self._workers = Workers()
        self._reports: dict[int, Series] = {}
        self._interrupted: StopReason | None = None
        self._error: BaseException | None = None
        self._halted = threading.Event()

    def left(self) -> str:
        """Returns the trials that nobody follows if the process leaves now; for any thread."""
        return "\n".join(
            f"trial {number}: {request.left or 'its job may run on'}"
            for number, request in list(self._active.items())
        )

    def interrupt(self, reason: StopReason) -> None:
        """Requests the end of the run; any thread may call this."""
        self._events.put(_Interrupted(reason))

    @property
    def _history(self) -> History:
        """The experiment with its trials as they are now."""
        return replace(self._begun, trials=self._state.trials)

    def to_its_end(self) -> Result:
        try:
            return self._ended()
        finally:
            self._workers.close()

    def _ended(self) -> Result:
        try:
            decision = self._go()
        except BaseException as error:
            self._error = self._error or error
            self._halt("the run ended with an error")
            self._wait_for_all()
            # A job whose thread broke is followed by nobody; the error that ended the run counts.
            with suppress(KatibflowError):
                self._runner.sweep((), "the run ended with an error")
            raise
        interrupted = self._interrupted.text if self._interrupted is not None else ""
        self._runner.sweep((), decision.message or interrupted or "the run is over")
        return Result(self._history, decision, self._interrupted)

    def _go(self) -> Decision:
        decision = self._state.decision
        running = [t for t in self._state.trials if t.state is TrialState.RUNNING]
        if decision.finished:
            self._runner.sweep((), decision.message)
            for trial in running:
                self._keep(self._killed(trial, decision.message))
            self._tell(Decided(decision))
            return decision
        self._runner.sweep([trial.number for trial in running], "no trial of this run")
        for trial in running:
            self._start(trial, resumed=True)
        while self._interrupted is None:
            decision = self._state.decision
            if decision.finished:
                break
            if decision.wanted:
                # Fewer than wanted: the algorithm may wait for trials that run.
                history = self._history
                suggestions = self._suggester.suggest(history, decision.wanted)
                for number, suggestion in enumerate(suggestions, history.next_number):
                    self._start(new_trial(history, number, suggestion))
            if not self._active:
                decision = used_up(why_over(self._begun.experiment))
                break
            while not self._handle(self._next_event()):
                pass
        if decision.finished:
            self._tell(Decided(decision))
            if not self._drain:
                for request in self._active.values():
                    request.set(decision.message)
        self._wait_for_all()
        return decision

    def _next_event(self) -> Update | _Internal:
        """Waits for the next event, and meanwhile tells which trials print nothing."""
        while True:
            with suppress(Empty):
                return self._events.get(timeout=self._silences.until_next())
            for number, text in self._silences.due():
                trial = self._state.trials.get(number)
                assert trial is not None
                self._tell(TrialNotice(trial, text))

    def _put(self, trial: Trial) -> None:
        """Puts a trial into the history, where it replaces the one of its number."""
        before = self._state.trials.get(trial.number)
        self._state = self._state.with_trial(trial)
        if self._memory is not None:
            self._memory = self._memory.after(before, trial)

    def _rule(self, others: Collection[Trial]) -> Rule | None:
        """Returns the early stopping rule for a trial that is about to start."""
        if self._memory is not None:
            return self._memory.rule()
        return rule_for(self._begun.experiment.spec, others)

    def _start(self, trial: Trial, *, resumed: bool = False) -> None:
        self._put(trial)
        request = StopRequest()
        self._reports[trial.number] = Series()
        self._workers.do(f"trial-{trial.number}", partial(self._follow, trial, request, resumed))
        self._active[trial.number] = request

    def _follow(self, trial: Trial, request: StopRequest, resumed: bool) -> None:
        """Runs one trial, in the trial's own thread."""
        experiment = self._begun.experiment
        objective = reported_metric(experiment.spec.objective)
        collector = collector_for(experiment.spec)
        reports = self._reports[trial.number]

        def observe(event: Event) -> None:
            if isinstance(event, Started | LogLine | MetricLine) and self._silences.heard(
                trial.number
            ):
                self._events.put(TrialNotice(trial, "prints again"))
            if isinstance(event, Started):
                reports.clear()
                begun = trial.started(event.time)
                anew = resumed and begun.start != trial.start
                self._events.put(TrialStarted(begun, resumed, anew))
            elif isinstance(event, Queued):
                self._events.put(TrialQueued(replace(trial, start=None)))
            for metric, point in collect(collector, event):
                if metric == objective:
                    reports.append(point)
                self._events.put(MetricReported(trial.number, metric, point))
            if isinstance(event, Notice):
                self._events.put(TrialNotice(trial, event.text))

        others = _Others(trial.number, lambda: self._state.trials, self._reports)
        try:
            outcome = run_trial(
                self._runner,
                experiment,
                trial,
                observe,
                request,
                self._limits,
                others,
                lambda: self._rule(others),
            )
            if outcome.state is JobState.STOPPED and request.reason is None:
                self._halted.set()  # nobody here asked for it: the run was stopped elsewhere
                self._events.put(_Interrupted(StopReason(outcome.message)))
            finished = conclude(experiment, trial, outcome, collector)
            if finished.state is TrialState.KILLED and self._halted.is_set():
                reason = self._interrupted
                if reason is None or not self._records_interrupted:
                    self._events.put(_Stopped(trial.number))
                    return
                finished = interrupted(finished, reason.text)
            self._runner.record(finished)
            self._events.put(TrialEnded(finished, outcome.logs))
        except BaseException as error:  # it is raised again in the calling thread
            self._events.put(_Broken(trial.number, error))

    def _handle(self, event: Update | _Internal) -> bool:
        """Handles one event and returns whether there is something new to decide."""
        match event:
            case _Interrupted(reason):
                self._interrupted = self._interrupted or reason
                self._tell(Interrupted(reason.text, len(self._active)))
                self._halt(reason.text)
                return True
            case _Broken(number, error):
                self._leave(number)
                if self._error is None:
                    raise error
            case _Stopped(number):
                self._leave(number)
                self._queue_again(number)
            case TrialStarted(trial) | TrialQueued(trial):
                self._put(trial)
                self._tell(event)
            case TrialEnded(trial):
                self._leave(trial.number)
                self._put(trial)
                self._tell(event)
                return True
            case _:
                self._tell(event)
        return False

    def _tell(self, update: Update) -> None:
        # After an error the trials are only waited for, and a watcher may be what failed.
        if self._error is None:
            self._watch(update)

    def _halt(self, reason: str) -> None:
        """Stops all trials so that they stay on record as RUNNING."""
        self._halted.set()
        for request in self._active.values():
            request.set(reason)

    def _leave(self, number: int) -> None:
        self._silences.forget(number)
        self._reports.pop(number, None)
        del self._active[number]

    def _queue_again(self, number: int) -> None:
        """Withdraws the start of a trial whose job was stopped and will be created anew."""
        stopped = self._state.trials.get(number)
        assert stopped is not None
        self._put(replace(stopped, start=None))

    def _wait_for_all(self) -> None:
        while self._active:
            self._handle(self._next_event())

    def _killed(self, trial: Trial, message: str) -> Trial:
        return replace(
            trial, state=TrialState.KILLED, reason=TrialReason.KILLED, message=message, end=now()
        )

    def _keep(self, trial: Trial) -> None:
        self._runner.record(trial)
        self._put(trial)
