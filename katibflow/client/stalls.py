"""Whether a run moves, and what is said of one that does not.

A step that takes hours is no standstill: something runs, a trial's job or a step's pod. A run
stands still when nothing runs and nothing has changed for a while, as when Argo can no longer
store its Workflow, or its controller is gone.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from katibflow.client.base import Run
from katibflow.client.reading import Sweep
from katibflow.client.workflow import KFP_RUN, StepPod, Workflow
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
    "is_overdue",
    "last_change",
    "quiet_engine",
    "resuming",
    "seems_to_run",
    "stall_data",
    "stall_of",
    "stall_text",
]

STALL = 300.0
"""Seconds without a change after which a run in which nothing runs stands still."""

UNSEEN = 3600.0
"""The same while a trial seems to run and neither its job nor its step's pod can be seen."""

FULL = 0.95
"""Part of its limit from which on a Workflow that does not change is taken to be full.

What Argo could not store is not in the object; a step more is about 1 % of the limit.
"""

_GOING = ("PENDING", "RUNNING", "CANCELING")
_TRIAL_STEPS = ("launcher", "controller")


@dataclass(frozen=True)
class Facts:
    """What is known of a run beside its last change.

    Attributes:
        trial_seems_to_run: Whether a step that follows trials is on record as running.
        workflow: Its Workflow; None where that cannot be read.
        jobs: How many trials' jobs go on; None where they cannot be read.
        pods: The steps' pods that have not ended; None where they cannot be read.
    """

    trial_seems_to_run: bool = False
    workflow: Workflow | None = None
    jobs: int | None = None
    pods: tuple[StepPod, ...] | None = None


@dataclass(frozen=True)
class Stall:
    """A run that stands still. Two of them are equal while nothing has changed between.

    Attributes:
        since: When something last changed.
        engine_seen: Whether the Workflow was read, or only Kubeflow Pipelines was asked.
        size: Bytes of the Workflow, if they are what holds it up; or else None.
        limit: Bytes that it may have.
        waiting: Pods of steps that wait for their start, as "launcher (Unschedulable)".
    """

    since: datetime
    engine_seen: bool
    size: int | None = None
    limit: int = 0
    waiting: tuple[str, ...] = ()


def last_change(run: Run, history: History | None, workflow: Workflow | None) -> datetime:
    """When a step or a trial last began or ended; when the run was made, if none has.

    Args:
        run: The run, with its steps.
        history: Its trials, if they are known.
        workflow: Its Workflow, whose steps are believed before those that KFP knows.
    """
    steps = workflow.changed if workflow is not None else run.changed or run.created
    trials = history.trials if history is not None else ()
    times = [text for trial in trials for text in (trial.start, trial.end) if text]
    return max([steps, run.created, *map(datetime.fromisoformat, times)])


def is_overdue(run: Run, now: datetime, changed: datetime) -> bool:
    """Whether a change of a run that goes on is so late that it is worth a look at what runs."""
    return run.state in _GOING and (now - changed).total_seconds() >= STALL


def stall_of(now: datetime, changed: datetime, facts: Facts) -> Stall | None:
    """The standstill of a run that goes on; None if there is none, or if something runs.

    Args:
        now: The time.
        changed: When something last changed; see `last_change`.
        facts: What is known.
    """
    seconds, workflow, pods = (now - changed).total_seconds(), facts.workflow, facts.pods
    if seconds < STALL or facts.jobs or any(pod.phase == "Running" for pod in pods or ()):
        return None
    is_full = workflow is not None and _is_full(workflow)
    # on record as running: of a full Workflow, or with no job left, that is but an old record
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
    )


def quiet_engine(run: Run, now: datetime, workflow: Workflow | None) -> Stall | None:
    """That the engine has changed nothing for long, or can hardly store a change.

    It may be no standstill, as when a trial takes hours; but whether the engine still acts, as when
    the run is to be stopped, is then to be seen. None if there is no cause to doubt it.
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
    """Whether a step that follows trials is on record as running."""
    return any(step.name in _TRIAL_STEPS and step.state == "RUNNING" for step in run.steps)


def stall_text(stall: Stall, now: datetime) -> str:
    """What is seen of a standstill, on one line.

    Args:
        stall: The standstill.
        now: The time.
    """
    minutes = f"{max(0.0, (now - stall.since).total_seconds()) / 60:.0f} min"
    if stall.size is not None:
        return (
            f"no step has changed for {minutes}; the workflow object has {stall.size:,} of "
            f"{stall.limit:,} bytes, and past that Argo stores nothing"
        )
    if stall.waiting:
        return (
            f"no step has changed for {minutes}; pods wait for their start: "
            f"{', '.join(stall.waiting)}"
        )
    if stall.engine_seen:
        return f"no step has changed for {minutes}; is the workflow controller running?"
    return f"Kubeflow Pipelines shows no change for {minutes}; is the workflow controller running?"


def advice(stall: Stall, sweep: Sweep, namespace: str) -> tuple[str, ...]:
    """What to do about a standstill, a line each; commands are indented.

    Args:
        stall: The standstill.
        sweep: The run.
        namespace: Of its pods; empty if that is not known.
    """
    run_id = sweep.run.run_id
    if stall.size is not None:
        return (
            "it will not end by itself: stop it, and go on from its trials in another run",
            f"  katibflow stop {run_id}",
            f"  {resuming(sweep)}",
        )
    if stall.waiting:
        space = f" -n {namespace}" if namespace else ""
        return (f"  kubectl describe pods{space} -l {KFP_RUN}={run_id}",)
    commands = (
        "  kubectl get pods -A -l app=workflow-controller",
        "  kubectl logs -n kubeflow deploy/workflow-controller --tail=50",
    )
    if stall.engine_seen:
        return commands
    too_large = "workflow is longer than maximum allowed size"
    return (*commands, f'its log says "{too_large}" if Argo can no longer store the run')


def resuming(sweep: Sweep) -> str:
    """The command that goes on with a run's trials, with the parameters that the run has."""
    resume = run_name(sweep.run.run_id) if sweep.resume == NONE else ALL
    words = ["katibflow", "submit", "EXPERIMENT.yaml"]
    words += ["--layout", "controller"] if sweep.layout == ROUNDS else []
    words += ["--resume", resume]
    table = run_parameters()
    for name, value in sweep.run.parameters.items():
        if name in table and name != "resume":
            words += [table[name].option, str(value)]
    return shlex.join(words)


def stall_data(stall: Stall | None, message: str) -> dict[str, Any] | None:
    """A standstill as JSON data; null where there is none."""
    if stall is None:
        return None
    return {
        "since": stall.since.isoformat(),
        "bytes": stall.size,
        "limit": stall.limit or None,
        "waiting": list(stall.waiting),
        "message": message,
    }
