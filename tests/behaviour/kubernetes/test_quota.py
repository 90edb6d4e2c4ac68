"""Tests trials that a quota on the count of jobs refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from katibflow.errors import RunnerError
from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobState
from katibflow.runners.kubernetes.rbac import records_role
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import TrialState
from tests.behaviour.kubernetes.test_cli_on_kubernetes import start
from tests.behaviour.kubernetes.test_engine_on_kubernetes import trains
from tests.behaviour.kubernetes.test_lifecycle import NAME, finished, runs_for_ever
from tests.behaviour.runner_contract import Watch, Work, trial
from tests.doubles.kubernetes.bodies import Refused
from tests.doubles.kubernetes.lab import Lab, batch_job, notices
from tests.doubles.kubernetes.plays import completes
from tests.processes import finish

ALLOWED = "count/jobs.batch=1"


@pytest.fixture
def full(lab: Lab) -> Lab:
    """A lab in whose namespace one job may be; the quota is checked before the name is."""

    def admit(plural: str, body: Mapping[str, Any]) -> None:
        name = body["metadata"]["name"]
        if plural == "jobs" and lab.server.objects["jobs"]:
            raise Refused(
                403,
                "Forbidden",
                f'jobs.batch "{name}" is forbidden: exceeded quota: one, requested: {ALLOWED}, '
                f"used: {ALLOWED}, limited: {ALLOWED}",
                {"name": name, "group": "batch", "kind": "jobs"},
            )

    lab.server.admit = admit
    lab.server.admits_first = True
    return lab


def test_a_refused_trial_waits_while_another_runs(full: Lab) -> None:
    runner = full.runner()
    first, watch, _ = full.begin(runs_for_ever, 0, runner)
    watch.wait_for_line("begun")
    second, waiting, _ = full.begin(completes(), 1, runner)
    waiting.wait_for(lambda: bool(notices(waiting)))
    assert notices(waiting) == [
        f"waits to be created: quota one is used up (used: {ALLOWED}, limited: {ALLOWED})"
    ]
    full.server.delete("jobs", NAME)
    assert first.result(20).reason == "JobDeleted"
    assert second.result(20).state is JobState.SUCCEEDED


def test_a_running_job_is_adopted_though_the_quota_is_used_up(full: Lab) -> None:
    job = full.job(0, Work(["loss=0.5"], held=True))
    first = threading.Thread(target=full.runner().run, args=(job, Watch(), StopRequest()))
    first.daemon = True
    first.start()
    full.server.wait_for(lambda: bool(full.server.logs))
    second, watch, _ = full.begin(None, 0)
    watch.wait_for_line("loss=0.5")
    full.release(0)
    assert second.result(20).state is JobState.SUCCEEDED
    assert full.executions(0) == 1
    first.join(20)


def test_a_waiting_trial_can_be_stopped_and_needs_no_record(full: Lab) -> None:
    full.begin(runs_for_ever)[1].wait_for_line("begun")
    future, watch, stop = full.begin(None, 1)
    watch.wait_for(lambda: bool(notices(watch)))
    stop.set("goal reached")
    assert future.result(20).state is JobState.STOPPED
    told: list[str] = []
    full.runner(tell=told.append).record(trial(1, TrialState.KILLED))
    (text,) = told
    assert text.startswith("trial 1 has no job that could keep its record: ")
    assert "exceeded quota: one" in text


def test_when_nothing_runs_it_says_what_fills_the_quota_and_gives_up_in_time(full: Lab) -> None:
    full.run(completes())
    full.runner().record(finished())  # type: ignore[arg-type]
    watch = Watch()
    with pytest.raises(RunnerError) as caught:
        full.runner().run(full.trial_job(1, Limits(start=0.3)), watch, StopRequest())
    told = notices(watch)[1]
    assert f"1 finished jobs of contract are in it: {NAME}." in told
    assert "ttlSecondsAfterFinished" in told and "kubectl delete jobs" in told
    assert str(caught.value).endswith(f"no trial could be created for 0.3 s: {told}")


def test_the_command_shows_trials_that_wait(full: Lab, tmp_path: Path) -> None:
    full.server.script = trains
    words = ("--trial-start-timeout", "0.5")
    code, out, err = finish(start(full, tmp_path, *words, maxTrialCount=2, parallelTrialCount=2))
    assert code == 1
    assert "waits to be created: quota one is used up" in out
    assert out.count(" complete ") == 1
    assert "no trial could be created for 0.5 s: quota one is used up" in err


@pytest.fixture
def controller(full: Lab) -> Iterator[None]:
    """Deletes finished jobs with a lifetime of 0, as Kubernetes does."""
    server, over = full.server, threading.Event()

    def due() -> list[str]:
        jobs = server.objects["jobs"].items()
        return [n for n, job in jobs if job["spec"].get("ttlSecondsAfterFinished") == 0]

    def go_on() -> None:
        while not over.is_set():
            with server.changed:
                server.changed.wait_for(lambda: due() or over.is_set(), 20)
                for name in due():
                    server.delete("jobs", name)

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    yield
    with server.changed:
        over.set()
        server.changed.notify_all()
    thread.join()


def test_a_lifetime_frees_the_quota_of_jobs_made_before_too(full: Lab, controller: None) -> None:
    assert full.server.rules is not None
    full.server.rules += records_role()["rules"]
    full.run(completes())
    full.runner().record(finished())  # type: ignore[arg-type]
    full.template_of(batch_job(ttlSecondsAfterFinished=0))
    runner = full.runner()
    assert full.begin(completes(), 1, runner)[0].result(20).state is JobState.SUCCEEDED
    runner.record(finished(1))  # type: ignore[arg-type]
    full.server.wait_for(lambda: not full.server.objects["jobs"])
    assert [each.number for each in full.runner().records()] == [0, 1]
