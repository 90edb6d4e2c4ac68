"""Whether trials on record count for a changed Experiment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from katibflow.errors import InputError, InvalidExperiment
from katibflow.study.changes import changes, compared
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.resume import (
    EarlierTrial,
    check_resume,
    is_taken_over,
    search_text,
    searched,
    take_over,
)
from tests.samples import changed, experiment

PARAMETER = {"name": "n", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "9"}}


def differences(changes: dict[str, Any]) -> list[str]:
    try:
        check_resume("new.yaml", experiment(changes), experiment())
    except InvalidExperiment as error:
        return [str(fault) for fault in error.faults]
    return []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"spec.maxTrialCount": 50, "spec.parallelTrialCount": 7, "spec.maxFailedTrialCount": 2},
        {"spec.objective.goal": 0.5},
        {"spec.algorithm.algorithmName": "tpe"},
        {"spec.earlyStopping": {"algorithmName": "medianstop"}},
        {"spec.trialTemplate.primaryContainerName": "other"},
        {"spec.objective.additionalMetricNames": ["accuracy"]},
        {"spec.objective.metricStrategies": [{"name": "loss", "value": "min"}]},
        {"metadata.name": "another"},
        {"spec.resumePolicy": "LongRunning"},
    ],
    ids=str,
)
def test_what_may_change(changes: dict[str, Any]) -> None:
    assert differences(changes) == []


@pytest.mark.parametrize(
    ("changes", "path", "allowed"),
    [
        ({"spec.parameters.1": PARAMETER}, "spec.parameters[1]", "only lr"),
        ({"spec.parameters.0": PARAMETER}, "spec.parameters", "a parameter lr"),
        (
            {"spec.parameters.0.feasibleSpace.max": "0.6"},
            "spec.parameters[0].feasibleSpace",
            '"max":"0.5"',
        ),
        (
            {"spec.parameters.0.feasibleSpace.distribution": "logUniform"},
            "spec.parameters[0].feasibleSpace",
            '"max":"0.5"',
        ),
        ({"spec.objective.type": "maximize"}, "spec.objective.type", "minimize"),
        (
            {"spec.objective.objectiveMetricName": "error"},
            "spec.objective.objectiveMetricName",
            "loss",
        ),
        (
            {"spec.objective.metricStrategies": [{"name": "loss", "value": "latest"}]},
            "spec.objective.metricStrategies",
            "min for loss",
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_may_not_change(changes: dict[str, Any], path: str, allowed: str) -> None:
    found = differences(changes)
    assert any(text.startswith(f"{path}: ") and allowed in text for text in found)
    assert all("as the trials on record of sample have it" in text for text in found)


def test_a_changed_type_is_named() -> None:
    new = changed(
        {
            "spec.parameters.0.parameterType": "int",
            "spec.parameters.0.feasibleSpace": {"min": "1", "max": "5"},
        }
    )
    found = differences({"spec.parameters.0": new["spec"]["parameters"][0]})
    assert found[0].startswith("spec.parameters[0].parameterType: found int; allowed: double")


def test_all_differences_come_at_once() -> None:
    found = differences(
        {
            "spec.objective.type": "maximize",
            "spec.parameters.0.feasibleSpace.max": "0.7",
            "spec.parameters.1": PARAMETER,
        }
    )
    assert len(found) >= 3


def test_the_order_of_parameters_may_change() -> None:
    two = {"spec.parameters.1": PARAMETER}
    turned = experiment(two)
    parameters = list(reversed(changed(two)["spec"]["parameters"]))
    check_resume("new.yaml", experiment({"spec.parameters": parameters}), turned)


def test_a_uniform_distribution_spelled_out_is_no_difference() -> None:
    assert differences({"spec.parameters.0.feasibleSpace.distribution": "uniform"}) == []


def resumed(
    numbers: list[int], changes: dict[str, Any] | None = None, resume: str = "all"
) -> History:
    """A new history after trials of one earlier run, which had the sample's algorithm."""
    earlier = [
        EarlierTrial(
            "00000000",
            Trial(
                number,
                TrialState.COMPLETE,
                {},
                start=f"2026-01-01T00:00:0{number}",
                job=f"sample-00000000-{number}",
                attributes={"parent": number},
            ),
            search_text(experiment()),
        )
        for number in numbers
    ]
    new = History(experiment(changes or {}), "11111111", 1)
    return take_over("new.yaml", new, resume, earlier)


