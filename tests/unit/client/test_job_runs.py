"""What a run's jobs say of it, from values alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from katibflow.client.job_runs import JobRun, experiment_of, runs_meant
from katibflow.experiment.job_kinds import KINDS
from katibflow.handles.kubernetes import is_between_trials
from katibflow.runners.base import TrialJob
from katibflow.runners.kubernetes.job_object import Identity, job_body, record_patch, stop_patch
from katibflow.runners.kubernetes.job_object import merged as patched
from katibflow.study.history import History, Observation, Trial, TrialState
from katibflow.study.resume import search_text
from tests.shell_trials import experiment

JOB = KINDS["batch/v1", "Job"]
NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)


def trial(number: int = 0, end: datetime | None = None) -> Trial:
    made = Trial(number, TrialState.RUNNING, {"x": "1"}, job=f"sample-0a1b2c3d-{number}")
    if end is None:
        return made
    seen = {"loss": Observation(0.5, 0.5, 0.5)}
    return replace(made, state=TrialState.COMPLETE, observations=seen, end=end.isoformat())


def body(of: Trial, owner: dict[str, str] | None = None) -> dict[str, Any]:
    made = experiment("true")
    manifest = made.spec.trial_template.trial_spec or {}
    begun = replace(of, state=TrialState.RUNNING, end=None, observations={})
    job = TrialJob(begun, manifest, "main")
    found = job_body(job, Identity("ns", "sample", "0a1b2c3d"), owner, search_text(made))
    found = patched(found, record_patch(of))
    found["metadata"]["creationTimestamp"] = "2026-01-31T07:00:00Z"
    return found


def found(*bodies: dict[str, Any]) -> JobRun:
    run = JobRun("sample", "0a1b2c3d", JOB, NOW)
    for each in bodies:
        run.add(JOB, each)
    return run


def test_the_jobs_say_what_is_needed_of_the_experiment() -> None:
    changes = {
        "spec.algorithm.algorithmSettings": [{"name": "random_state", "value": "7"}],
        "spec.earlyStopping": {
            "algorithmName": "medianstop",
            "algorithmSettings": [{"name": "start_step", "value": "2"}],
        },
    }
    of = experiment("x" * 300, changes)  # a text of which the jobs have a hash
    made = experiment_of("sample", search_text(of), JOB)
    assert made is not None
    for field in ("parameters", "objective", "algorithm", "early_stopping", "max_trial_count"):
        assert getattr(made.spec, field) == getattr(of.spec, field), field
    template, then = made.spec.trial_template, of.spec.trial_template
    assert template.primary_container_name == then.primary_container_name
    assert template.trial_spec is not None
    assert template.trial_spec["kind"] == "Job"
    assert experiment_of("sample", "", JOB) is None
    assert experiment_of("sample", '{"parameters": 1}', JOB) is None


def test_a_run_is_made_of_its_jobs_and_their_records() -> None:
    run = found(body(trial(1)), body(trial(0, NOW)))
    assert (run.going, run.workflow, sorted(run.trials)) == (1, "", [0, 1])
    assert run.created.hour == 7
    history = run.history()
    assert history is not None
    assert [each.state for each in history.trials] == [TrialState.COMPLETE, TrialState.RUNNING]
    stopped = found(patched(body(trial(1)), stop_patch(JOB, "stopped")))
    assert stopped.going == 0


def test_the_run_of_a_workflow_is_known_by_its_jobs_even_when_they_are_on_record() -> None:
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "u"}
    made = body(trial(0, NOW), owner)
    assert found(made).workflow == "w"
    made["metadata"]["ownerReferences"] = None  # as its record leaves it
    assert found(made).workflow == "w"


def test_a_run_is_meant_by_its_name_its_id_or_both() -> None:
    run = found()
    for wanted in ("sample", "0a1b2c3d", "0a1b", "sample-0a1b2c3d"):
        assert runs_meant([run], wanted) == [run]
    for wanted in ("samp", "0a1", "other", "1b2c"):
        assert runs_meant([run], wanted) == []


def test_a_run_between_two_trials_goes_on_for_a_while() -> None:
    def between(*trials: Trial) -> bool:
        return is_between_trials(History(experiment("true"), "0a1b2c3d", 0, trials), NOW)

    just, long_ago = NOW - timedelta(seconds=5), NOW - timedelta(minutes=5)
    assert between(trial(0, long_ago), trial(1, just))
    assert not between(trial(0, long_ago))
    assert not between(trial(0, just), trial(1))  # of which the job was stopped
    assert not between()
