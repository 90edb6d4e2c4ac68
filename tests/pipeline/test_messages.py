"""What steps hand on: nothing is lost of a trial, and no more is said than the next step needs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from katibflow.errors import HistoryError
from katibflow.history import History, Trial, TrialState
from katibflow.jobs import job_name
from katibflow.runners.base import JobOutcome, JobState
from katibflow.steps.messages import Outcome, item_text, outcome_text, read_item, read_outcome
from tests.shell_trials import experiment

HISTORY = History(experiment("echo loss=1"), "0a1b2c3d", 1)
MOST = 500
"""Characters of a message that are handed on."""

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


def begun(number: int, assignments: dict[str, str], attributes: dict[str, Any]) -> Trial:
    return Trial(
        number,
        TrialState.RUNNING,
        assignments,
        start="2026-01-01T00:00:00+00:00",
        job=job_name(HISTORY.experiment.name, HISTORY.run, number),
        attributes=attributes,
    )


trials = st.builds(
    begun,
    st.integers(0, 10**6),
    st.dictionaries(words, texts, max_size=5),
    st.dictionaries(words, plain, max_size=3),
)
jobs = st.builds(
    JobOutcome, st.sampled_from(JobState), texts, st.text(st.characters(exclude_categories=["Cs"]))
)


@given(trials)
def test_a_trial_is_read_as_it_was_handed_on(trial: Trial) -> None:
    assert read_item(item_text(trial), HISTORY) == trial


@given(trials, jobs, texts.filter(bool))
def test_an_outcome_is_read_as_it_was_handed_on(trial: Trial, job: JobOutcome, end: str) -> None:
    told = read_outcome(outcome_text(Outcome(trial, job, end)), HISTORY)
    assert replace(told, job=None) == Outcome(trial, None, end)
    assert told.job is not None
    assert (told.job.state, told.job.reason) == (job.state, job.reason)
    if len(job.message) <= MOST:
        assert told.job.message == job.message
    else:
        start, _, _ = told.job.message.partition(" ... ")
        assert job.message.startswith(start)
        assert told.job.message[-200:] == job.message[-200:]
    assert len(told.job.message) <= MOST


@given(trials)
def test_a_trial_on_record_has_no_more_than_itself(trial: Trial) -> None:
    assert read_outcome(outcome_text(Outcome(trial)), HISTORY) == Outcome(trial)


@pytest.mark.parametrize("length", [MOST, MOST + 1, 100_000])
def test_a_long_message_keeps_its_start_and_its_end(length: int) -> None:
    message = "began " + "x" * (length - 11) + " died"
    told = outcome_text(Outcome(begun(0, {}, {}), JobOutcome(JobState.FAILED, "Error", message)))
    job = read_outcome(told, HISTORY).job
    assert job is not None
    assert (job.message == message) == (length <= MOST)
    assert job.message.startswith("began x") and job.message.endswith("x died")
    assert MOST - 5 <= len(job.message) <= MOST


def test_they_are_short() -> None:
    """Nothing is in them that the study says, or that follows from the number."""
    trial = begun(17, {"lr": "0.01234567890123456", "momentum": "0.9"}, {})
    item = item_text(trial)
    assert set(json.loads(item)) == {"number", "assignments", "start"}
    assert len(item) <= 50 + len(json.dumps(trial.assignments)) + len(trial.start or "")
    job = JobOutcome(JobState.SUCCEEDED, "", "")
    outcome = outcome_text(Outcome(trial, job, trial.start))
    assert set(json.loads(outcome)) == {"trial", "state", "end"}
    assert len(outcome) <= len(item) + 80
    assert len(outcome_text(Outcome(trial))) <= len(item) + 10
    long = JobOutcome(JobState.FAILED, "Error", "é" * 10_000)
    assert len(outcome_text(Outcome(trial, long, trial.start))) <= len(item) + 120 + MOST
    assert HISTORY.experiment.name not in item + outcome


@pytest.mark.parametrize("text", ["{}", '{"number":-1,"assignments":{}}', '{"number":0}'])
def test_what_is_no_trial_is_refused(text: str) -> None:
    with pytest.raises(HistoryError):
        read_item(text, HISTORY)
    with pytest.raises(HistoryError):
        read_outcome(f'{{"trial":{text}}}', HISTORY)
