from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from katibflow.experiment.types import Experiment
from katibflow.printing import counted
from katibflow.study.decision import Decision, decide, used_up
from katibflow.study.history import Observation, Trial, TrialState
from katibflow.study.objectives import best_trial
from katibflow.study.reasons import ExperimentReason as Why
from tests.samples import experiment

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
KILLED, RUNNING = TrialState.KILLED, TrialState.RUNNING


def limits(
    most: int | None = None,
    parallel: int | None = None,
    failed: int | None = None,
    goal: float | None = None,
    **objective: Any,
) -> Experiment:
    return experiment(
        {
            "spec.maxTrialCount": most,
            "spec.parallelTrialCount": parallel,
            "spec.maxFailedTrialCount": failed,
            "spec.objective.goal": goal,
        }
        | {f"spec.objective.{name}": value for name, value in objective.items()}
    )


def trials(*given: TrialState | float | tuple[TrialState, float]) -> list[Trial]:
    """Trials by state, by the objective of a complete one, or by both."""
    made = []
    for number, each in enumerate(given):
        state, value = (
            each
            if isinstance(each, tuple)
            else (each, None)
            if isinstance(each, TrialState)
            else (COMPLETE, each)
        )
        seen = {} if value is None else {"loss": Observation(value, value, value)}
        made.append(Trial(number, state, {"lr": "0.1"}, seen))
    return made


def reason(setup: Experiment, *given: TrialState | float | tuple[TrialState, float]) -> str:
    decision = decide(setup, trials(*given))
    assert decision.finished == bool(decision.reason) == bool(decision.message)
    assert decision.finished or not decision.succeeded
    assert not (decision.finished and decision.wanted)
    return decision.reason


@pytest.mark.parametrize(
    ("kind", "goal", "value", "reached"),
    [
        ("minimize", 0.5, 0.5, True),
        ("minimize", 0.5, 0.4999, True),
        ("minimize", 0.5, 0.5001, False),
        ("maximize", 0.5, 0.5, True),
        ("maximize", 0.5, 0.5001, True),
        ("maximize", 0.5, 0.4999, False),
        ("minimize", 0.0, -1.0, True),
        ("minimize", None, -1e300, False),
        ("minimize", 0.5, math.nan, False),
        ("minimize", 0.5, -math.inf, False),
        ("maximize", 0.5, math.inf, False),
    ],
)
def test_the_goal_is_reached_by_the_best_finite_value(
    kind: str, goal: float | None, value: float, reached: bool
) -> None:
    setup = limits(goal=goal, type=kind)
    assert reason(setup, value) == (Why.GOAL_REACHED if reached else "")


def test_the_goal_is_said_with_its_numbers() -> None:
    decision = decide(limits(goal=0.5), trials(0.9, FAIL, 0.25))
    assert decision == Decision(
        True, True, Why.GOAL_REACHED, "trial 2 reached loss=0.25, the goal is 0.5", 0
    )


@pytest.mark.parametrize(
    ("state", "reached"),
    [(COMPLETE, True), (PRUNED, True), (RUNNING, False), (FAIL, False), (KILLED, False)],
)
def test_only_trials_that_ended_well_or_early_reach_the_goal(
    state: TrialState, reached: bool
) -> None:
    assert (reason(limits(goal=0.5), (state, 0.1)) == Why.GOAL_REACHED) == reached


def test_goal_comes_before_failures_and_failures_before_the_budget() -> None:
    all_at_once = [0.1, FAIL, FAIL]
    assert reason(limits(goal=0.5, failed=2, most=3), *all_at_once) == Why.GOAL_REACHED
    assert reason(limits(goal=0.05, failed=2, most=3), *all_at_once) == Why.FAILED
    assert reason(limits(goal=0.05, failed=3, most=3), *all_at_once) == Why.MAX_TRIALS_REACHED
    assert reason(limits(goal=0.05, failed=3, most=4), *all_at_once) == ""


@pytest.mark.parametrize(
    ("limit", "failed", "ends"),
    [
        (0, 0, False),
        (0, 1, True),
        (1, 0, False),
        (1, 1, True),
        (2, 1, False),
        (2, 2, True),
        (None, 50, False),
    ],
)
def test_too_many_failed_trials_end_the_experiment(
    limit: int | None, failed: int, ends: bool
) -> None:
    decision = decide(limits(failed=limit), trials(0.5, KILLED, PRUNED, *[FAIL] * failed))
    assert decision.finished == ends
    if ends:
        assert decision.reason == Why.FAILED
        assert not decision.succeeded
        found = counted(failed, "trial")
        assert decision.message == f"{found} failed, maxFailedTrialCount is {limit}"


@pytest.mark.parametrize("state", [FAIL, PRUNED, COMPLETE])
def test_every_ended_trial_uses_up_the_budget(state: TrialState) -> None:
    assert reason(limits(most=3), state, state) == ""
    assert reason(limits(most=3), state, state, state) == Why.MAX_TRIALS_REACHED


def test_killed_trials_count_for_nothing() -> None:
    setup = limits(most=2, parallel=2, failed=0)
    assert decide(setup, trials(*[KILLED] * 5)) == Decision(False, False, "", "", 2)


def test_running_trials_do_not_use_up_the_budget_yet() -> None:
    assert decide(limits(most=2, parallel=2), trials(RUNNING, RUNNING)).finished is False


