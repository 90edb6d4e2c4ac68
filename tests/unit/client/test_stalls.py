"""When a run stands still, and what is said of it; the clock is given."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from katibflow.client.base import Run
from katibflow.client.reading import ExperimentRun
from katibflow.client.stalls import (
    STALL,
    UNSEEN,
    Facts,
    advice,
    is_overdue,
    last_change,
    stall_data,
    stall_of,
    stall_text,
)
from katibflow.client.workflow import StepPod, read_workflow
from katibflow.steps.run_parameters import RUN_PARAMETERS
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.resume import run_name
from katibflow.validation.rules import check_document
from tests.doubles.kfp.lab import SCRIPT, katibflow
from tests.doubles.kfp.workflows import FULL, STUCK, recorded, sized
from tests.shell_trials import document

ID = "0a1b2c3d-0000-4000-8000-000000000000"
SMALL = read_workflow(recorded(STUCK))
LARGE = read_workflow(sized(recorded(STUCK), FULL))
LAST = SMALL.changed
RUNNING, PENDING = StepPod("launcher", "Running", ""), StepPod("start", "Pending", "Unschedulable")


def after(seconds: float) -> datetime:
    return LAST + timedelta(seconds=seconds)


def run(state: str = "RUNNING", **parameters: str) -> Run:
    return Run(ID, "sample", state, after(-900), parameters=parameters)


def experiment_run(
    layout: str = "rounds", resume: str = "none", **parameters: str
) -> ExperimentRun:
    return ExperimentRun(
        run(**parameters), check_document(document(SCRIPT), "test"), layout, resume
    )


@pytest.mark.parametrize(
    ("seconds", "facts", "stands"),
    [
        pytest.param(STALL - 1, Facts(workflow=LARGE, jobs=0, pods=()), False, id="soon"),
        pytest.param(STALL, Facts(workflow=SMALL, jobs=0, pods=()), True, id="nothing runs"),
        pytest.param(9999, Facts(workflow=SMALL, jobs=1, pods=()), False, id="a job goes on"),
        pytest.param(
            9999, Facts(workflow=SMALL, jobs=0, pods=(RUNNING,)), False, id="a step's pod runs"
        ),
        pytest.param(
            9999, Facts(True, LARGE, 0, (RUNNING,)), False, id="full, but a step's pod runs"
        ),
        pytest.param(STALL, Facts(workflow=SMALL, jobs=0, pods=(PENDING,)), True, id="a pod waits"),
        pytest.param(
            STALL, Facts(True, SMALL, 0, ()), True, id="on record as running, and nothing runs"
        ),
        pytest.param(STALL, Facts(True, SMALL, 0, None), True, id="the same without pods"),
        pytest.param(STALL, Facts(True), False, id="a trial may run unseen"),
        pytest.param(UNSEEN, Facts(True), True, id="a trial may run unseen, for long"),
        pytest.param(STALL, Facts(True, LARGE), True, id="a full workflow's record is old"),
        pytest.param(STALL, Facts(), True, id="no trial, and nothing can be seen"),
    ],
)
def test_a_run_stands_still_when_nothing_runs_and_nothing_changes(
    seconds: float, facts: Facts, stands: bool
) -> None:
    assert (stall_of(after(seconds), LAST, facts) is not None) == stands


def test_a_standstill_is_the_same_until_something_changes() -> None:
    facts = Facts(workflow=LARGE, jobs=0, pods=())
    first = stall_of(after(400), LAST, facts)
    assert first == stall_of(after(4000), LAST, facts)
    assert first != stall_of(after(4000), after(500), facts)


@pytest.mark.parametrize(
    ("state", "overdue"),
    [("RUNNING", True), ("PENDING", True), ("CANCELING", True)]
    + [(state, False) for state in ("PAUSED", "SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")],
)
def test_only_a_run_that_goes_on_can_be_overdue(state: str, overdue: bool) -> None:
    assert is_overdue(run(state), after(STALL), LAST) == overdue
    assert not is_overdue(run(state), after(STALL - 1), LAST)


def test_the_last_change_is_the_latest_of_steps_and_trials() -> None:
    own = replace(run(), changed=after(-300))
    assert last_change(run(), None, None) == after(-900)
    assert last_change(own, None, None) == after(-300)
    assert last_change(own, None, SMALL) == LAST
    late = replace(own, changed=after(50))  # KFP's details stand still; the Workflow is believed
    assert last_change(late, None, SMALL) == LAST
    begun = Trial(0, TrialState.RUNNING, {"x": "1"}, start=after(60).isoformat())
    history = History(experiment_run().experiment, "0a0a0a0a", 0).with_trials([begun])
    assert last_change(own, history, SMALL) == after(60)


def text_of(
    facts: Facts, told: ExperimentRun, seconds: float = 360, namespace: str = "team"
) -> str:
    stall = stall_of(after(seconds), LAST, facts)
    assert stall is not None
    return "\n".join([stall_text(stall, after(seconds)), *advice(stall, told, namespace)])


def test_a_full_workflow_is_told_with_its_size_and_the_commands_that_go_on() -> None:
    told = experiment_run(maxTrialCount="40", name="other name", resume="none")
    lines = text_of(Facts(workflow=LARGE, jobs=0, pods=()), told).splitlines()
    assert lines[0].startswith(
        "no step has changed for 6 min; the workflow object has 1,035,211 of 1,048,576 bytes"
    )
    assert lines[2:] == [
        f"  katibflow stop {ID}",
        "  katibflow submit EXPERIMENT.yaml --layout controller "
        f"--resume {run_name(ID)} --max-trials 40 --name 'other name'",
    ]


def test_a_run_that_took_over_others_goes_on_from_all_of_them() -> None:
    told = text_of(Facts(workflow=LARGE, jobs=0, pods=()), experiment_run("controller", "all"))
    assert told.splitlines()[-1] == "  katibflow submit EXPERIMENT.yaml --resume all"


def test_the_size_is_not_blamed_where_there_is_room() -> None:
    told = text_of(Facts(workflow=SMALL, jobs=0, pods=()), experiment_run())
    assert told.startswith("no step has changed for 6 min; is the workflow controller running?")
    assert "bytes" not in told
    assert "  kubectl get pods -A -l app=workflow-controller" in told.splitlines()


def test_pods_that_wait_are_named() -> None:
    told = text_of(Facts(workflow=SMALL, jobs=0, pods=(PENDING,)), experiment_run())
    assert "pods wait for their start: start (Unschedulable)" in told
    assert told.endswith(f"  kubectl describe pods -n team -l pipeline/runid={ID}")


def test_without_a_cluster_it_is_said_who_shows_no_change() -> None:
    told = text_of(Facts(), experiment_run(), namespace="")
    assert told.startswith("Kubeflow Pipelines shows no change for 6 min")
    assert "workflow is longer than maximum allowed size" in told


def test_a_standstill_is_data_too() -> None:
    stall = stall_of(after(400), LAST, Facts(workflow=LARGE, jobs=0, pods=()))
    assert stall_data(stall, "words") == {
        "since": LAST.isoformat(),
        "bytes": FULL,
        "limit": 1_048_576,
        "waiting": [],
        "workflow_gone": False,
        "message": "words",
    }
    assert stall_data(None, "") is None


def test_a_run_whose_workflow_was_deleted_is_told_with_the_commands_that_go_on() -> None:
    lines = text_of(Facts(jobs=0, pods=(), is_gone=True), experiment_run()).splitlines()
    assert lines[0].startswith("no step has changed for 6 min; the cluster has no workflow")
    assert "will not end by itself" in lines[1]
    assert lines[2] == f"  katibflow stop {ID}"


def test_every_parameter_of_a_run_is_an_option_of_submit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    helped = set(re.findall(r"--[a-z-]+", katibflow("submit", "--help").out))
    given = {each.name: each.example for each in RUN_PARAMETERS}
    told = text_of(Facts(workflow=LARGE, jobs=0, pods=()), experiment_run(**given))
    words = shlex.split(told.splitlines()[-1])
    named = [word for word in words if word.startswith("--")]
    options = {each.option for each in RUN_PARAMETERS}
    assert sorted(named) == sorted({*options, "--layout"})
    assert {*named} <= helped
