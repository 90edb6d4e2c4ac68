"""Decides whether a run has stalled, and says what to do about that.

A step that takes hours is no stall, as a trial's job or a step's pod runs. A run has stalled when
nothing runs and nothing has changed for a while, as when Argo can no longer store its Workflow, or
Argo's controller is gone. The functions here only judge what `run_view` has read.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from katibflow.client.base import Run
from katibflow.client.reading import ExperimentRun
from katibflow.client.workflow import StepPod, Workflow
from katibflow.runners.kubernetes.owner import KFP_RUN
from katibflow.steps.run_parameters import run_parameters
from katibflow.steps.starting import ROUNDS
from katibflow.study.history import History
from katibflow.study.resume import ALL, NONE, run_name

__all__ = [
    "FULL",
    "STALL",
    "UNSEEN",
    "Facts",
    "Stall",
    "advice",
    "engine_stall_of",
    "has_trials",
    "is_overdue",
    "last_change",
    "resuming",
    "seems_to_run",
    "stall_data",
    "stall_of",
    "stall_text",
]

STALL = 300.0
"""Seconds without a change after which a run in which nothing runs has stalled."""

UNSEEN = 3600.0
"""Seconds for the same, while a trial seems to run whose job and pod cannot be read."""

FULL = 0.95
"""Share of the size limit from which a Workflow that does not change counts as full.

