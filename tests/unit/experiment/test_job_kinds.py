from __future__ import annotations

from typing import Any

import pytest

from katibflow.experiment.job_kinds import KINDS, kind_of, pod_templates
from tests.samples import JOB

POD = {"spec": {"containers": [{"name": "main"}]}}


def training_job(kind: str, key: str, replicas: Any) -> dict[str, Any]:
    return {"apiVersion": "kubeflow.org/v1", "kind": kind, "spec": {key: replicas}}


def condition(word: str) -> str:
    return f'status.conditions.#(type=="{word}")#|#(status=="True")#'


@pytest.mark.parametrize(
    ("api_version", "kind", "plural", "success", "labels"),
    [
        ("batch/v1", "Job", "jobs", "Complete", {}),
        *(
            (
                "kubeflow.org/v1",
                kind,
                f"{kind.lower()}s",
                "Succeeded",
                {"training.kubeflow.org/job-role": "master"},
            )
            for kind in ("PyTorchJob", "TFJob", "XGBoostJob", "MPIJob")
        ),
        (
            "trainer.kubeflow.org/v1alpha1",
            "TrainJob",
            "trainjobs",
            "Complete",
            {
                "jobset.sigs.k8s.io/replicatedjob-name": "node",
                "batch.kubernetes.io/job-completion-index": "0",
            },
        ),
    ],
)
def test_kinds_have_katibs_defaults(
    api_version: str, kind: str, plural: str, success: str, labels: dict[str, str]
) -> None:
    known = kind_of({"apiVersion": api_version, "kind": kind})
    assert (known.api_version, known.kind, known.plural) == (api_version, kind, plural)
    assert known.success_condition == condition(success)
    assert known.failure_condition == condition("Failed")
    assert known.primary_pod_labels == labels


@pytest.mark.parametrize("kind", ["PaddleJob", "JAXJob"])
def test_kinds_that_katib_has_no_defaults_for(kind: str) -> None:
    known = kind_of({"apiVersion": "kubeflow.org/v1", "kind": kind})
    assert known.replica_specs
    assert known.success_condition is known.failure_condition is known.primary_pod_labels is None


def test_another_kind_is_known_by_its_names_only() -> None:
    other = kind_of({"apiVersion": "example.org/v1", "kind": "Thing"})
    assert (other.api_version, other.kind, other.plural) == ("example.org/v1", "Thing", "things")
    assert (other.group, other.success_condition, other.primary_pod_labels) == (
        "example.org",
        None,
        None,
    )
    assert kind_of({"apiVersion": "example.org/v2", "kind": "Job"}).pod_template == ()
    assert kind_of({"apiVersion": "batch/v2", "kind": "Job"}).pod_template == ("template",)
    assert kind_of({}).kind == ""


def test_every_kind_is_found_by_its_names() -> None:
    for (api_version, kind), known in KINDS.items():
        assert kind_of({"apiVersion": api_version, "kind": kind}) is known
        assert not (known.replica_specs and known.pod_template)


@pytest.mark.parametrize(
    ("kind", "key", "given", "expected"),
    [
        ("PyTorchJob", "pytorchReplicaSpecs", ["Worker", "Master"], ["Master", "Worker"]),
        ("PyTorchJob", "pytorchReplicaSpecs", ["Worker"], ["Worker"]),
        (
            "TFJob",
            "tfReplicaSpecs",
            ["PS", "Worker", "Chief", "Evaluator"],
            ["Chief", "Worker", "PS", "Evaluator"],
        ),
        ("MPIJob", "mpiReplicaSpecs", ["Worker", "Launcher"], ["Launcher", "Worker"]),
        ("XGBoostJob", "xgbReplicaSpecs", ["Worker", "Master"], ["Master", "Worker"]),
    ],
)
def test_pods_come_with_rank_0_first_then_in_the_files_order(
    kind: str, key: str, given: list[str], expected: list[str]
) -> None:
    manifest = training_job(kind, key, {name: {"template": POD} for name in given})
    pods = pod_templates(manifest)
    assert [pod.replica_type for pod in pods] == expected
    assert [pod.path for pod in pods] == [f"spec.{key}.{name}.template" for name in expected]
    assert all(pod.template == POD for pod in pods)


@pytest.mark.parametrize(("count", "pods"), [(None, 1), (3, 3), ("${trialParameters.n}", 1)])
def test_replicas_are_counted(count: object, pods: int) -> None:
    replica = {"template": POD} | ({} if count is None else {"replicas": count})
    (pod,) = pod_templates(training_job("PyTorchJob", "pytorchReplicaSpecs", {"Master": replica}))
    assert pod.replicas == pods


def test_a_batch_job_has_one_pod_template() -> None:
    (pod,) = pod_templates(JOB)
    assert (pod.replica_type, pod.replicas, pod.path) == ("Job", 1, "spec.template")
    assert pod.template == JOB["spec"]["template"]


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"apiVersion": "example.org/v1", "kind": "Thing", "spec": {"template": POD}},
        {"apiVersion": "batch/v1", "kind": "Job"},
        {"apiVersion": "batch/v1", "kind": "Job", "spec": None},
        {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": "x"}},
        {"apiVersion": 1, "kind": ["Job"], "spec": 5},
        training_job("PyTorchJob", "pytorchReplicaSpecs", None),
        training_job("PyTorchJob", "pytorchReplicaSpecs", ["Master"]),
    ],
)
def test_what_describes_no_pods_has_none(manifest: dict[str, Any]) -> None:
    assert pod_templates(manifest) == ()


def test_a_replica_that_is_no_mapping_has_an_empty_template() -> None:
    (pod,) = pod_templates(training_job("PyTorchJob", "pytorchReplicaSpecs", {"Master": None}))
    assert pod.template == {}


@pytest.mark.parametrize(
    ("api_version", "kind", "like", "pods"),
    [
        ("kubeflow.org/v2", "XGBoostJob", ("kubeflow.org/v1", "XGBoostJob"), True),
        (
            "trainer.kubeflow.org/v1",
            "TrainJob",
            ("trainer.kubeflow.org/v1alpha1", "TrainJob"),
            True,
        ),
        ("batch.volcano.sh/v1alpha1", "Job", ("batch/v1", "Job"), False),
        ("example.com/v1", "PyTorchJob", ("kubeflow.org/v1", "PyTorchJob"), False),
    ],
)
def test_defaults_go_by_the_kind_whatever_the_group_and_version(
    api_version: str, kind: str, like: tuple[str, str], pods: bool
) -> None:
    found, known = kind_of({"apiVersion": api_version, "kind": kind}), KINDS[like]
    for field in ("success_condition", "failure_condition", "primary_pod_labels"):
        assert getattr(found, field) == getattr(known, field) is not None
    assert (found.api_version, found.plural) == (api_version, known.plural)
    assert (found.stop is not None) == (pods and known.stop is not None)
    assert (found.replica_specs == known.replica_specs) or not pods


def test_the_launcher_of_mpi_operators_job_does_the_work() -> None:
    found = kind_of({"apiVersion": "kubeflow.org/v2beta1", "kind": "MPIJob"})
    assert found.primary_pod_labels == {"training.kubeflow.org/job-role": "launcher"}
    known = KINDS["kubeflow.org/v1", "MPIJob"]
    assert found.success_condition == known.success_condition
