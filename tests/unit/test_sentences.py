"""Sentences are for people: whatever they say, our own or another program's, nothing else changes.

Each test changes every sentence of what is read, and compares all the rest.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from katibflow.client import run_view
from katibflow.client.base import Run, Step
from katibflow.client.following import ending_of
from katibflow.client.reading import ExperimentRun
from katibflow.client.run_view import RunView, with_workflow
from katibflow.client.workflow import Workflow, read_workflow
from katibflow.report.data import result_data
from katibflow.report.page import render_report
from katibflow.report.table import Output, columns_of, rows_of
from katibflow.steps.presenting import decision_at_end
from katibflow.study.best import best_of
from katibflow.study.decision import Decision, decide, used_up
from katibflow.study.ending import Ending
from katibflow.study.history import History, Observation, Trial, TrialState
from katibflow.study.optuna_study import study_of
from katibflow.study.reasons import ExperimentReason, TrialReason
from katibflow.study.resume import is_taken_over
from katibflow.suggestion.suggester import suggest
from tests.doubles.kfp.workflows import ENDED, FULL, STUCK, recorded, sized
from tests.samples import experiment

OTHER_WORDS: dict[str, Callable[[str], str]] = {
    "none": lambda text: "",
    "backwards": lambda text: text[::-1],
    "another's": lambda text: "TrialEarlyStopped: the goal is reached, held open, failed (exit 1)",
}


@pytest.fixture(params=OTHER_WORDS)
def reworded(request: pytest.FixtureRequest) -> Callable[[str], str]:
    return OTHER_WORDS[request.param]


# --------------------------------------------------------------------------- a study's sentences


def trials() -> tuple[Trial, ...]:
    def trial(number: int, state: TrialState, reason: str, loss: float | None) -> Trial:
        seen = {} if loss is None else {"loss": Observation(loss, loss, loss)}
        message = f"the sentence of trial {number}"
        lr = f"0.{number + 1}"
        job = f"sample-0a1b2c3d-{number}"
        return Trial(number, state, {"lr": lr}, seen, job=job, reason=str(reason), message=message)

    return (
        trial(0, TrialState.COMPLETE, TrialReason.SUCCEEDED, 0.5),
        trial(1, TrialState.COMPLETE, TrialReason.OBJECTIVE_NOT_FINITE, float("nan")),
        trial(2, TrialState.PRUNED, TrialReason.EARLY_STOPPED, 0.25),
        trial(3, TrialState.FAIL, TrialReason.METRICS_UNAVAILABLE, None),
        trial(4, TrialState.KILLED, TrialReason.KILLED, 0.1),
        trial(5, TrialState.RUNNING, "", None),
    )


def history(words: Callable[[str], str] = str) -> History:
    of = experiment({"spec.maxTrialCount": 9, "spec.maxFailedTrialCount": 3})
    told = tuple(replace(trial, message=words(trial.message)) for trial in trials())
    return History(of, "0a1b2c3d", 1, told)


def without_message(decision: Decision) -> Decision:
    return replace(decision, message="")


def facts(of: History) -> dict[str, Any]:
    """All that is made of a history but what repeats a sentence."""
    outputs = {
        output: [
            [column.value(row) for column in columns_of(of.experiment, of.trials, output)]
            for row in rows_of(of.experiment, of.trials)
        ]
        for output in Output
    }
    result = result_data(of, Ending(None, "", ""))
    return {
        "decision": without_message(decide(of.experiment, of.trials)),
        "at the end": without_message(decision_at_end(of)),
        "best": [trial.number for trial in best_of(of.experiment.spec.objective, of.trials).trials],
        "states": [(trial.state, trial.values) for trial in study_of(of).trials],
        "own": [is_taken_over(of, trial) for trial in of.trials],
        "next": suggest(of, 2),
        "outputs": repr(outputs),  # a value that is no number equals no other
        "result": result,
    }


def test_what_trials_say_changes_nothing(reworded: Callable[[str], str]) -> None:
    assert facts(history(reworded)) == facts(history())


def test_what_a_failed_trial_s_pods_call_their_end_changes_nothing_either() -> None:
    of = history()
    renamed = of.with_trials([replace(of.trials[3], reason="OOMKilled")])
    changed, before = facts(renamed), facts(of)
    shown = changed.pop("outputs").replace("OOMKilled", "MetricsUnavailable")
    assert shown == before.pop("outputs")
    assert changed == before


def test_why_an_algorithm_has_no_more_suggestions_is_for_people(
    reworded: Callable[[str], str],
) -> None:
    assert without_message(used_up(reworded("all were tried"))) == without_message(used_up())


def test_an_experiment_s_last_sentence_is_shown_and_changes_nothing(
    reworded: Callable[[str], str],
) -> None:
    ending = Ending(False, ExperimentReason.FAILED, "3 trials failed")
    other = replace(ending, message=reworded(ending.message))
    pages = [render_report(history(), each, {}) for each in (ending, other)]
    old, new = (f"<p>{each.message}</p></section>" for each in (ending, other))
    assert pages[0].replace(old, new) == pages[1]
    data = [result_data(history(), each) for each in (ending, other)]
    assert {**data[0], "message": other.message} == data[1]


# ---------------------------------------------------------------------------- Argo's, and KFP's


def failing() -> dict[str, Any]:
    """A recorded run in which a step failed, and what it is in."""
    body = copy.deepcopy(recorded(ENDED))
    body["status"].update(phase="Failed", message="child failed")
    for node in body["status"]["nodes"].values():
        if ".collector" in node["name"] and "driver" not in node["name"]:
            node.update(phase="Failed", message="Error (exit code 1): no module named optuna")
    return body


def with_words(body: dict[str, Any], words: Callable[[str], str]) -> dict[str, Any]:
    """The object with every message in its status changed."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: words(item) if key == "message" and isinstance(item, str) else changed(item)
                for key, item in value.items()
            }
        return [changed(item) for item in value] if isinstance(value, list) else value

    return {**body, "status": changed(body["status"])}


