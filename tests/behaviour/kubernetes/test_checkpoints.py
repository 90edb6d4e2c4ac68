"""Tests checkpoint folders on Kubernetes: the manifest, and its script in a real shell."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from katibflow.engine.loop import run_experiment
from katibflow.errors import InvalidExperiment
from katibflow.runners.base import TrialJob
from katibflow.runners.kubernetes.checkpoints import check_checkpoints
from katibflow.runners.kubernetes.job_object import Identity, job_body
from katibflow.runners.stopping import StopRequest
from katibflow.study.checkpoints import Checkpoint
from katibflow.study.history import History
from katibflow.validation.rules import check_document
from tests.behaviour.kubernetes.test_engine_on_kubernetes import document
from tests.behaviour.runner_contract import trial
from tests.doubles.kubernetes.lab import RUN, Lab, batch_job, container, pod_template, pytorch_job
from tests.doubles.kubernetes.plays import JobPlay

OURS = Identity("kubeflow", "contract", "0a1b2c3d")
MOUNT = {"name": "checkpoints", "mountPath": "/ckpt/"}
VOLUME = {"name": "checkpoints", "persistentVolumeClaim": {"claimName": "pbt"}}
LABEL = "pbt.suggestion.katib.kubeflow.org"


def pods(
    mount: Mapping[str, Any] | None = None, volume: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    main = container(
        args=["--lr=${trialParameters.lr}"],
        securityContext={"runAsUser": 1000},
        volumeMounts=[{**MOUNT, **(mount or {})}],
    )
    return pod_template(main, restartPolicy="Never", volumes=[volume or VOLUME])


def body_of(manifest: dict[str, Any], parent: str | None = None) -> dict[str, Any]:
    checkpoint = Checkpoint("/ckpt", 0 if parent is None else 1, None if parent is None else 1)
    job = TrialJob(trial(3), manifest, "main", checkpoint=checkpoint, parent=parent)
    return job_body(job, OURS)


def init_of(pod: Mapping[str, Any]) -> dict[str, Any]:
    init: dict[str, Any] = pod["spec"]["initContainers"][0]
    return init


def prepare(init: Mapping[str, Any], root: Path, pod: str = "pod-0") -> None:
    """Runs an init container's command as the kubelet would, over a folder for the volume."""
    values = {entry["name"]: entry.get("value", pod) for entry in init["env"]}
    assert values["ROOT"] == init["volumeMounts"][0]["mountPath"]
    environment = {**os.environ, **values, "ROOT": str(root)}
    subprocess.run(init["command"], env=environment, check=True, timeout=20)


def place_of(pod: Mapping[str, Any]) -> str:
    path: str = pod["spec"]["containers"][0]["volumeMounts"][0]["subPath"]
    return path


def test_every_pod_of_a_trial_gets_the_same_folder() -> None:
    body = body_of(pytorch_job(pods()))
    replicas = body["spec"]["pytorchReplicaSpecs"]
    places = {place_of(replica["template"]) for replica in replicas.values()}
    (place,) = places
    assert place.startswith("contract-0a1b2c3d/contract-0a1b2c3d-3/")
    assert place.endswith("/checkpoint")
    for replica in replicas.values():
        init = init_of(replica["template"])
        assert init["image"] == "none" and init["securityContext"] == {"runAsUser": 1000}
        assert "subPath" not in init["volumeMounts"][0]


def test_a_subpath_of_the_files_own_comes_first() -> None:
    pod = body_of(batch_job(pods({"subPath": "team"})))["spec"]["template"]
    assert place_of(pod).startswith("team/contract-0a1b2c3d/")
    assert init_of(pod)["volumeMounts"][0]["subPath"] == "team"


def test_the_lineage_is_in_the_jobs_labels() -> None:
    labels = body_of(batch_job(pods()))["metadata"]["labels"]
    assert labels[f"{LABEL}/generation"] == "0" and f"{LABEL}/parent" not in labels
    labels = body_of(batch_job(pods()), "contract-0a1b2c3d-1")["metadata"]["labels"]
    assert labels[f"{LABEL}/generation"] == "1"
    assert labels[f"{LABEL}/parent"] == "contract-0a1b2c3d-1"


def test_a_folder_is_empty_then_a_copy_of_the_parents(tmp_path: Path) -> None:
    parent = body_of(batch_job(pods()))["spec"]["template"]
    prepare(init_of(parent), tmp_path)
    place = tmp_path / place_of(parent)
    assert list(place.iterdir()) == []
    (place / "step").write_text("1")
    (place / ".hidden").write_text("x")
    child = body_of(batch_job(pods()), "contract-0a1b2c3d-3")
    child["spec"]["template"]["spec"]["initContainers"][0]["env"][1]["value"] = "r/r-4"
    prepare(init_of(child["spec"]["template"]), tmp_path)
    (made,) = (tmp_path / "r/r-4").glob("*/checkpoint")
    assert {path.name for path in made.iterdir()} == {"step", ".hidden"}


