"""Follows a run to its end and passes its changes to a screen; says how it ended.

The run's state comes from Kubeflow Pipelines, its trials from the job objects, its steps from the
Workflow where that can be read. No one interface lets a client wait for all three, so they are
polled. What a screen does with a change is in `terminal`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Protocol

from katibflow.client.base import Run, Runs, Unreachable
from katibflow.client.kfp_logs import LogFeed
from katibflow.client.records import Records
from katibflow.client.run_view import RunView
from katibflow.client.stalls import Stall
from katibflow.client.tasks import DRIVER, LAST_STEP, is_frame
from katibflow.engine.events import TrialEnded, TrialNotice, TrialStarted, Update
from katibflow.errors import RunnerError
from katibflow.printing import counted
from katibflow.steps.presenting import decision_at_end
from katibflow.study.ending import Ending
from katibflow.study.history import History, Trial
from katibflow.study.reasons import ExperimentReason
from katibflow.study.resume import is_taken_over

__all__ = [
    "PATIENCE",
    "Screen",
    "ending_of",
    "follow",
    "steps_text",
    "updates_between",
]

PATIENCE = 600.0
"""Seconds for which the server may be unreachable while a run is followed."""

_TRIAL_STEP = "launcher"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")


class Screen(Protocol):
    """Shows a person how a run goes on."""

    def taken_over(self, trials: Sequence[Trial]) -> None:
        """Shows that the run goes on from trials of earlier runs."""

    def update(self, update: Update) -> None:
        """Shows that a trial began, is hindered, or ended."""

    def steps(self, text: str) -> None:
        """Shows how far the run is, where its trials cannot be read."""

    def note(self, text: str) -> None:
        """Shows a problem, as a server that does not answer or a run that has stalled."""


def follow(
    runs: Runs,
    run_id: str,
    records: Records | None,
    screen: Screen,
    pause: Callable[[], bool],
    patience: float = PATIENCE,
    view: RunView | None = None,
    feed: LogFeed | None = None,
) -> tuple[Run, History | None]:
    """Follows a run until it is over, or until ``pause`` returns True.

    Args:
        runs: Has the run.
        run_id: The run's id.
        records: Reads the run's trials; None where they cannot be read.
        screen: Receives every change.
        pause: Waits a while; returns True to stop following.
        patience: Seconds for which the server may be unreachable; 600 by default.
        view: Reads the run's status and finds stalls; None to use KFP's answers alone.
        feed: Reads what the step `controller` prints, which is shown where the trials cannot be
            read; None to do without.

    Returns:
        The run as last read, and its trials, or None if they could not be read.

    Raises:
        RunnerError: The server refuses, or is unreachable for longer than ``patience``.
    """
    seen: dict[int, Trial] = {}
    told: set[tuple[int, str]] = set()
    history: History | None = None
    run: Run | None = None
    stall: Stall | None = None
    shown, last_answer = "", monotonic()
    while True:
        answered = True
        try:
            run = runs.run(run_id)
        except Unreachable as error:
            if run is None or monotonic() - last_answer > patience:
                raise
            screen.note(f"{error}; it is asked again for {patience / 60:g} minutes")
            answered = False
        if answered and records is not None:
            try:
                history = records.history()
            except RunnerError as error:
                if history is None:
                    screen.note(f"the trials cannot be read from the cluster: {error}")
                    records = None
                elif monotonic() - last_answer > patience:
                    raise
                else:
                    screen.note(f"{error}; they are asked for again")
                    answered = False
        if answered:
            last_answer = monotonic()
            run, stall = _with_status(view, run, history, screen, stall)
        for update in _news(seen, told, history, screen):
            screen.update(update)
        text = steps_text(run, has_jobs=history is None)
        if not seen and text != shown:
            shown = text
            screen.steps(shown)
        if history is None and feed is not None:
            for _, line in feed.news():
                screen.steps(_TIME.sub("", line))
        if (run.is_over and answered) or pause():
            return run, history


def _news(
    seen: dict[int, Trial], told: set[tuple[int, str]], history: History | None, screen: Screen
) -> Iterator[Update]:
    """Yields what is new about the trials; tells first of those that the run took over."""
    if history is None:
        return
    earlier = [trial for trial in history.trials if is_taken_over(history, trial)]
    if earlier and not seen:
        seen.update((trial.number, trial) for trial in earlier)
        screen.taken_over(earlier)
    yield from updates_between(seen, history.trials)
    yield from _notices(told, history.trials)


def _with_status(
    view: RunView | None, run: Run, history: History | None, screen: Screen, shown: Stall | None
) -> tuple[Run, Stall | None]:
    """Returns the run with its Workflow's steps, and its stall; shows a new stall once."""
    if view is None:
        return run, None
    status = view.status(run, history)
    for reason in view.new_problems():
        screen.note(reason)
    if status.stall not in (None, shown):
        screen.note(status.message)
    return status.run, status.stall


