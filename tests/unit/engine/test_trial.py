"""Tests the life of one trial, with a runner that plays scripts."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from katibflow.collectors import collector_for
from katibflow.engine.trial import collect, conclude, new_trial, now, run_trial
from katibflow.errors import InputError
from katibflow.experiment.timeouts import Limits
from katibflow.experiment.types import Experiment
from katibflow.runners.base import JobOutcome, JobState, TrialJob
from katibflow.runners.events import LogLine, Notice, Observer, Started
from katibflow.runners.stopping import StopRequest
from katibflow.study.checkpoints import Checkpoint
from katibflow.study.decision import decide
from katibflow.study.history import History, Observation, Point, Trial, TrialState
from katibflow.study.reasons import TrialReason
from katibflow.suggestion.suggester import Suggestion
from tests.samples import experiment

TIME = "2026-01-01T00:00:05.000+00:00"
RUNNING = Trial(3, TrialState.RUNNING, {"lr": "0.2"}, queued="0", job="sample-abc-3")
SUCCEEDED = JobOutcome(JobState.SUCCEEDED)
BEGUN = replace(SUCCEEDED, start=TIME)
SUCCESSFUL = replace(RUNNING, state=TrialState.COMPLETE)


class Scripted:
    """A runner whose jobs print given lines until they are stopped."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        self.jobs: list[TrialJob] = []

    def records(self) -> Sequence[Trial]:
        return ()

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        self.jobs.append(job)
        observe(Started(TIME))
        for line in self.lines:
            observe(LogLine(line))
            if stop.reason is not None:
                return JobOutcome(JobState.STOPPED, "Stopped", stop.reason.text)
        return SUCCEEDED

    def record(self, trial: Trial) -> None:
        pass

    def sweep(self, keep: Collection[int], reason: str) -> None:
        pass

    def close(self) -> None:
        pass


def finished(
    of: Experiment,
    trial: Trial,
    outcome: JobOutcome,
    lines: Iterable[str],
    end: str | None = None,
) -> Trial:
    """Returns the concluded trial of a job that printed these lines and ended so."""
    collector = collector_for(of.spec)
    for line in lines:
        collect(collector, LogLine(line))
    return conclude(of, trial, outcome, collector, end)


def test_a_new_trial_runs_under_a_name_of_its_own() -> None:
    history = History(experiment(), "0a1b2c3d", 1)
    trial = new_trial(history, 12, Suggestion({"lr": "0.1"}, {"k": 1}))
    assert trial.queued is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", trial.queued)
    assert trial.queued <= now()
    assert trial == Trial(
        12,
        TrialState.RUNNING,
        {"lr": "0.1"},
        queued=trial.queued,
        job="sample-0a1b2c3d-12",
        attributes={"k": 1},
    )