def test_a_replaced_pod_finds_what_was_there_and_a_new_job_does_not(tmp_path: Path) -> None:
    body = body_of(batch_job(pods()))["spec"]["template"]
    prepare(init_of(body), tmp_path)
    (tmp_path / place_of(body) / "step").write_text("1")
    prepare(init_of(body), tmp_path, "pod-again")
    assert (tmp_path / place_of(body) / "step").read_text() == "1"
    anew = body_of(batch_job(pods()))["spec"]["template"]
    prepare(init_of(anew), tmp_path)
    assert list((tmp_path / place_of(anew)).iterdir()) == []
    assert not (tmp_path / place_of(body)).exists()


def test_pods_that_start_together_agree(tmp_path: Path) -> None:
    body = body_of(batch_job(pods()))["spec"]["template"]
    init = init_of(body)
    values = {entry["name"]: entry.get("value", "") for entry in init["env"]}
    started = [
        subprocess.Popen(
            init["command"],
            env={**os.environ, **values, "ROOT": str(tmp_path), "HOSTNAME": f"pod-{number}"},
        )
        for number in range(12)
    ]
    assert [process.wait(20) for process in started] == [0] * 12
    (folder,) = (tmp_path / place_of(body)).parent.parent.iterdir()
    assert [path.name for path in folder.iterdir()] == ["checkpoint"]


def pbt(manifest: Mapping[str, Any]) -> dict[str, Any]:
    settings = {"suggestion_trial_dir": "/ckpt", "n_population": "5", "truncation_threshold": "0.4"}
    made = document(
        algorithm={
            "algorithmName": "pbt",
            "algorithmSettings": [{"name": k, "value": v} for k, v in settings.items()],
        },
        parallelTrialCount=1,
        maxTrialCount=7,
    )
    made["spec"]["trialTemplate"]["trialSpec"] = dict(manifest)
    return made


def test_a_whole_experiment_copies_along_its_lineage(lab: Lab, tmp_path: Path) -> None:
    """The trials' pods run the init containers' script over a folder that is the volume."""
    made = check_document(pbt(batch_job(pods())), "test")
    lab.template = made.spec.trial_template
    said: list[str] = []

    def trains(play: JobPlay) -> None:
        template = play.body["spec"]["template"]
        prepare(init_of(template), tmp_path)
        state = tmp_path / place_of(template) / "state"
        seen = state.read_text() if state.exists() else "none"
        said.append(seen)
        state.write_text(play.body["metadata"]["name"])
        (pod,) = play.pods()
        pod.running()
        pod.log(f"loss={len(said)}")
        pod.exit()
        play.condition("Complete", "CompletionsReached")

    lab.server.script = trains
    history = History(made, RUN, 1)
    result = run_experiment(history, lab.runner(), watch=lambda update: None, stop=StopRequest())
    trials = result.history.trials
    parents = [trial.attributes.get("pbt:parent") for trial in trials]
    assert parents[:5] == [None] * 5 and None not in parents[5:] and len(parents) == 7
    assert said == ["none" if parent is None else (trials[parent].job or "") for parent in parents]


def refused(manifest: Mapping[str, Any]) -> str:
    made = check_document(pbt(manifest), "test")
    with pytest.raises(InvalidExperiment) as caught:
        check_checkpoints(made, "f.yaml")
    return str(caught.value)


def test_what_pbt_needs_is_accepted() -> None:
    for manifest in (batch_job(pods()), pytorch_job(pods())):
        check_checkpoints(check_document(pbt(manifest), "test"))
    check_checkpoints(check_document(document(), "test"))


def test_a_file_without_a_volume_is_refused_in_one_sentence() -> None:
    main = container(args=["--lr=${trialParameters.lr}"])
    assert refused(batch_job(pod_template(main))) == (
        "f.yaml: spec.trialTemplate.trialSpec.spec.template.spec.containers: found no volumeMount "
        "at /ckpt; allowed: a persistentVolumeClaim mounted at /ckpt (suggestion_trial_dir), in "
        "which each trial gets its checkpoint folder"
    )


@pytest.mark.parametrize(
    ("mount", "volume", "message"),
    [
        ({}, {"name": "checkpoints", "emptyDir": {}}, ".name: found emptyDir; allowed: a volume"),
        ({"name": "x"}, None, '.name: found "x"; allowed: a volume of spec.trialTemplate'),
        ({"readOnly": True}, None, ".readOnly: found true; allowed: nothing"),
        ({"subPathExpr": "$(A)"}, None, '.subPathExpr: found "$(A)"; allowed: nothing'),
    ],
)
def test_a_volume_that_cannot_hold_checkpoints_is_refused(
    mount: Mapping[str, Any], volume: Mapping[str, Any] | None, message: str
) -> None:
    assert f"containers[0].volumeMounts[0]{message}" in refused(batch_job(pods(mount, volume)))


def test_a_kind_whose_pods_are_elsewhere_is_refused() -> None:
    manifest = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "spec": {"trainer": {"args": ["${trialParameters.lr}"]}},
    }
    assert "trialSpec.kind: found TrainJob; allowed: for pbt a kind" in refused(manifest)
