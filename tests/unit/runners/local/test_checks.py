"""Tests the checks for parts that cannot run on this machine."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from katibflow.errors import InvalidExperiment
from katibflow.runners.local.host import Host
from katibflow.runners.local.paths import PathMap
from katibflow.runners.local.runner import check_local
from katibflow.validation.rules import check_document, load_experiment
from tests.paths import ROOT
from tests.samples import DOCUMENT, SEED_FILE

LR = "${trialParameters.lr}"
WHERE = "spec.trialTemplate.trialSpec."


def check(manifest: Mapping[str, Any], maps: tuple[PathMap, ...] = ()) -> str:
    """Returns the faults of an experiment with this trialSpec, one a line."""
    document = copy.deepcopy(DOCUMENT)
    template = document["spec"]["trialTemplate"]
    template["trialSpec"] = manifest
    template |= {
        "primaryContainerName": "main",
        "primaryPodLabels": {"a": "b"},
        "successCondition": "status",
        "failureCondition": "status",
    }
    experiment = check_document(document, "test")
    try:
        check_local(experiment, Host(maps=tuple(maps)))
    except InvalidExperiment as error:
        return "\n".join(str(fault).removeprefix(WHERE) for fault in error.faults)
    return ""


def batch(*, pod: Mapping[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    main = {"name": "main", "image": "i", "command": ["true", LR], **container}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {"template": {"spec": {"containers": [main], **(pod or {})}}},
    }


def pytorch(spec: Mapping[str, Any] | None = None, **master: Any) -> dict[str, Any]:
    template = batch()["spec"]["template"]
    replicas = {"Master": {"replicas": 1, "template": template, **master}}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "spec": {"pytorchReplicaSpecs": replicas, **(spec or {})},
    }


@pytest.mark.parametrize(
    "manifest",
    [
        batch(),
        pytorch(),
        pytorch({"elasticPolicy": {"minReplicas": 1}}),
        batch(env=[{"name": "A", "value": "1"}, {"name": "B"}]),
        batch(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
        batch(command=[LR]),
        batch(command=["python3", f"/opt/{LR}.py"]),
        batch(command=["python3", "train.py", LR]),
        batch(command=["sh", "-c", f"echo {LR} | cat"]),
        batch(command=["cat", "/no/such/file", LR]),
        batch(command=["python3", "$(SCRIPT)", LR]),
        batch(command=["own", LR], env=[{"name": "PATH", "value": "/opt/own"}]),
    ],
)
def test_what_can_run_here_has_no_fault(manifest: dict[str, Any]) -> None:
    assert check(manifest) == ""


CASES = {
    "kind": (
        {"apiVersion": "example.com/v1", "kind": "Custom", "spec": {"lr": LR}},
        "kind: found Custom (example.com/v1); allowed: PyTorchJob (kubeflow.org/v1) or Job",
    ),
    "no command": (
        batch(command=[], args=[LR]),
        "containers[0].command: missing; allowed: the command as a list",
    ),
    "two containers": (
        batch(pod={"containers": [*batch()["spec"]["template"]["spec"]["containers"]] * 2}),
        "containers: found a list of 2; allowed: one container a pod",
    ),
    "init containers": (
        batch(pod={"initContainers": [{"name": "a"}]}),
        "initContainers: found a list of 1; allowed: nothing on this machine",
    ),
    "secret": (
        batch(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
        "env[0].valueFrom: found k of the Secret s, which is in a cluster, and no variable A here; "
        "allowed: A in the environment of this command, or A=... in a file: --env-file FILE",
    ),
    "other field": (
        batch(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]),
        "env[0].valueFrom: found status.podIP",
    ),
    "envFrom": (
        batch(envFrom=[{"secretRef": {"name": "s"}}]),
        "envFrom[0]: found the Secret s, which is in a cluster; allowed: its variables in a file, "
        "one NAME=VALUE a line: --env-file FILE",
    ),
    "env value": (batch(env=[{"name": "A", "value": 1}]), "env[0].value: found 1; allowed: a str"),
    "env name": (batch(env=[{"name": "a.b", "value": ""}]), 'env[0].name: found "a.b"'),
    "args": (batch(args=[1]), "args: found a list of 1; allowed: a list of strings"),
    "program": (
        batch(command=["/opt/x/run", LR]),
        'command[0]: found "/opt/x/run", which does not exist here; allowed: a path of this '
        "machine, or a map of the container's path: --map /opt/x=DIR",
    ),
    "not executable": (batch(command=["/etc/passwd", LR]), "which is not executable here"),
    "not on PATH": (batch(command=["no-such", LR]), 'found "no-such", which is not on PATH'),
    "script": (batch(command=["python3", "-u", "/opt/x/a.py", LR]), "command[2]: found"),
    "script in args": (
        batch(command=["torchrun"], args=["--nnodes=1", "/opt/x/a.py", LR]),
        "args[1]: found",
    ),
    "script in a shell": (
        batch(command=["sh", "-ec", f"python3 /opt/x/a.py {LR}"]),
        'command[2]: found "/opt/x/a.py", which does not exist here',
    ),
    "folder": (batch(workingDir="/opt/x"), "workingDir: found"),
    "masters": (pytorch(replicas=2), "Master.replicas: found 2; allowed: 1"),
    "rendezvous": (
        pytorch({"elasticPolicy": {"rdzvBackend": "etcd"}}),
        'elasticPolicy.rdzvBackend: found "etcd"; allowed: c10d',
    ),
    "completions": (
        {**batch(), "spec": {**batch()["spec"], "completions": 0}},
        "completions: found 0; allowed: a whole number above 0",
    ),
    "mode": (
        {**batch(), "spec": {**batch()["spec"], "completionMode": "Odd"}},
        'completionMode: found "Odd"; allowed: Indexed, NonIndexed',
    ),
}


@pytest.mark.parametrize(("manifest", "said"), CASES.values(), ids=CASES)
def test_what_cannot_run_here_is_said(manifest: dict[str, Any], said: str) -> None:
    faults = check(manifest)
    assert said in faults
    assert faults.count("\n") == 0


def test_a_count_given_by_a_parameter_is_no_fault() -> None:
    spec = {**batch()["spec"], "parallelism": LR}
    assert check({**batch(), "spec": spec}) == ""


def test_all_faults_come_at_once() -> None:
    manifest = batch(command=["no-such", LR], envFrom=[{}], workingDir="/opt/x", args=[1])
    assert len(check(manifest).splitlines()) == 4


def test_a_map_makes_the_seeds_file_run() -> None:
    experiment = load_experiment(SEED_FILE)
    with pytest.raises(InvalidExperiment) as caught:
        check_local(experiment)
    assert len(caught.value.faults) == 2
    assert "--map /opt/pytorch-mnist=DIR" in str(caught.value)
    check_local(experiment, Host(maps=(PathMap("/opt/pytorch-mnist", ROOT / "trial_image"),)))
