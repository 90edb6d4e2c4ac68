"""Tests the field by which a kind's controller deletes finished jobs."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from katibflow.experiment import job_kinds
from katibflow.runners.kubernetes.record_lifetime import drop_lifetime, lifetime_of, lifetime_path

FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "Job": ({"ttlSecondsAfterFinished": 0}, "spec.ttlSecondsAfterFinished"),
    "PyTorchJob": (
        {"runPolicy": {"ttlSecondsAfterFinished": 5}},
        "spec.runPolicy.ttlSecondsAfterFinished",
    ),
    "Workflow": ({"ttlStrategy": {"secondsAfterCompletion": 9}}, "spec.ttlStrategy"),
}


def kind_named(name: str) -> job_kinds.JobKind:
    return next(kind for kind in job_kinds.KINDS.values() if kind.kind == name)


@pytest.mark.parametrize("name", FIELDS)
def test_the_field_is_taken_out_and_can_be_put_back(name: str) -> None:
    spec, path = FIELDS[name]
    body = {"spec": {**copy.deepcopy(spec), "other": 1}}
    before = copy.deepcopy(body)
    kind = kind_named(name)
    assert lifetime_of(kind, body) == {"spec": spec}
    assert body == before
    drop_lifetime(kind, body)
    assert lifetime_of(kind, body) is None
    assert body["spec"]["other"] == 1
    assert lifetime_path(kind) == path


@pytest.mark.parametrize("body", [{}, {"spec": None}, {"spec": {"runPolicy": None}}, {"spec": {}}])
@pytest.mark.parametrize("name", [*FIELDS, "TrainJob", "RayJob"])
def test_a_job_without_it_stays_as_it_is(name: str, body: dict[str, Any]) -> None:
    before = copy.deepcopy(body)
    drop_lifetime(kind_named(name), body)
    assert (lifetime_of(kind_named(name), body), body) == (None, before)


def test_a_ray_job_keeps_its_own_which_is_about_its_cluster() -> None:
    body = {"spec": {"ttlSecondsAfterFinished": 60}}
    drop_lifetime(kind_named("RayJob"), body)
    assert body == {"spec": {"ttlSecondsAfterFinished": 60}}
