"""Tests what a refusal of the API server means; the Status objects are those of Kubernetes 1.35."""

from __future__ import annotations

import pytest

from katibflow.experiment import job_kinds
from katibflow.runners.kubernetes.api import ApiError
from katibflow.runners.kubernetes.quota import UsedUp, explanation, used_up

EXCEEDED = (
    'jobs.batch "probe" is forbidden: exceeded quota: jobs2, requested: count/jobs.batch=1, '
    "used: count/jobs.batch=2, limited: count/jobs.batch=2"
)
NAMED = {"name": "probe", "group": "batch", "kind": "jobs"}
FULL = UsedUp("jobs2", "count/jobs.batch=1", "count/jobs.batch=2", "count/jobs.batch=2")
JOB = job_kinds.KINDS["batch/v1", "Job"]
TRAIN_JOB = job_kinds.KINDS["trainer.kubeflow.org/v1alpha1", "TrainJob"]


def test_a_quota_is_told_by_the_status() -> None:
    assert used_up(ApiError(403, EXCEEDED, "Forbidden", None, NAMED), "probe") == FULL


@pytest.mark.parametrize(
    ("status", "message", "reason", "details"),
    [
        (
            403,
            'jobs.batch is forbidden: User "exceeded quota: a, requested: b, used: c, limited: d" '
            'cannot create resource "jobs" in API group "batch" in the namespace "n"',
            "Forbidden",
            {"group": "batch", "kind": "jobs"},
        ),
        (
            403,
            'jobs.batch "probe" is forbidden: denied by the webhook: you cannot',
            "Forbidden",
            NAMED,
        ),
        (409, EXCEEDED, "AlreadyExists", NAMED),
        (403, EXCEEDED, "", {}),
    ],
    ids=["authorizer", "webhook", "conflict", "no Status"],
)
def test_other_refusals_are_none(
    status: int, message: str, reason: str, details: dict[str, str]
) -> None:
    assert used_up(ApiError(status, message, reason, None, details), "probe") is None


def test_it_names_the_finished_jobs_and_what_frees_the_quota() -> None:
    text = explanation(FULL, JOB, "team", "mnist", [f"mnist-{number}" for number in range(7)])
    assert text.startswith("quota jobs2 is used up (used: count/jobs.batch=2, limited: count/")
    assert (
        "7 finished jobs of mnist are in it: mnist-0, mnist-1, mnist-2, mnist-3, mnist-4 ..."
        in (text)
    )
    assert "trialSpec.spec.ttlSecondsAfterFinished (0, say) keeps the records" in text
    assert "kubectl delete jobs -n team -l katibflow/experiment=mnist,katibflow/state" in text
    assert "ttl" not in explanation(FULL, TRAIN_JOB, "team", "mnist", ["mnist-0"])
    assert "others must free it" in explanation(FULL, JOB, "team", "mnist", [])
