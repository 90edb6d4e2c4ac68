"""What steps hand on: nothing is lost of a trial, and no more is said than the next step needs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from katibflow.engine.trial import new_trial
from katibflow.errors import HistoryError
from katibflow.steps.messages import item_text, read_item
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.job_name import job_name
from katibflow.suggestion.suggester import Suggestion
from tests.shell_trials import experiment

HISTORY = History(experiment("echo loss=1"), "0a1b2c3d", 1)
TIME = "2026-01-01T00:00:00.000+00:00"
NASTY = "&=%+ \"'\\{{}}[]?#;\n\t\0é€😀"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.text(NASTY, max_size=9)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def begun(
    number: int,
    assignments: dict[str, str],
    attributes: dict[str, Any] | None = None,
    queued: str | None = TIME,
) -> Trial:
    return Trial(
        number,
        TrialState.RUNNING,
        assignments,
        queued=queued,
        job=job_name(HISTORY.experiment, HISTORY.run, number),
        attributes=attributes or {},
    )


trials = st.builds(
    begun,
    st.integers(0, 10**6),
    st.dictionaries(texts, texts, max_size=5),
    st.dictionaries(texts, plain, max_size=3),
    st.none() | st.just(TIME),
)


@given(trials)
@example(begun(0, {"": ""}))
@example(begun(0, {NASTY: NASTY, "x": "", "a=b&c": "{{$.inputs}}"}, {NASTY: [{NASTY: NASTY}]}))
def test_a_trial_is_read_as_it_was_handed_on(trial: Trial) -> None:
    assert read_item(item_text(trial), HISTORY) == trial


@given(trials)
@example(begun(0, {"{{{": "{{{{"}, {"{{": {"{": ["{{{"]}}))
def test_the_text_needs_no_escape_and_holds_no_placeholder(trial: Trial) -> None:
    """In JSON inside JSON a quote takes eight characters; two braces are KFP's and Argo's."""
    text = item_text(trial)
    assert text.isascii() and text.isprintable()
    assert not set(text) & set("\"'\\<> ")
    assert "{{" not in text


def test_a_new_trial_survives_with_all_it_has() -> None:
    trial = new_trial(HISTORY, 3, Suggestion({"lr": "0.01", "layers": "2"}, {"pbt:parent": 1}))
    assert read_item(item_text(trial), HISTORY) == trial


@pytest.mark.parametrize(
    ("trial", "text"),
    [
        (
            begun(3, {"lr": "0.01", "layers": "2"}),
            "3&2026-01-01T00:00:00.000Z&&lr=0.01&layers=2",
        ),
        (
            begun(0, {"a b": "c=d"}, {"k": [1, {"n": None}]}),
            "0&2026-01-01T00:00:00.000Z&{%22k%22:[1,{%22n%22:null}]}&a%20b=c%3Dd",
        ),
        (begun(12, {}, queued=None), "12&&"),
    ],
    ids=["as most are", "quoted", "nothing"],
)
def test_the_text_is_the_number_the_time_the_attributes_and_the_assignments(
    trial: Trial, text: str
) -> None:
    """Nothing is in it that the study says, or that follows from the number."""
    assert item_text(trial) == text
    assert read_item(text, HISTORY) == trial


@pytest.mark.parametrize(
    "text",
    [
        *("", "3", "3&", "{}", '{"number":0,"assignments":{}}'),
        *("three&&", "-1&&", "1.5&&", "3&&{", "3&&[1]", "3&&7"),
        *("3&&&lr", "3&&&lr=1=2", "3&&&lr=1&"),
    ],
)
def test_what_is_no_trial_is_refused(text: str) -> None:
    with pytest.raises(HistoryError, match="allowed: a trial as `suggestion` tells it"):
        read_item(text, HISTORY)