def updates_between(seen: dict[int, Trial], trials: Sequence[Trial]) -> Iterator[Update]:
    """Yields what is new in ``trials``, by number; adds it to ``seen``."""
    for trial in trials:
        known = seen.get(trial.number)
        if known is None:
            yield TrialStarted(trial, resumed=False)
        if trial.state.is_finished and not (known and known.state.is_finished):
            yield TrialEnded(trial, {})
        seen[trial.number] = trial


def _notices(told: set[tuple[int, str]], trials: Sequence[Trial]) -> Iterator[TrialNotice]:
    """Yields what hinders running trials, each sentence once; adds it to ``told``.

    The kubelet alternates between two words for an image that it cannot pull.
    """
    for trial in trials:
        notice = (trial.number, trial.message)
        if not trial.state.is_finished and trial.message and notice not in told:
            told.add(notice)
            yield TrialNotice(trial, trial.message)


def steps_text(run: Run, has_jobs: bool = True) -> str:
    """Returns a line that says how far a run is, from its steps alone.

    Args:
        run: The run, with its steps.
        has_jobs: Whether the trials of the steps that go on may have jobs; False if the cluster
            shows that there is none yet.
    """
    trials = [step.state for step in run.steps if step.name == _TRIAL_STEP]
    over = sum(state in ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED") for state in trials)
    running = trials.count("RUNNING") if has_jobs else 0
    waiting = len(trials) - over - running
    text = run.state.lower()
    if trials:
        text += f": {counted(over, 'trial')} ended, {running} running"
        text += f", {waiting} about to start" if waiting else ""
    failed = sorted({step.name for step in run.steps if step.state == "FAILED"})
    return text + (f", failed: {', '.join(failed)}" if failed else "")


def _stopped(run: Run, failed: Sequence[str], history: History | None) -> Ending:
    """Returns the ending of a run that somebody stopped; Argo's words for that explain nothing."""
    text = f"the run was stopped, and {run.engine.title} shows it as {run.state}"
    if not {LAST_STEP, f"{LAST_STEP}{DRIVER}"}.isdisjoint(failed):
        text += f"; its step {LAST_STEP} failed"
        trials = history.trials if history is not None else ()
        if history is None or any(not trial.state.is_finished for trial in trials):
            text += f", so jobs of its trials may go on: `katibflow stop {run.run_id}` ends them"
    return Ending(False, ExperimentReason.PIPELINE_RUN_STOPPED, text)


def ending_of(run: Run, history: History | None, fault: str = "") -> Ending:
    """Returns why a run ended, or that it has not ended.

    Args:
        run: The run, with its steps.
        history: The run's trials, or None if they are not known.
        fault: What is wrong with the run's parameters; see `reading.ExperimentRun`.
    """
    faults = [fault.replace("\n", "; ")] if fault else []
    if not run.is_over:
        text = "; ".join([f"the run is {run.state}", *faults])
        return Ending(None, ExperimentReason.NOT_FINISHED, text)
    if run.state != "SUCCEEDED":
        failed = [step.name for step in run.steps if step.state == "FAILED"]
        inner = [name for name in dict.fromkeys(failed) if not is_frame(name)]
        if run.is_stopped:
            return _stopped(run, inner, history)
        parts = [f"the run is {run.state}"]
        parts += [f"failed steps: {', '.join(inner)}"] if inner else []
        parts += faults
        parts += [run.error] if run.error else []
        parts += run.causes
        return Ending(False, ExperimentReason.PIPELINE_RUN_ENDED, "; ".join(parts))
    if history is None:
        return Ending(
            True,
            ExperimentReason.PIPELINE_RUN_ENDED,
            "the run is SUCCEEDED; its report tells the rest",
        )
    return Ending.of(decision_at_end(history))
