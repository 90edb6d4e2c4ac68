"""Tests the names of trials' jobs, and that what is made from them fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from katibflow.experiment.job_kinds import name_limit
from katibflow.experiment.types import Experiment
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.job_name import job_name, job_prefixes
from katibflow.study.resume import is_taken_over
from tests.samples import DOCUMENT, JOB, changed

LONG = "a" * 39 + "z"
POD = {"spec": {"containers": [{"name": "main"}]}}


def experiment(name: str, spec: Any = None) -> Experiment:
    changes: dict[str, Any] = {"metadata.name": name}
    if spec is not None:
        changes["spec.trialTemplate.trialSpec"] = spec
    return Experiment.model_validate(changed(changes, DOCUMENT))


def train_job(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "spec": spec}


def training_job(kind: str, key: str, **replicas: Any) -> dict[str, Any]:
    given = {name: {"replicas": count, "template": POD} for name, count in replicas.items()}
    return {"apiVersion": "kubeflow.org/v1", "kind": kind, "spec": {key: given}}


RAY_JOB = {"apiVersion": "ray.io/v1", "kind": "RayJob", "spec": {}}
DATA = {"dataset": {"storageUri": "hf://a/b"}}
INDEXED = {**JOB, "spec": {**JOB["spec"], "completionMode": "Indexed", "completions": 11}}

LIMITS = [
    (JOB, 63),
    (INDEXED, 60),
    (RAY_JOB, 47),
    # the launcher of a runtime with MPI; without one it would be 48
    (train_job(), 44),
    (train_job(initializer=DATA), 33),
    (train_job(initializer={"model": {}}), 35),
    (train_job(trainer={"numNodes": 100_001}), 43),
    (training_job("PyTorchJob", "pytorchReplicaSpecs", Master=1, Worker=101), 52),
    (training_job("MPIJob", "mpiReplicaSpecs", Launcher=1, Worker=2), 52),
    (training_job("PyTorchJob", "pytorchReplicaSpecs", Worker="${trialParameters.n}"), 52),
    ({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "spec": {}}, 63),
    ({"apiVersion": "example.com/v1", "kind": "Other", "spec": {}}, 63),
    ({}, 63),
]


@pytest.mark.parametrize(("spec", "limit"), LIMITS)
def test_a_job_s_name_leaves_room_for_the_names_that_are_made_from_it(
    spec: dict[str, Any], limit: int
) -> None:
    assert name_limit(spec) == limit
    names = {job_name(experiment(LONG, spec), "b" * 12, number) for number in (0, 9, 10, 12345)}
    assert len(names) == 4 and all(len(name) <= limit for name in names)


def test_job_names_are_the_same_whenever_asked_for_and_fit_a_label() -> None:
    assert job_name(experiment("sample"), "0a1b2c3d", 7) == "sample-0a1b2c3d-7"
    assert len(job_name(experiment(LONG), "b" * 12, 999_999_999)) <= 63


def test_a_name_is_shortened_only_if_it_has_to_be() -> None:
    assert job_name(experiment("a" * 36, RAY_JOB), "0a1b2c3d", 9) == f"{'a' * 36}-0a1b2c3d-9"
    short = job_name(experiment("a" * 36, RAY_JOB), "0a1b2c3d", 10)
    assert short.startswith("a" * 24) and short.endswith("-0a1b2c3d-10") and len(short) < 47


def test_experiments_that_begin_alike_have_other_names() -> None:
    spec = train_job(initializer=DATA)
    names = {job_name(experiment(LONG[:-1] + end, spec), "0a1b2c3d", 1) for end in "xyz"}
    assert len(names) == 3


def test_no_shortened_name_has_two_hyphens_in_a_row() -> None:
    made = experiment(f"{'a' * 14}-{'b' * 20}", train_job(initializer=DATA))
    assert "--" not in job_name(made, "0a1b2c3d", 1)


@pytest.mark.parametrize("spec", [spec for spec, _ in LIMITS])
def test_a_trial_s_number_stands_behind_one_of_two_prefixes(spec: dict[str, Any]) -> None:
    prefixes = job_prefixes(LONG, "0a1b2c3d", name_limit(spec))
    for number in (0, 10, 12345):
        name = job_name(experiment(LONG, spec), "0a1b2c3d", number)
        assert name in [f"{prefix}{number}" for prefix in prefixes]


def test_a_trial_whose_name_an_older_katibflow_left_long_is_of_its_own_run() -> None:
    history = History(experiment(LONG, RAY_JOB), "0a1b2c3d", 1)
    old = Trial(3, TrialState.RUNNING, {}, job=f"{LONG}-0a1b2c3d-3")
    assert not is_taken_over(history, old)
    assert not is_taken_over(history, replace(old, job=job_name(history.experiment, "0a1b2c3d", 3)))
    assert is_taken_over(history, replace(old, job=f"{LONG}-ffffffff-3"))
