"""The life of one trial: it makes the trial, runs its job, and concludes it from its metrics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from katibflow.collectors import Collector, Reports, collector_for, source_for
from katibflow.collectors.text import observation
from katibflow.early_stopping import Rule, rule_for
from katibflow.experiment import trial_template
from katibflow.experiment.architecture import template_of
from katibflow.experiment.timeouts import Limits
from katibflow.experiment.types import Experiment
from katibflow.runners.base import JobOutcome, JobState, Runner, TrialJob
from katibflow.runners.events import (
    Event,
    LogLine,
    MetricLine,
    Observer,
    Queued,
    SourceNote,
    Started,
)
from katibflow.runners.stopping import StopKind, StopRequest
from katibflow.study.checkpoints import checkpoint_of
from katibflow.study.history import History, Trial, TrialState, time_text
from katibflow.study.job_name import job_name
from katibflow.study.objectives import needed_metrics, reported_metric, unacceptable
from katibflow.study.reasons import TrialReason
from katibflow.suggestion.suggester import Suggestion

__all__ = [
    "collect",
    "conclude",
    "new_trial",
    "now",
    "run_trial",
]


def now() -> str:
    """Returns the present time: UTC, ISO 8601, whole milliseconds."""
    return time_text(datetime.now(UTC))


def new_trial(history: History, number: int, suggestion: Suggestion) -> Trial:
    """Returns a queued trial with its job's name, and no start until the job is created."""
    return Trial(
        number=number,
        state=TrialState.RUNNING,
        assignments=suggestion.assignments,
        attributes=suggestion.attributes,
        queued=now(),
        job=job_name(history.experiment, history.run, number),
    )


def run_trial(
    runner: Runner,
    experiment: Experiment,
    trial: Trial,
    observe: Observer,
    stop: StopRequest,
    limits: Limits,
    earlier: Collection[Trial] = (),
    make_rule: Callable[[], Rule | None] | None = None,
) -> JobOutcome:
    """Runs a trial's job to its end, or until the experiment's early stopping rule ends it.

    Args:
        runner: Runs the job.
        experiment: The experiment the trial belongs to.
        trial: The trial, in state RUNNING.
        observe: Called with each event of the job.
        stop: Ends the job early when set.
        limits: Time limits of the trial.
        earlier: The other trials so far. An early stopping rule compares the trial with them, and
            one of them may be its parent. The collection may change; Optuna's pruners read it
            again at each report.
        make_rule: Returns the early stopping rule for this trial; by default it is made from the
            trials in ``earlier``.

    Returns:
        The job's end and its last start; STOPPED with the reason `TrialReason.EARLY_STOPPED` if the
        rule ended the job.

    Raises:
        InputError: A reference in the template has no value.
        RunnerError: The runner cannot run any job.
    """
    spec = template_of(experiment.spec)
    manifest = trial_template.render(
        spec,
        trial.assignments,
        name=trial.job or "",
        namespace=experiment.metadata.namespace or "default",
    )
    job = TrialJob(
        replace(trial, start=None),  # a job that is created anew begins anew
        manifest,
        spec.primary_container_name,
        limits,
        source_for(experiment),
        checkpoint := checkpoint_of(experiment, trial),
        None if checkpoint is None else _job_of(experiment, checkpoint.parent, trial, earlier),
    )
    make_rule = make_rule or partial(rule_for, experiment.spec, earlier)
    rule = make_rule()
    objective = reported_metric(experiment.spec.objective)
    collector: Collector | None = None  # the rule's own, if there is a rule
    is_judged = False
    start: str | None = None

    def watch(event: Event) -> None:
        nonlocal collector, is_judged, rule, start
        observe(event)
        if isinstance(event, Started):
            start = event.time
        elif isinstance(event, Queued):
            start = None
            rule = make_rule()  # it knew the reports of an attempt before
        if rule is None or is_judged:
            return
        collector = collector or collector_for(experiment.spec)
        for metric, point in collect(collector, event):
            verdict = rule(point) if metric == objective else None
            if verdict:
                is_judged = True
                stop.set(verdict, StopKind.EARLY_STOPPING)
                return

    outcome = replace(runner.run(job, watch, stop), start=start)
    why = stop.reason
    if outcome.state is not JobState.STOPPED or why is None:
        return outcome
    if why.kind is not StopKind.EARLY_STOPPING:
        return outcome
    return replace(outcome, reason=TrialReason.EARLY_STOPPED, message=why.text)


def _job_of(
    experiment: Experiment, parent: int | None, trial: Trial, others: Iterable[Trial]
) -> str | None:
    """Returns the name of a parent's job; a trial of an earlier run has that run in its name."""
    if parent is None:
        return None
    known = next((other.job for other in others if other.number == parent), None)
    _, run, _ = f"-{trial.job or '-'}".rsplit("-", 2)
    return known or job_name(experiment, run, parent)


def collect(collector: Collector, event: Event) -> Reports:
    """Gives an event of a trial's job to the trial's collector and returns the reports in it."""
    match event:
        case Started():
            collector.begin()
        case LogLine(text) if collector.reads_output:
            return collector.feed(text)
        case MetricLine(text):
            return collector.feed(text)
        case LogLine(text):
            collector.skip(text)
        case SourceNote(text):
            collector.warn(text)
    return ()


def conclude(
    experiment: Experiment,
    trial: Trial,
    outcome: JobOutcome,
    collector: Collector,
    end: str | None = None,
) -> Trial:
    """Returns the finished trial, from its job's outcome and the collected metrics.

    Args:
        experiment: The experiment that the trial belongs to.
        trial: The trial as it was queued or started.
        outcome: The job's end, with its times.
        collector: The collector that has read all events of the job.
        end: Time of the end (UTC, ISO 8601); by default the job's own, or the present time.
    """
    objective = experiment.spec.objective
    metric = reported_metric(objective)
    series = collector.series
    finished = replace(
        trial if outcome.start is None else trial.started(outcome.start),
        state=TrialState.COMPLETE,
        reason=TrialReason.SUCCEEDED,
        end=end or outcome.end or now(),
        observations={
            name: observation(points, collector.texts.get(name, ""))
            for name, points in series.items()
            if points
        },
        intermediate=series[metric],
    )
    if outcome.state is JobState.STOPPED:
        early = outcome.reason == TrialReason.EARLY_STOPPED and series[metric]
        state = TrialState.PRUNED if early else TrialState.KILLED
        reason = TrialReason.EARLY_STOPPED if early else TrialReason.KILLED
        return replace(finished, state=state, reason=reason, message=outcome.message)
    if outcome.state is JobState.FAILED:
        return replace(
            finished,
            state=TrialState.FAIL,
            reason=outcome.reason or TrialReason.FAILED,
            message=outcome.message,
        )
    missing = [name for name in needed_metrics(objective) if not series[name]]
    if missing:
        names = " and ".join(missing)
        return replace(
            finished,
            state=TrialState.FAIL,
            reason=TrialReason.METRICS_UNAVAILABLE,
            message=f"the job succeeded without reporting {names}{collector.hint(missing[0])}: "
            f"{collector.search_report()}",
        )
    never_best = unacceptable(objective, finished)
    if never_best is None:
        return finished
    return replace(finished, reason=never_best[0], message=never_best[1])
