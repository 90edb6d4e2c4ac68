"""Follows a run to its end: Kubeflow Pipelines tells its state, the job objects its trials.

The steps are those of the run's Workflow, where that can be read. None of them tells of its own
accord what a client can wait for together, so all are asked now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Protocol

from katibflow.client.base import OutOfReach, Pipelines, Run
from katibflow.client.records import Records
from katibflow.client.run_view import RunView
from katibflow.client.stalls import Stall
from katibflow.engine.events import TrialEnded, TrialStarted, Update
from katibflow.errors import RunnerError
from katibflow.steps.presenting import decision_at_end
from katibflow.study.ending import Ending
from katibflow.study.history import History, Trial
from katibflow.study.reasons import ExperimentReason

__all__ = ["PATIENCE", "Screen", "ending_of", "follow", "steps_text", "updates_between"]

PATIENCE = 600.0
"""Seconds that the server may be out of reach while a run is followed."""

_TRIAL_STEP = "launcher"


class Screen(Protocol):
    """What a person is shown."""

    def update(self, update: Update) -> None:
        """A trial began or ended."""

    def steps(self, text: str) -> None:
        """How far the run is, where its trials cannot be seen."""

    def note(self, text: str) -> None:
        """What hinders the view."""


def follow(
    pipelines: Pipelines,
    run_id: str,
    records: Records | None,
    screen: Screen,
    pause: Callable[[], bool],
    patience: float = PATIENCE,
    view: RunView | None = None,
) -> tuple[Run, History | None]:
    """Shows what happens in a run until it is over, or until ``pause`` says to go.

    Args:
        pipelines: Where it runs.
        run_id: Its id.
        records: Its trials; None where they cannot be read.
        screen: Told what is new.
        pause: Waits a while; True when the following is to end.
        patience: Seconds that the server may be out of reach.
        view: Tells how the run stands, and that it stands still; None for KFP's word alone.

    Returns:
        The run as it was last seen, and its trials, if they can be read.

    Raises:
        RunnerError: The server refuses, or is out of reach for too long.
    """
    seen: dict[int, Trial] = {}
    history: History | None = None
    run: Run | None = None
    stall: Stall | None = None
    shown, last_answer = "", monotonic()
    while True:
        answered = True
        try:
            run = pipelines.run(run_id)
        except OutOfReach as error:
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
            run, stall = _told(view, run, history, screen, stall)
        for update in updates_between(seen, history.trials if history else ()):
            screen.update(update)
        if not seen and steps_text(run) != shown:
            shown = steps_text(run)
            screen.steps(shown)
        if (run.is_over and answered) or pause():
            return run, history


def _told(
    view: RunView | None, run: Run, history: History | None, screen: Screen, told: Stall | None
) -> tuple[Run, Stall | None]:
    """The run with its true steps, and its standstill, of which the screen is told once."""
    if view is None:
        return run, None
    standing = view.standing(run, history)
    for reason in view.untold():
        screen.note(reason)
    if standing.stall not in (None, told):
        screen.note(standing.message)
    return standing.run, standing.stall


def updates_between(seen: dict[int, Trial], trials: Sequence[Trial]) -> Iterator[Update]:
    """What is new in ``trials``, in the order of their numbers; ``seen`` is brought up to date."""
    for trial in trials:
        known = seen.get(trial.number)
        if known is None:
            yield TrialStarted(trial, resumed=False)
        if trial.state.is_finished and not (known and known.state.is_finished):
            yield TrialEnded(trial, {})
        seen[trial.number] = trial


def steps_text(run: Run) -> str:
    """How far a run is, from its steps alone."""
    trials = [step.state for step in run.steps if step.name == _TRIAL_STEP]
    over = sum(state in ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED") for state in trials)
    text = run.state.lower()
    if trials:
        text += f": {over} trials ended, {len(trials) - over} running"
    failed = sorted({step.name for step in run.steps if step.state == "FAILED"})
    return text + (f", failed: {', '.join(failed)}" if failed else "")


def ending_of(run: Run, history: History | None) -> Ending:
    """Why a run ended, or how it stands.

    Args:
        run: The run, with its steps.
        history: Its trials, if they are known.
    """
    if not run.is_over:
        return Ending(None, ExperimentReason.NOT_FINISHED, f"the run is {run.state}")
    if run.state != "SUCCEEDED":
        failed = [step.name for step in run.steps if step.state == "FAILED"]
        inner = [name for name in dict.fromkeys(failed) if name not in _ENGINE_STEPS]
        parts = [f"the run is {run.state}"]
        parts += [f"failed steps: {', '.join(inner)}"] if inner else []
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


_ENGINE_STEPS = frozenset(
    {
        "executor",
        "root",
        "experiment",
        "exit-handler-1",
        "round",
        "next-round",
        "for-loop-1",
        "trials",
    }
)
"""Nodes that fail because something inside of them did."""
