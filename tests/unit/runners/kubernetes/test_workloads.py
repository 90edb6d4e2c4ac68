"""Tests what the conditions of a Workload mean, as Kueue 0.19 sets them one after the other."""

from __future__ import annotations

from typing import Any

import pytest

from katibflow.runners.kubernetes.workloads import has_left


def workload(active: bool, **conditions: bool) -> dict[str, Any]:
    states = [{"type": kind, "status": str(holds)} for kind, holds in conditions.items()]
    return {"spec": {"active": active}, "status": {"conditions": states}}


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        pytest.param({}, False, id="not seen yet"),
        pytest.param({"QuotaReserved": False}, False, id="waits"),
        pytest.param({"QuotaReserved": False, "Evicted": True}, True, id="waited"),
        pytest.param({"QuotaReserved": True, "Admitted": True}, False, id="admitted"),
        pytest.param(
            {"QuotaReserved": True, "Evicted": True, "Admitted": True},
            False,
            id="evicted, and the job is not suspended yet",
        ),
        pytest.param(
            {"QuotaReserved": False, "Evicted": True, "Admitted": False, "Requeued": False},
            True,
            id="evicted",
        ),
        pytest.param(
            {"QuotaReserved": True, "Admitted": True, "Finished": True}, True, id="finished"
        ),
    ],
)
def test_a_workload_has_left_once_it_is_evicted_and_has_no_quota(
    conditions: dict[str, bool], left: bool
) -> None:
    assert has_left(workload(False, **conditions)) is left
    assert has_left(workload(True, **conditions)) is False


def test_a_workload_without_a_status_has_not_left() -> None:
    assert has_left({"spec": {"active": False}}) is False
