"""What differs between an Experiment and the one that trials on record ran with."""

from __future__ import annotations

from typing import Any

import pytest

from katibflow.experiment.bootstrap import BOOTSTRAPS
from katibflow.study.changes import (
    changed_programs,
    changes,
    changes_text,
    compared,
    shortened,
)
from tests.samples import experiment

CONTAINER = "spec.trialTemplate.trialSpec.spec.template.spec.containers.0"
SHOWN = "spec.trialTemplate.trialSpec.spec.template.spec.containers[0]"


def found(now: dict[str, Any], then: dict[str, Any] | None = None) -> list[str]:
    new, old = compared(experiment(now)), compared(experiment(then or {}))
    # A record that has only hashes of long texts finds the same.
    assert [each.path for each in changes(new, shortened(old))] == [
        each.path for each in changes(new, old)
    ]
    return [str(each) for each in changes(new, old)]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"spec.maxTrialCount": 50, "spec.parallelTrialCount": 7, "spec.maxFailedTrialCount": 2},
        {"metadata.annotations": {"katibflow/trialTimeout": "60"}},
        {"spec.resumePolicy": "LongRunning"},
        {"spec.trialTemplate.retain": True},
        {"spec.trialTemplate.primaryPodLabels": {}},
        {"spec.algorithm.algorithmSettings": []},
        {"spec.metricsCollectorSpec": {"collector": {"kind": "StdOut"}}},
        {"metadata.name": "another"},
    ],
    ids=str,
)
def test_what_may_change_freely(changed: dict[str, Any]) -> None:
    assert found(changed) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({f"{CONTAINER}.image": "other"}, f'{SHOWN}.image: found "other"; the trials on record'),
        (
            {f"{CONTAINER}.args": ["--lr=${trialParameters.lr}", "--more"]},
            f'{SHOWN}.args[1]: found "--more"; the trials on record had nothing',
        ),
        (
            {f"{CONTAINER}.env": [{"name": "A", "value": "1"}]},
            f'{SHOWN}.env: found [{{"name": "A", "value": "1"}}]; the trials on record had nothing',
        ),
        ({"spec.algorithm.algorithmName": "tpe"}, 'spec.algorithm.algorithmName: found "tpe"; '),
        (
            {"spec.algorithm.algorithmSettings": [{"name": "random_state", "value": "3"}]},
            'spec.algorithm.algorithmSettings.random_state: found "3"; ',
        ),
        ({"spec.objective.goal": 0}, "spec.objective.goal: found 0.0; the trials on record had"),
        (
            {"spec.earlyStopping": {"algorithmName": "medianstop"}},
            "spec.earlyStopping: found ",
        ),
        (
            {"spec.metricsCollectorSpec.collector": {"kind": "Push"}},
            'spec.metricsCollectorSpec.collector.kind: found "Push"; the trials on record had "Std',
        ),
        (
            {"spec.trialTemplate.successCondition": "x"},
            "spec.trialTemplate.successCondition: found",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_told(changed: dict[str, Any], said: str) -> None:
    (text,) = found(changed)
    assert text.startswith(said)


def test_of_a_long_text_the_first_line_that_differs_is_told() -> None:
    old = "\n".join(f"line = {number}" for number in range(99))
    new = old.replace("line = 42", "line = -42")
    (text,) = found({f"{CONTAINER}.command": [new]}, {f"{CONTAINER}.command": [old]})
    assert text == (
        f'{SHOWN}.command[0]: found line 43: "line = -42"; the trials on record had "line = 42"'
    )


def test_the_words_that_start_a_function_may_be_those_of_another_release() -> None:
    new, *earlier = ({f"{CONTAINER}.command": ["python3", "-c", text]} for text in BOOTSTRAPS)
    assert earlier
    assert [found(new, old) for old in earlier] == [[] for _ in earlier]


def test_a_file_that_both_have_and_that_differs_is_a_change() -> None:
    (change,) = changed_programs(
        {"a.py": "1", "b.py": "2", "c.py": "3"}, {"a.py": "1", "b.py": "0"}
    )
    assert change.path == "b.py"


def test_many_changes_are_counted() -> None:
    now = {f"{CONTAINER}.args": [str(number) for number in range(30)]}
    text = changes_text(changes(compared(experiment(now)), compared(experiment())))
    assert len(text.splitlines()) == 10
    assert text.splitlines()[-1] == "  and 22 more"