def test_a_trials_job_is_its_template_with_its_assignments() -> None:
    runner, limits, events = Scripted("loss=1"), Limits(trial=5), list[Any]()
    of = experiment(
        {
            "metadata.namespace": "team",
            "spec.trialTemplate.trialSpec.x": "in ${trialSpec.Namespace}",
        }
    )
    outcome = run_trial(runner, of, RUNNING, events.append, StopRequest(), limits)
    assert outcome == BEGUN
    assert events == [Started(TIME), LogLine("loss=1")]
    (job,) = runner.jobs
    assert (job.trial, job.primary_container, job.limits) == (RUNNING, "main", limits)
    container = job.manifest["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["--lr=0.2"]
    assert job.manifest["x"] == "in team"


def test_a_trials_start_is_its_jobs_creation_not_an_earlier_one() -> None:
    of, runner = experiment(), Scripted("loss=1")
    again = replace(RUNNING, start="2025-01-01T00:00:00.000+00:00")
    outcome = run_trial(runner, of, again, lambda event: None, StopRequest(), Limits())
    assert runner.jobs[0].trial.start is None
    assert outcome.start == TIME
    ended = finished(of, again, outcome, ["loss=1"])
    assert (ended.queued, ended.start) == (RUNNING.queued, TIME)


def pbt_trial(parent: int | None) -> Trial:
    lineage = {} if parent is None else {"pbt:parent": parent}
    return replace(RUNNING, attributes={"pbt:generation": len(lineage), **lineage})


@pytest.mark.parametrize(
    ("parent", "job"), [(None, None), (1, "sample-abc-1"), (2, "sample-0ld-7")]
)
def test_a_trial_of_population_based_training_knows_its_parents_job(
    parent: int | None, job: str | None
) -> None:
    settings = [{"name": "suggestion_trial_dir", "value": "/ckpt"}]
    of = experiment({"spec.algorithm": {"algorithmName": "pbt", "algorithmSettings": settings}})
    runner = Scripted("loss=1")
    taken_over = replace(SUCCESSFUL, number=2, job="sample-0ld-7")
    given = pbt_trial(parent)
    run_trial(runner, of, given, lambda event: None, StopRequest(), Limits(), [taken_over])
    (made,) = runner.jobs
    assert made.parent == job
    assert made.checkpoint == Checkpoint("/ckpt", 0 if parent is None else 1, parent)


def test_a_reference_that_resolves_to_nothing_runs_no_job() -> None:
    runner = Scripted()
    with pytest.raises(InputError, match=r"\$\{trialParameters.lr\} resolves to nothing"):
        run_trial(
            runner,
            experiment(),
            replace(RUNNING, assignments={}),
            lambda event: None,
            StopRequest(),
            Limits(),
        )
    assert runner.jobs == []


@pytest.mark.parametrize(
    ("outcome", "lines", "state", "reason", "message"),
    [
        (SUCCEEDED, ["loss=0.5"], TrialState.COMPLETE, "TrialSucceeded", ""),
        (SUCCEEDED, ["loss=nan"], TrialState.COMPLETE, "ObjectiveNotFinite", "loss is nan; such"),
        (SUCCEEDED, ["loss=-inf"], TrialState.COMPLETE, "ObjectiveNotFinite", "loss is -inf; such"),
        (SUCCEEDED, ["loss=nan", "loss=1"], TrialState.COMPLETE, "TrialSucceeded", ""),
        (
            SUCCEEDED,
            ["loss: 0.5"],
            TrialState.FAIL,
            "MetricsUnavailable",
            "the job succeeded without reporting loss: 1 lines were read with the filter "
            r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)" + "\n  nearly: loss: 0.5",
        ),
        (
            SUCCEEDED,
            ["accuracy=1 epoch=2"],
            TrialState.FAIL,
            "MetricsUnavailable",
            "the job succeeded without reporting loss (it reports epoch): 1 lines",
        ),
        (
            SUCCEEDED,
            ["epoch=2", "losses=1"],
            TrialState.FAIL,
            "MetricsUnavailable",
            "the job succeeded without reporting loss (did you mean losses?): 2 lines were read",
        ),
        (SUCCEEDED, [], TrialState.FAIL, "MetricsUnavailable", "the job succeeded without report"),
        (
            JobOutcome(JobState.FAILED, "ReplicaFailed", "exit code 1"),
            ["loss=0.5"],
            TrialState.FAIL,
            "ReplicaFailed",
            "exit code 1",
        ),
        (JobOutcome(JobState.FAILED), [], TrialState.FAIL, "TrialFailed", ""),
        (
            JobOutcome(JobState.STOPPED, "Stopped", "goal reached"),
            ["loss=0.5"],
            TrialState.KILLED,
            "TrialKilled",
            "goal reached",
        ),
        (
            JobOutcome(JobState.STOPPED, TrialReason.EARLY_STOPPED, "worse than the median"),
            ["loss=0.5"],
            TrialState.PRUNED,
            TrialReason.EARLY_STOPPED,
            "worse than the median",
        ),
    ],
)
def test_how_a_trial_ends(
    outcome: JobOutcome, lines: list[str], state: TrialState, reason: str, message: str
) -> None:
    of = experiment({"spec.objective.additionalMetricNames": ["accuracy"]})
    ended = finished(of, RUNNING, outcome, lines, "the end")
    assert (ended.state, ended.reason, ended.end) == (state, reason, "the end")
    assert ended.message.startswith(message)
    assert (ended.message == "") == (message == "")
    kept = (ended.number, ended.assignments, ended.start, ended.job)
    assert kept == (RUNNING.number, RUNNING.assignments, RUNNING.start, RUNNING.job)


def test_what_was_reported_is_kept_however_a_trial_ends() -> None:
    of = experiment({"spec.objective.additionalMetricNames": ["acc"]})
    lines = ["loss=0.5 acc=0.1", "loss=0.7", "acc=nan"]
    for state in JobState:
        ended = finished(of, RUNNING, JobOutcome(state), lines)
        assert ended.observations["loss"] == Observation(0.7, 0.5, 0.7)
        assert (ended.observations["acc"].min, ended.observations["acc"].max) == (0.1, 0.1)
        assert math.isnan(ended.observations["acc"].latest)
        assert ended.intermediate == (Point(0, 0.5), Point(1, 0.7))
        assert ended.end is not None


