"""The time limit of a trial on this machine, where no controller ends a job at its deadline."""

from __future__ import annotations

from typing import Any

import pytest

from katibflow.experiment.timeouts import Limits, with_deadline


@pytest.mark.parametrize(
    ("limit", "spec", "wanted"),
    [
        (None, {}, None),
        (None, {"activeDeadlineSeconds": 30}, 30),
        (None, {"runPolicy": {"activeDeadlineSeconds": 30}}, 30),
        (20.0, {"activeDeadlineSeconds": 30}, 20),
        (40.0, {"runPolicy": {"activeDeadlineSeconds": 30}}, 30),
        (40.0, {"runPolicy": None}, 40),
    ],
)
def test_the_deadline_of_the_job_is_a_limit_of_the_trial(
    limit: float | None, spec: dict[str, Any], wanted: float | None
) -> None:
    assert with_deadline(Limits(limit, 5.0), {"spec": spec}) == Limits(wanted, 5.0)