class TestTakenOver:
    def test_they_are_numbered_by_their_start(self) -> None:
        trials = resumed([5, 3, 4]).trials
        assert [(trial.number, trial.job) for trial in trials] == [
            (0, "sample-00000000-3"),
            (1, "sample-00000000-4"),
            (2, "sample-00000000-5"),
        ]

    def test_they_are_numbered_as_they_were_made_and_not_as_their_jobs_were(self) -> None:
        made = [
            Trial(
                number,
                TrialState.COMPLETE,
                {},
                queued="2026-01-01T00:00:00.000+00:00",
                start=f"2026-01-01T00:00:0{9 - number}",
                job=f"sample-00000000-{number}",
                attributes={"parent": number},
            )
            for number in range(2)
        ]
        earlier = [EarlierTrial("00000000", each, search_text(experiment())) for each in made]
        taken = take_over("new.yaml", History(experiment(), "11111111", 1), "all", earlier)
        assert taken.trials == tuple(made)

    def test_what_the_algorithm_noted_is_kept_when_all_it_speaks_of_is_the_same(self) -> None:
        assert [trial.attributes for trial in resumed([0, 1]).trials] == [
            {"parent": 0},
            {"parent": 1},
        ]

    def test_it_is_dropped_when_numbers_change(self) -> None:
        assert [trial.attributes for trial in resumed([0, 2]).trials] == [{}, {}]

    def test_it_is_dropped_when_the_algorithm_changes(self) -> None:
        changes = {"spec.algorithm.algorithmName": "tpe"}
        taken = resumed([0, 1], changes, "all+changed")
        assert [trial.attributes for trial in taken.trials] == [{}, {}]

    @pytest.mark.parametrize(
        "changes",
        [
            {"spec.trialTemplate.trialSpec.spec.template.spec.containers.0.image": "other"},
            {"spec.algorithm.algorithmName": "tpe"},
            {"spec.earlyStopping": {"algorithmName": "medianstop"}},
        ],
        ids=str,
    )
    def test_another_template_or_algorithm_is_not_taken_over_in_silence(
        self, changes: dict[str, Any]
    ) -> None:
        with pytest.raises(InputError, match=r"ran with another Experiment:\n  spec\.") as caught:
            resumed([0], changes)
        assert "allowed: resume none or another name" in str(caught.value)
        (kept,) = resumed([0, 1], changes, "00000000+changed").kept
        assert kept.trials == (0, 1)
        assert kept.changes[0].startswith("spec.")

    def test_what_a_run_may_change_is_no_difference(self) -> None:
        changes = {"spec.objective.goal": 0.5, "spec.maxTrialCount": 99}
        assert resumed([0], changes).kept == ()

    def test_records_of_an_earlier_release_say_less_and_are_taken_over(self) -> None:
        text = json.dumps(searched(experiment()))
        trial = Trial(0, TrialState.COMPLETE, {}, job="sample-00000000-0")
        new = History(experiment({"spec.algorithm.algorithmName": "tpe"}), "11111111", 1)
        taken = take_over("new.yaml", new, "all", [EarlierTrial("00000000", trial, text)])
        assert len(taken.trials) == 1

    def test_they_are_known_by_their_jobs_names(self) -> None:
        history = resumed([0])
        assert is_taken_over(history, history.trials[0])
        own = Trial(0, TrialState.RUNNING, {}, job=f"{history.experiment.name}-11111111-0")
        assert not is_taken_over(history, own)

    def test_nothing_is_read_when_nothing_is_resumed(self) -> None:
        new = History(experiment(), "11111111", 1)

        def earlier() -> Iterator[EarlierTrial]:
            raise AssertionError
            yield

        assert take_over("new.yaml", new, "none", earlier()) == new

    def test_a_search_too_long_for_an_annotation_is_not_kept(self) -> None:
        words = [f"{number:05}" for number in range(3_000)]
        space = {"name": "lr", "parameterType": "categorical", "feasibleSpace": {"list": words}}
        assert search_text(experiment({"spec.parameters": [space]})) == ""
        assert len(search_text(experiment())) < 1_200

    def test_a_long_template_is_kept_as_hashes(self) -> None:
        path = "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.command"
        long, other = (experiment({path: ["sh", "-c", "x" * 20_000 + end]}) for end in "ab")
        data = json.loads(search_text(long))["compared"]
        assert changes(compared(long), data) == ()
        (change,) = changes(compared(other), data)
        assert change.path.endswith("containers[0].command[2]")
