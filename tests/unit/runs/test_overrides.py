"""Values that a start of a run gives in place of the Experiment's."""

from __future__ import annotations

from typing import Any

import pytest

from katibflow.errors import InputError, InvalidExperiment
from katibflow.experiment.types import Experiment
from katibflow.runs.overrides import Overrides, checked_with_overrides, parse_env
from katibflow.study.changes import changes, compared
from katibflow.validation.rules import check_document
from tests.shell_trials import document


def overridden(*, in_python: bool = False, **given: Any) -> Experiment:
    values = Overrides(**given)
    return checked_with_overrides(
        document("true"), values, "e.yaml", check_document, in_python=in_python
    )


def test_values_stand_in_the_experiment_as_if_the_file_had_them() -> None:
    made = overridden(
        max_trial_count=2, max_failed_trial_count=1, goal=0.5, algorithm_name="tpe", seed=7
    )
    spec = made.spec
    assert (spec.max_trial_count, spec.max_failed_trial_count) == (2, 1)
    assert spec.parallel_trial_count == 2, "the file's 3 are more than there are trials"
    assert spec.objective.goal == 0.5
    assert spec.algorithm.algorithm_name == "tpe"
    assert [(each.name, each.value) for each in spec.algorithm.algorithm_settings] == [
        ("random_state", "7")
    ]


def test_a_variable_is_in_the_container_and_the_next_start_tells_that_it_changed() -> None:
    before, after = overridden(env={"A": "b"}), overridden(env={"A": "c"})
    (found,) = changes(compared(after), compared(before))
    assert found.path.endswith("containers[0].env[1].value")
    assert (found.found, found.then) == ('"c"', '"b"')


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "A_b"}, '--name (metadata.name): found "A_b"; allowed: at most 40'),
        ({"max_trial_count": 0}, "--max-trials (spec.maxTrialCount): found 0"),
        ({"parallel_trial_count": 0}, "--parallel (spec.parallelTrialCount): found 0"),
        ({"parallel_trial_count": 7}, "--parallel (spec.parallelTrialCount): found 7"),
        ({"goal": float("nan")}, "--goal (spec.objective.goal): found nan"),
        ({"algorithm_name": "tpee"}, '--algorithm (spec.algorithm.algorithmName): found "tpee"'),
        ({"seed": -1}, "--seed (spec.algorithm.algorithmSettings[0].value): found"),
    ],
)
def test_a_fault_of_a_value_names_its_option(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidExperiment) as caught:
        overridden(**given)
    assert says in str(caught.value)


def test_in_python_a_fault_names_the_keyword() -> None:
    with pytest.raises(InvalidExperiment, match=r"max_trial_count \(spec\.maxTrialCount\)"):
        overridden(max_trial_count=0, in_python=True)


@pytest.mark.parametrize("text", ["A", "4=4", "=x"])
def test_a_variable_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--env: found"):
        parse_env([text])
    assert parse_env(["A=b=c", "D="]) == {"A": "b=c", "D": ""}