def test_a_latest_value_that_is_not_finite_is_not_best_though_others_are() -> None:
    latest = [{"name": "loss", "value": "latest"}]
    of = experiment({"spec.objective.metricStrategies": latest, "spec.objective.goal": 1})
    ended = finished(of, RUNNING, SUCCEEDED, ["loss=0.5", "loss=nan"])
    assert (ended.state, ended.reason) == (TrialState.COMPLETE, "ObjectiveNotFinite")
    assert not decide(of, [ended]).finished


def earlier(*losses: float) -> list[Trial]:
    return [
        Trial(number, TrialState.COMPLETE, {}, intermediate=(Point(0, loss), Point(1, loss)))
        for number, loss in enumerate(losses)
    ]


def stopping(kind: str = "minimize") -> Any:
    settings = [{"name": "start_step", "value": "2"}]
    return experiment(
        {
            "spec.objective.type": kind,
            "spec.earlyStopping": {"algorithmName": "medianstop", "algorithmSettings": settings},
        }
    )


def test_a_trial_worse_than_the_median_is_stopped_and_pruned() -> None:
    of, runner, events = stopping(), Scripted("loss=9", "loss=8", "loss=0.1"), list[Any]()
    stop = StopRequest()
    outcome = run_trial(runner, of, RUNNING, events.append, stop, Limits(), earlier(1, 2, 9))
    assert (outcome.state, outcome.reason) == (JobState.STOPPED, TrialReason.EARLY_STOPPED)
    assert stop.reason is not None
    assert outcome.message == stop.reason.text
    assert "the best loss is 8, the median of 3 earlier trials" in outcome.message
    assert events == [Started(TIME), LogLine("loss=9"), LogLine("loss=8")]
    ended = finished(of, RUNNING, outcome, ["loss=9", "loss=8"])
    assert (ended.state, ended.observations["loss"].min) == (TrialState.PRUNED, 8)


@pytest.mark.parametrize(
    ("kind", "lines", "others"),
    [
        ("minimize", ["loss=9", "loss=2", "loss=9"], (1, 2, 9)),
        ("maximize", ["loss=2", "loss=9", "loss=0"], (1, 2, 9)),
        ("minimize", ["loss=9", "loss=9"], (1, 2)),
        ("minimize", ["loss=9", "acc=9", "x"], (1, 2, 3)),
    ],
)
def test_other_trials_go_on(kind: str, lines: list[str], others: tuple[float, ...]) -> None:
    outcome = run_trial(
        Scripted(*lines),
        stopping(kind),
        RUNNING,
        lambda event: None,
        StopRequest(),
        Limits(),
        earlier(*others),
    )
    assert outcome == BEGUN


def test_a_stop_for_another_reason_is_no_early_stop() -> None:
    stop = StopRequest()

    def observe(event: object) -> None:
        if event == LogLine("loss=9"):
            stop.set("goal reached")

    runner = Scripted("loss=9", "loss=8")
    outcome = run_trial(runner, stopping(), RUNNING, observe, stop, Limits(), earlier(1, 2, 3))
    assert outcome == JobOutcome(JobState.STOPPED, "Stopped", "goal reached", start=TIME)


def test_the_rule_s_own_sentence_from_somebody_else_is_no_early_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop, words = StopRequest(), "the best loss is 8, the median of 3 earlier trials is 2"

    def rule(point: Point) -> str:
        stop.set(words)
        return words

    monkeypatch.setattr("katibflow.engine.trial.rule_for", lambda *_: rule)
    outcome = run_trial(
        Scripted("loss=9"), stopping(), RUNNING, lambda event: None, stop, Limits(), earlier(1)
    )
    assert outcome == JobOutcome(JobState.STOPPED, "Stopped", words, start=TIME)


def test_a_notice_is_no_line_of_the_trial() -> None:
    class Noticing(Scripted):
        def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
            for _ in range(5):
                observe(Notice("loss=9"))
            return super().run(job, observe, stop)

    outcome = run_trial(
        Noticing(), stopping(), RUNNING, lambda e: None, StopRequest(), Limits(), earlier(1, 2, 3)
    )
    assert outcome == BEGUN