The object lacks the change that Argo could not store; one step is about 1 % of the limit.
"""

_GOING = ("PENDING", "RUNNING", "CANCELING")
_TRIAL_STEPS = ("launcher", "controller")


@dataclass(frozen=True)
class Facts:
    """What is known about a run, besides when it last changed.

    Attributes:
        trial_seems_to_run: Whether a step that follows trials is on record as running.
        workflow: The run's Workflow; None where that cannot be read.
        jobs: The number of trials' jobs that have not ended; None where they cannot be read.
        pods: The steps' pods that have not ended; None where they cannot be read.
        is_gone: Whether the cluster has no Workflow of the run.
    """

    trial_seems_to_run: bool = False
    workflow: Workflow | None = None
    jobs: int | None = None
    pods: tuple[StepPod, ...] | None = None
    is_gone: bool = False


@dataclass(frozen=True)
class Stall:
    """A run's stall. Two stalls are equal if nothing has changed between them.

    Attributes:
        since: When the run last changed.
        engine_seen: Whether the Workflow was read; False if only Kubeflow Pipelines answered.
        size: The Workflow's size in bytes if its size is the cause, or else None.
        limit: The greatest size in bytes; 0 if the size is not the cause.
        waiting: Steps whose pods wait to start, as "launcher (Unschedulable)".
        is_gone: Whether the cluster has no Workflow of the run: somebody has deleted it.
    """

    since: datetime
    engine_seen: bool
    size: int | None = None
    limit: int = 0
    waiting: tuple[str, ...] = ()
    is_gone: bool = False

    @property
    def is_final(self) -> bool:
        """Whether no engine can go on with the run."""
        return self.size is not None or self.is_gone


def last_change(run: Run, history: History | None, workflow: Workflow | None) -> datetime:
    """Returns when a step or a trial last began or ended, or else when the run was created.

    Args:
        run: The run, with its steps.
        history: The run's trials, or None if they are not known.
        workflow: The run's Workflow, whose times are used instead of KFP's; None if not read.
    """
    steps = workflow.changed if workflow is not None else run.changed or run.created
    trials = history.trials if history is not None else ()
    times = [text for trial in trials for text in (trial.start, trial.end) if text]
    return max([steps, run.created, *map(datetime.fromisoformat, times)])


def is_overdue(run: Run, now: datetime, changed: datetime) -> bool:
    """Returns whether a run that goes on has not changed for so long that it may have stalled."""
    return run.state in _GOING and (now - changed).total_seconds() >= STALL


def stall_of(now: datetime, changed: datetime, facts: Facts) -> Stall | None:
    """Returns the stall of a run that goes on, or None if it changed lately or something runs.

    Args:
        now: The present time.
        changed: When the run last changed; see `last_change`.
        facts: What else is known about the run.
    """
    seconds, workflow, pods = (now - changed).total_seconds(), facts.workflow, facts.pods
    if seconds < STALL or facts.jobs or any(pod.phase == "Running" for pod in pods or ()):
        return None
    is_full = workflow is not None and _is_full(workflow)
    # A full Workflow still says "running" of a step that has ended since.
    may_run = facts.trial_seems_to_run and facts.jobs is None and pods is None
    if may_run and not is_full and seconds < UNSEEN:
        return None
    waiting = sorted(
        f"{pod.step} ({pod.reason or pod.phase})" for pod in pods or () if pod.phase == "Pending"
    )
    blamed = workflow if is_full else None
    return Stall(
        since=changed,
        engine_seen=workflow is not None,
        size=blamed.size if blamed is not None else None,
        limit=blamed.limit if blamed is not None else 0,
        waiting=tuple(waiting),
        is_gone=facts.is_gone,
    )


def engine_stall_of(run: Run, now: datetime, workflow: Workflow | None) -> Stall | None:
    """Returns signs that the engine may not act, or None without any.

    The signs are a Workflow that has not changed for long, or that is nearly full. The run may be
    well all the same, as while a trial takes hours, so a caller has to watch whether the engine
    acts.
    """
    if workflow is None or run.state not in _GOING:
        return None
    is_full = _is_full(workflow)
    if not is_full and not is_overdue(run, now, workflow.changed):
        return None
    size, limit = (workflow.size, workflow.limit) if is_full else (None, 0)
    return Stall(workflow.changed, engine_seen=True, size=size, limit=limit)


def _is_full(workflow: Workflow) -> bool:
    return workflow.size >= FULL * workflow.limit


def seems_to_run(run: Run) -> bool:
    """Returns whether a step that follows trials is on record as running."""
    return any(step.name in _TRIAL_STEPS and step.state == "RUNNING" for step in run.steps)


def stall_text(stall: Stall, now: datetime) -> str:
    """Returns a line that says what is known about a stall.

    Args:
        stall: The stall.
        now: The present time.
    """
    minutes = f"{max(0.0, (now - stall.since).total_seconds()) / 60:.0f} min"
    if stall.size is not None:
        return (
            f"no step has changed for {minutes}; the workflow object has {stall.size:,} of "
            f"{stall.limit:,} bytes, and past that Argo stores nothing"
        )
    if stall.is_gone:
        return (
            f"no step has changed for {minutes}; the cluster has no workflow of the run: it was "
            "deleted, or is in another cluster or namespace"
        )
    if stall.waiting:
        return (
            f"no step has changed for {minutes}; pods wait for their start: "
            f"{', '.join(stall.waiting)}"
        )
    if stall.engine_seen:
        return f"no step has changed for {minutes}; is the workflow controller running?"
    return f"Kubeflow Pipelines shows no change for {minutes}; is the workflow controller running?"


def advice(
    stall: Stall, experiment_run: ExperimentRun, namespace: str, history: History | None = None
) -> tuple[str, ...]:
    """Returns what to do about a stall, a line each; commands are indented.

    Args:
        stall: The stall.
        experiment_run: The run.
        namespace: The namespace of the run's pods; "" if that is not known.
        history: The run's trials, or None if they are not known.
    """
    run_id = experiment_run.run.run_id
    if stall.is_final:
        return (
            "it will not end by itself: stop it, and "
            + ("go on from its trials in" if has_trials(history) else "start")
            + " another run",
            f"  katibflow stop {run_id}",
            f"  {resuming(experiment_run, history)}",
        )
    if stall.waiting:
        space = f" -n {namespace}" if namespace else ""
        pods = experiment_run.run.pods or f"{KFP_RUN}={run_id}"
        return (f"  kubectl describe pods{space} -l {pods}",)
    commands = (
        "  kubectl get pods -A -l app=workflow-controller",
        f"  kubectl logs -n {experiment_run.run.engine.namespace} deploy/workflow-controller "
        "--tail=50",
    )
    if stall.engine_seen:
        return commands
    too_large = "workflow is longer than maximum allowed size"
    return (*commands, f'its log says "{too_large}" if Argo can no longer store the run')


def has_trials(history: History | None) -> bool:
    """Returns whether a run can go on from the trials; True if they are not known."""
    return history is None or bool(history.trials)


def resuming(experiment_run: ExperimentRun, history: History | None = None) -> str:
    """Returns the command that goes on with a run's trials, with the run's parameters.

    Args:
        experiment_run: The run.
        history: Its trials, or None if they are not known; `resume` refuses a run without any.
    """
    resume = run_name(experiment_run.run.run_id) if experiment_run.resume == NONE else ALL
    words = [*experiment_run.run.engine.submit]
    words += ["--layout", "controller"] if experiment_run.layout == ROUNDS else []
    words += ["--resume", resume] if has_trials(history) or resume == ALL else []
    table = run_parameters()
    for name, value in experiment_run.run.parameters.items():
        if name in table and name != "resume":
            words += [table[name].option, str(value)]
    return shlex.join(words)


def stall_data(stall: Stall | None, message: str) -> dict[str, Any] | None:
    """Returns a stall as JSON data, or None without a stall."""
    if stall is None:
        return None
    return {
        "since": stall.since.isoformat(),
        "bytes": stall.size,
        "limit": stall.limit or None,
        "workflow_gone": stall.is_gone,
        "waiting": list(stall.waiting),
        "message": message,
    }
