"""The state that grows trial by trial says what a scan of all trials says."""

from __future__ import annotations

import math
from statistics import median

from hypothesis import given, settings
from hypothesis import strategies as st

from katibflow.early_stopping import memory_for, rule_for
from katibflow.experiment.types import Experiment
from katibflow.study.chunks import Chunks
from katibflow.study.decision import decide
from katibflow.study.history import History, Observation, Point, Trial, TrialState
from katibflow.study.objectives import best_trials
from katibflow.study.state import StudyState

NAN = math.nan
VALUES = st.sampled_from([0.0, 1.0, 2.0, 3.0, NAN, math.inf])


def experiment(goals: int, goal: float | None, stops: bool = False) -> Experiment:
    objective = {"type": "minimize", "objectiveMetricName": "a"}
    if goal is not None:
        objective["goal"] = goal
    if goals:
        objective |= {
            "additionalMetricNames": ["b"],
            "goals": [{"name": "b", "type": "maximize"}],
            "constraints": [{"name": "a", "max": 2}],
        }
    spec = {
        "objective": objective,
        "algorithm": {"algorithmName": "random"},
        "parallelTrialCount": 3,
        "maxTrialCount": 12,
        "maxFailedTrialCount": 4,
        "parameters": [],
        "trialTemplate": {"trialSpec": {}},
    }
    if stops:
        settings = [{"name": "min_trials_required", "value": "1"}]
        spec["earlyStopping"] = {"algorithmName": "medianstop", "algorithmSettings": settings}
    head = {"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "metadata": {"name": "e"}}
    return Experiment.model_validate({**head, "spec": spec})


def observed(value: float, text: str = "") -> Observation:
    return Observation(NAN if text else value, value, value, text)


TRIALS = st.builds(
    lambda number, state, a, b, text, points: Trial(
        number,
        state,
        {"x": "1"},
        {"a": observed(a, text), "b": observed(b)},
        tuple(Point(step, value) for step, value in enumerate(points)),
    ),
    st.integers(0, 9),
    st.sampled_from(TrialState),
    VALUES,
    VALUES,
    st.sampled_from(["", "", "", "cell"]),
    st.lists(st.sampled_from([0.0, 1.0, 5.0]), max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(TRIALS, max_size=30), st.booleans(), st.sampled_from([None, 0.0, 1.0]))
def test_state_after_any_events_is_that_of_a_scan(
    events: list[Trial], several: bool, goal: float | None
) -> None:
    made = experiment(several, goal, stops=not several)
    objective = made.spec.objective
    state, history = StudyState.of(made), History(made, "r", 1)
    memory = memory_for(made.spec, ())
    for trial in events:
        before = state.trials.get(trial.number)
        state, history = state.with_trial(trial), history.with_trials([trial])
        memory = memory and memory.after(before, trial)
        trials = tuple(history.trials)
        assert state.trials == trials
        assert state.decision == decide(made, trials)
        assert state.front.trials == best_trials(objective, trials)
        assert state == StudyState.of(made, trials)
        if memory is not None:
            rules = [memory.rule(), rule_for(made.spec, trials)]
            told = [rule and [rule(Point(step, 4.0)) for step in range(5)] for rule in rules]
            assert told[0] == told[1]


@given(st.lists(st.tuples(st.integers(0, 700), st.integers()), max_size=60), st.integers(0, 700))
def test_chunks_are_a_sorted_tuple(pairs: list[tuple[int, int]], size: int) -> None:
    made = Chunks(_first, ((key, 0) for key in range(size)))
    plain = {key: (key, 0) for key in range(size)}
    for pair in pairs:
        made, plain[pair[0]] = made.with_items([pair]), pair
    wanted = tuple(plain[key] for key in sorted(plain))
    assert (made, len(made), tuple(reversed(made))) == (wanted, len(wanted), wanted[::-1])
    assert [made[i] for i in range(-len(wanted), len(wanted))] == [*wanted, *wanted]
    assert made == Chunks(_first, wanted) and hash(made) == hash(wanted)
    for key, _ in pairs:
        assert made.get(key) == plain.get(key)
        made = made.without(key)
        plain.pop(key, None)
    assert made == tuple(plain[key] for key in sorted(plain))


def _first(pair: tuple[int, int]) -> int:
    return pair[0]


def test_median_is_of_all_completed_trials() -> None:
    made = experiment(0, None, stops=True)
    averages = [float(number * 7 % 600) for number in range(600)]
    trials = [
        Trial(number, TrialState.COMPLETE, {}, {}, (Point(0, value),))
        for number, value in enumerate(averages)
    ]
    memory = memory_for(made.spec, trials)
    assert memory is not None
    rule = memory.rule()
    assert rule is not None
    assert f"is {median(averages):g}" in (rule(Point(5, 1000.0)) or "")