def test_a_trial_whose_objective_is_not_finite_is_no_failure_and_uses_up_the_budget() -> None:
    assert reason(limits(most=2, failed=0), math.nan) == ""
    assert reason(limits(most=2, failed=0), math.nan, math.inf) == Why.MAX_TRIALS_REACHED


@pytest.mark.parametrize(
    ("most", "parallel", "given", "wanted"),
    [
        (None, None, [], 3),
        (None, 2, [], 2),
        (2, None, [], 2),
        (12, 3, [RUNNING, RUNNING], 1),
        (12, 3, [RUNNING, 0.5, FAIL], 2),
        (4, 3, [0.5, 0.5, 0.5], 1),
        (4, 3, [0.5, 0.5, RUNNING], 1),
        (4, 3, [0.5, 0.5, 0.5, RUNNING], 0),
        (4, 3, [RUNNING] * 3, 0),
        (4, 3, [RUNNING] * 5, 0),
        (4, 3, [0.5, KILLED, KILLED], 3),
    ],
)
def test_as_many_trials_are_wanted_as_fit(
    most: int | None, parallel: int | None, given: list[Any], wanted: int
) -> None:
    assert decide(limits(most, parallel), trials(*given)).wanted == wanted


def test_a_used_up_space_ends_well() -> None:
    assert used_up() == Decision(
        True,
        True,
        Why.SUGGESTION_END_REACHED,
        "every combination of the search space was tried",
        0,
    )


@pytest.mark.parametrize(
    ("kind", "values", "best"),
    [
        ("minimize", [0.5, 0.1, 0.3], 1),
        ("maximize", [0.5, 0.1, 0.7], 2),
        ("minimize", [0.5, 0.1, 0.1], 1),
        ("maximize", [0.5, 0.7, 0.7], 1),
        ("minimize", [math.nan, 0.5, -math.inf, math.inf], 1),
        ("maximize", [math.inf, math.nan, 0.5], 2),
        ("minimize", [0.0, -0.0], 0),
        ("minimize", [math.nan], None),
        ("minimize", [], None),
        ("minimize", [(FAIL, 0.1), (KILLED, 0.1), (RUNNING, 0.1), 0.9], 3),
        ("minimize", [(PRUNED, 0.1), 0.2], 0),
        ("minimize", [COMPLETE, 0.2], 1),
        ("minimize", [1.7e308], 0),
    ],
)
def test_the_best_trial_is_the_first_with_the_best_finite_value(
    kind: str, values: list[Any], best: int | None
) -> None:
    found = best_trial(limits(type=kind).spec.objective, trials(*values))
    assert (found.number if found else None) == best


def test_the_strategy_says_which_value_stands_for_a_trial() -> None:
    seen = [Observation(0.3, 0.1, 0.9), Observation(0.2, 0.15, 0.2)]
    both = [
        Trial(number, COMPLETE, {}, {"loss": observation})
        for number, observation in enumerate(seen)
    ]
    for strategy, best in (("min", 0), ("latest", 1), ("max", 1)):
        chosen = [{"name": "loss", "value": strategy}]
        objective = limits(metricStrategies=chosen).spec.objective
        found = best_trial(objective, both)
        assert found is not None
        assert found.number == best, strategy


STEPS = st.lists(
    st.tuples(
        st.sampled_from([COMPLETE, COMPLETE, PRUNED, FAIL, KILLED]),
        st.sampled_from([0.1, 0.5, 0.9, math.nan, math.inf, -math.inf]),
        st.integers(0, 20),
    ),
    max_size=60,
)
MAYBE: Callable[[int, int], st.SearchStrategy[int | None]] = lambda low, high: (  # noqa: E731
    st.none() | st.integers(low, high)
)


@given(MAYBE(1, 12), MAYBE(1, 8), MAYBE(0, 4), st.sampled_from([None, 0.1, 0.5]), STEPS)
def test_an_experiment_never_runs_more_than_it_may(
    most: int | None,
    parallel: int | None,
    failed: int | None,
    goal: float | None,
    steps: list[tuple[TrialState, float, int]],
) -> None:
    """A small experiment whose trials end in any order and any way, decided after each."""
    setup = limits(most, parallel, failed, goal)
    so_far: list[Trial] = []
    decision = decide(setup, so_far)
    for state, value, which in steps:
        if decision.finished:
            break
        for _ in range(decision.wanted):
            so_far.append(Trial(len(so_far), RUNNING, {}))
        running = [trial for trial in so_far if trial.state is RUNNING]
        ended = [trial for trial in so_far if trial.state not in (RUNNING, KILLED)]
        assert 0 < len(running) <= setup.spec.parallelism
        assert most is None or len(running) + len(ended) <= most
        assert decide(setup, so_far) == Decision(False, False, "", "", 0)
        chosen = running[which % len(running)]
        so_far[chosen.number] = trials(*[RUNNING] * chosen.number, (state, value))[-1]
        decision = decide(setup, so_far)
    count = [trial.state for trial in so_far].count
    if decision.reason == Why.FAILED:
        assert failed is not None
        assert count(FAIL) == max(failed, 1)
    if decision.reason == Why.MAX_TRIALS_REACHED:
        assert count(COMPLETE) + count(PRUNED) + count(FAIL) == most
    if decision.reason == Why.GOAL_REACHED:
        best = best_trial(setup.spec.objective, so_far)
        assert best is not None
        assert goal is not None
        assert best.observations["loss"].min <= goal