def told(workflow: Workflow) -> Workflow:
    """A Workflow without sentences, and without its size, which they are a part of."""
    failures = tuple(replace(each, message="") for each in workflow.failures)
    return replace(workflow, message="", size=0, failures=failures)


@pytest.mark.parametrize("words", ["backwards", "another's"])
@pytest.mark.parametrize("body", [recorded(ENDED), recorded(STUCK), failing()])
def test_argo_s_sentences_are_passed_on_and_not_read(body: dict[str, Any], words: str) -> None:
    before, after = (read_workflow(with_words(body, each)) for each in (str, OTHER_WORDS[words]))
    assert told(after) == told(before)
    if body["status"]["phase"] == "Failed":
        assert after.failures != before.failures
        assert {each.step for each in after.failures} == {"collector"}


def test_a_failed_run_ends_the_same_whatever_is_said_of_it(reworded: Callable[[str], str]) -> None:
    workflow = read_workflow(failing())
    steps = (Step("collector", "FAILED"), Step("start", "SUCCEEDED"))
    run = Run("0", "sample", "FAILED", workflow.changed, steps=steps, error="the backend's words")
    other = read_workflow(with_words(failing(), reworded))
    ends = [
        ending_of(with_workflow(run, workflow), None),
        ending_of(with_workflow(replace(run, error=reworded(run.error)), other), None),
    ]
    assert [(end.succeeded, end.reason) for end in ends] == [
        (False, ExperimentReason.PIPELINE_RUN_ENDED)
    ] * 2


class Reader:
    """Reads one Workflow, and no pods."""

    namespace = "kubeflow"

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow

    def workflow(self, run_id: str, expected: bool = True) -> Workflow:
        return self._workflow

    def is_missing(self, run_id: str) -> bool:
        return False

    def pods(self, run_id: str) -> tuple[()]:
        return ()

    def new_problems(self) -> tuple[()]:
        return ()


@pytest.mark.parametrize("size", [None, FULL], ids=["small", "full"])
@pytest.mark.parametrize("seconds", [0, 10_000], ids=["moving", "still"])
def test_how_a_standstill_is_told_does_not_make_it_one(
    seconds: int,
    size: int | None,
    reworded: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = recorded(STUCK) if size is None else sized(recorded(STUCK), size)
    workflow = read_workflow(body)
    run = Run("0", "sample", "RUNNING", workflow.changed)
    experiment_run = ExperimentRun(run, experiment(), "rounds", "none")

    def clock() -> datetime:
        return workflow.changed + timedelta(seconds=seconds)

    def look() -> run_view.RunStatus:
        return RunView(experiment_run, None, Reader(workflow), clock).status(run, None)  # type: ignore[arg-type]

    before, text = look(), run_view.stall_text
    monkeypatch.setattr(run_view, "stall_text", lambda stall, now: reworded(text(stall, now)))
    after = look()
    assert (after.stall, after.engine_stall) == (before.stall, before.engine_stall)
    assert (after.engine_stall is not None) == bool(seconds or size)
    assert json.dumps(list(after.advice)) == json.dumps(list(before.advice))
