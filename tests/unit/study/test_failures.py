"""Failed trials by their causes, as people read them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from katibflow.api.result import Result
from katibflow.errors import KatibflowError
from katibflow.study.ending import Ending
from katibflow.study.failures import (
    cause_of,
    failures_of,
    gave_nothing,
    same_cause,
    succeeded_text,
)
from katibflow.study.history import History, Observation, Trial, TrialState
from tests.samples import experiment

OBJECTIVE = experiment().spec.objective


def failed(number: int, lines: Sequence[str], reason: str = "ReplicaFailed") -> Trial:
    listed = "".join(f"\n  {line}" for line in lines)
    message = f"job-0 failed with exit code 1; the last lines of job-0:{listed}"
    return Trial(number, TrialState.FAIL, {}, reason=reason, message=message)


def complete(number: int, value: float) -> Trial:
    seen = Observation(value, value, value)
    return Trial(number, TrialState.COMPLETE, {}, {"loss": seen})


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (["Traceback (most recent call last):", "ValueError: bad"], "ValueError: bad"),
        (
            [
                "RuntimeError: CUDA error: assert",
                "For debugging pass CUDA_LAUNCH_BLOCKING=1",
                "---",
            ],
            "RuntimeError: CUDA error: assert",
        ),
        (["usage: t.py [-h]", "t.py: error: no such option"], "t.py: error: no such option"),
        (
            ["torch.OutOfMemoryError: CUDA out of memory"],
            "torch.OutOfMemoryError: CUDA out of memory",
        ),
        (["[rank0]: KeyError: 'x'", "[W1129] destroying"], "[rank0]: KeyError: 'x'"),
        (["epoch 1", "======"], "epoch 1"),
    ],
)
def test_the_line_that_tells_most_is_the_cause(lines: list[str], cause: str) -> None:
    assert cause_of(failed(0, lines)) == cause


def test_without_lines_of_a_log_the_sentence_is_the_cause() -> None:
    trial = Trial(0, TrialState.FAIL, {}, reason="JobDeleted", message="a-1 was deleted")
    assert cause_of(trial) == "a-1 was deleted"


def test_a_job_without_the_metric_is_told_by_its_sentence_and_not_by_a_line_of_its_log() -> None:
    sentence = "the job succeeded without reporting los (did you mean loss?)"
    message = f"{sentence}: 3 lines were read with the filter x: y\n  nearly: error: loss=1.05"
    trials = [
        Trial(number, TrialState.FAIL, {}, reason="MetricsUnavailable", message=message)
        for number in (0, 1)
    ]
    assert failures_of(trials)[0].text == f"2 trials (0, 1): {sentence}"
    assert succeeded_text(trials) == f"0 of 2 trials succeeded; 2 failed: {sentence}"
    history = History(experiment(), "0a1b2c3d", 1, tuple(trials))
    with pytest.raises(KatibflowError, match=r"2 trials \(0, 1\): the job succeeded without repo"):
        _ = Result(history, Ending(True, "", "")).best


def test_the_same_with_other_numbers_is_one_cause_and_the_commonest_is_first() -> None:
    trials = [
        failed(0, ["KeyError: 'a'"]),
        failed(1, ["ValueError: lr 0.1 is too large"]),
        failed(2, ["ValueError: lr 0.2 is too large"]),
        complete(3, 1.0),
    ]
    first, second = failures_of(trials)
    assert first.text == "2 trials (1, 2): ValueError: lr 0.1 is too large"
    assert second.text == "1 trial (0): KeyError: 'a'"
    assert same_cause(trials[1:3]) == "ValueError: lr 0.1 is too large"
    assert same_cause(trials[:2]) == same_cause(trials[2:]) == ""
    assert succeeded_text(trials) == (
        "1 of 4 trials succeeded; 3 failed, 2 of them: job-0 failed with exit code 1 "
        "(ValueError: lr 0.1 is too large)"
    )


def test_a_run_gave_nothing_if_no_trial_has_a_finite_value() -> None:
    nan = float("nan")
    assert gave_nothing(OBJECTIVE, [failed(0, ["x"])])
    assert gave_nothing(OBJECTIVE, [complete(0, nan), failed(1, ["x"])])
    assert not gave_nothing(OBJECTIVE, [complete(0, 1.0), failed(1, ["x"])])
    assert not gave_nothing(OBJECTIVE, [])
    assert not gave_nothing(OBJECTIVE, [Trial(0, TrialState.KILLED, {})])
