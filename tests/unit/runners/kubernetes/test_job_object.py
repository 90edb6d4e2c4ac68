"""Tests the Kubernetes object of a trial: labels, annotations, record."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from katibflow.errors import InputError, RunnerError
from katibflow.runners.base import TrialJob
from katibflow.runners.kubernetes.job_object import (
    ASSIGNMENTS,
    RECORD,
    RECORD_LIMIT,
    RECORD_VERSION,
    STATE,
    TRIAL,
    UNREADABLE,
    Identity,
    Shape,
    job_body,
    merged,
    read_record,
    record_patch,
    stand_in,
)
from katibflow.study.history import Point, TrialState
from tests.behaviour.runner_contract import trial
from tests.doubles.kubernetes.lab import batch_job, container, pod_template, pytorch_job
from tests.paths import ROOT

OURS = Identity("kubeflow", "contract", "0a1b2c3d")


def body_of(manifest: dict[str, Any], **more: Any) -> dict[str, Any]:
    return job_body(TrialJob(trial(3, **more), manifest, "main"), OURS)


def recorded(made: Any) -> str:
    text: str = record_patch(made)["metadata"]["annotations"][RECORD]
    return text


def test_the_manifest_stays_as_it_is() -> None:
    manifest = pytorch_job()
    before = json.dumps(manifest)
    body_of(manifest)
    assert json.dumps(manifest) == before


TRAIN_JOB = {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob"}
NAMED = [{"name": "KATIB_TRIAL_NAME", "value": "contract-0a1b2c3d-3"}]


@pytest.mark.parametrize("key", ["runtimePatches", "podTemplateOverrides"])
def test_the_name_of_a_train_job_s_trial_is_no_override(key: str) -> None:
    """Trainer's webhook refuses variables in an override of the container node."""
    override = {"spec": {"containers": [{"name": "main", "volumeMounts": []}]}}
    body = body_of({**TRAIN_JOB, "spec": {key: [override]}})
    assert body["spec"]["trainer"]["env"] == NAMED
    assert body["spec"][key][0]["spec"] == override["spec"]


def test_the_variables_of_a_train_job_stay() -> None:
    own = [{"name": "A", "value": "1"}]
    body = body_of({**TRAIN_JOB, "spec": {"trainer": {"numNodes": 2, "env": own}}})
    assert body["spec"]["trainer"] == {"numNodes": 2, "env": own + NAMED}
    given = [{"name": "KATIB_TRIAL_NAME", "value": "mine"}]
    body = body_of({**TRAIN_JOB, "spec": {"trainer": {"env": given}}})
    assert body["spec"]["trainer"]["env"] == given


def test_templates_that_share_a_yaml_anchor_get_their_own_labels() -> None:
    pods = yaml.safe_load("a: &pod {spec: {containers: [{name: main}]}}\nb: *pod")
    manifest = pytorch_job()
    for name, key in (("Master", "a"), ("Worker", "b")):
        manifest["spec"]["pytorchReplicaSpecs"][name]["template"] = pods[key]
    specs = body_of(manifest)["spec"]["pytorchReplicaSpecs"]
    labels = {name: spec["template"]["metadata"]["labels"] for name, spec in specs.items()}
    assert labels["Master"]["katibflow/replica"] == "master"
    assert labels["Worker"]["katibflow/replica"] == "worker"


def test_labels_and_annotations_of_the_template_are_kept() -> None:
    manifest = batch_job() | {"metadata": {"labels": {"queue": "a"}, "annotations": {"n": "b"}}}
    metadata = body_of(manifest)["metadata"]
    assert metadata["labels"]["queue"] == "a" and metadata["annotations"]["n"] == "b"


@pytest.mark.parametrize("empty", [None, {}])
def test_empty_metadata_is_no_trouble(empty: object) -> None:
    manifest = batch_job(pod_template() | {"metadata": empty}) | {"metadata": empty}
    assert body_of(manifest)["spec"]["template"]["metadata"]["labels"]["katibflow/trial"] == "3"


def test_the_primary_container_knows_its_trials_name_as_in_katib() -> None:
    own = container(env=[{"name": "A", "value": "b"}])
    body = body_of(batch_job(pod_template(own, container("sidecar"))))
    main, sidecar = body["spec"]["template"]["spec"]["containers"]
    assert main["env"][0] == {"name": "A", "value": "b"}
    assert main["env"][1:] == [{"name": "KATIB_TRIAL_NAME", "value": "contract-0a1b2c3d-3"}]
    assert "env" not in sidecar
    given = container(env=[{"name": "KATIB_TRIAL_NAME", "value": "mine"}])
    body = body_of(batch_job(pod_template(given)))
    assert body["spec"]["template"]["spec"]["containers"][0]["env"] == given["env"]


def test_a_pod_is_a_trial_too() -> None:
    manifest = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container()]}}
    labels = body_of(manifest)["metadata"]["labels"]
    assert labels["sidecar.istio.io/inject"] == "false" and labels["katibflow/trial"] == "3"


@pytest.mark.parametrize("name", ["Upper", "a" * 64, "", "a_b", "a."])
def test_a_jobs_name_is_checked(name: str) -> None:
    with pytest.raises(InputError, match="the job's name"):
        body_of(batch_job(), job=name)


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (batch_job(), Shape(1, "", None, True)),
        (batch_job(backoffLimit=2), Shape(1, "", 2, True)),
        (batch_job(parallelism=3, completions=2), Shape(2, "", None, True)),
        (pytorch_job(workers=3), Shape(4, "Master", None, True)),
        (pytorch_job(masters=0), Shape(1, "Worker", None, True)),
        (pytorch_job(runPolicy={"backoffLimit": 0}), Shape(2, "Master", 0, True)),
        (
            {"apiVersion": "a/v1", "kind": "B", "spec": {"image": "x"}},
            Shape(1, "", None, False),
        ),
    ],
)
def test_what_a_manifest_says_of_its_pods(manifest: dict[str, Any], expected: Shape) -> None:
    assert Shape.of(manifest) == expected


def test_the_seeds_trial_has_two_labelled_pods() -> None:
    path = ROOT / "examples" / "seed.yaml"
    manifest = yaml.safe_load(path.read_text())["spec"]["trialTemplate"]["trialSpec"]
    assert Shape.of(manifest) == Shape(2, "Master", None, True)


def test_a_record_comes_back_as_it_was() -> None:
    made = trial(3, TrialState.PRUNED, intermediate=(Point(0, float("nan"), "t", 1),))
    body = {"metadata": {"name": "x", "annotations": {RECORD: recorded(made)}}}
    assert repr(read_record(body)) == repr(made)


def with_record(text: str, **labels: str) -> dict[str, Any]:
    metadata = body_of(batch_job())["metadata"]
    metadata["annotations"][RECORD] = text
    metadata["labels"] |= labels
    return {"metadata": metadata | {"creationTimestamp": "2026-01-01T00:00:05Z"}}


def test_a_record_says_its_version() -> None:
    assert json.loads(recorded(trial(3)))["version"] == RECORD_VERSION


def test_a_record_of_today_s_release_has_no_version_and_is_read() -> None:
    text = '{"number":3,"state":"COMPLETE","assignments":{"lr":"0.1"},"job":"j","reason":"Good"}'
    read = read_record(with_record(text))
    assert read is not None
    assert (read.number, read.state, read.reason) == (3, TrialState.COMPLETE, "Good")


@pytest.mark.parametrize("version", range(1, RECORD_VERSION + 1))
def test_a_record_of_each_version_so_far_is_read(version: int) -> None:
    data = json.loads(recorded(trial(3, TrialState.COMPLETE))) | {"version": version}
    assert read_record(with_record(json.dumps(data))) == trial(3, TrialState.COMPLETE)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"version":9}', r"a record of version 9, this katibflow reads up to 2$"),
        ('{"version":"2"}', r"a record of version '2', this katibflow reads up to 2$"),
        ('{"version":0}', r"a record of version 0, this katibflow reads up to 2$"),
        ('{"version":true}', r"a record of version True, this katibflow reads up to 2$"),
        ('{"version":2}', "not a trial of format version 1: KeyError"),
        ("{", "Expecting property name"),
        ("[" * 100_000, "recursion"),
        ("[]", "it is no JSON object"),
        ("", "Expecting value"),
    ],
)
def test_a_record_that_cannot_be_read_says_what_was_found(text: str, why: str) -> None:
    with pytest.raises(RunnerError, match=f"katibflow/record of contract-0a1b2c3d-3.*{why}"):
        read_record(with_record(text))


def test_a_job_stands_in_for_its_record() -> None:
    running = stand_in(with_record("{"), "why")
    assert running == trial(3, start="2026-01-01T00:00:05.000+00:00", queued=None)
    over = stand_in(with_record("{", **{STATE: "COMPLETE"}), "why")
    assert over is not None and running is not None
    assert over == replace(running, state=TrialState.FAIL, reason=UNREADABLE, message="why")


def test_a_job_without_its_other_marks_cannot_stand_in() -> None:
    assert stand_in(with_record("{", **{TRIAL: "x"}), "why") is None
    body = with_record("{")
    for text in ("{", "[]", ""):
        body["metadata"]["annotations"][ASSIGNMENTS] = text
        assert stand_in(body, "why") is None


@pytest.mark.slow
@given(st.integers(1, 40_000), st.integers(0, 400_000))
@settings(max_examples=25, deadline=None)
def test_a_record_always_fits_an_annotation(reports: int, words: int) -> None:
    points = tuple(Point(n, 1 / (n + 1), "2026-01-01T00:00:00Z", n) for n in range(reports))
    text = recorded(trial(3, TrialState.COMPLETE, intermediate=points, message="é" * words))
    assert len(text.encode()) <= RECORD_LIMIT
    kept = json.loads(text)["intermediate"]
    assert kept[-1]["step"] == reports - 1
    if len(kept) < reports:
        assert "the record" in json.loads(text)["message"]


def test_a_long_series_is_thinned_evenly_and_says_so() -> None:
    points = tuple(Point(n, 0.123456789) for n in range(20_000))
    data = json.loads(recorded(trial(3, TrialState.COMPLETE, intermediate=points)))
    steps = [point["step"] for point in data["intermediate"]]
    assert steps[0] == 0 and steps[-1] == 19_999 and len(steps) > 2_000
    assert f"keeps {len(steps)} of 20000 reports" in data["message"]


def test_a_merge_patch_adds_replaces_and_removes() -> None:
    body = {"a": {"b": 1, "c": 2}, "d": 3}
    assert merged(body, {"a": {"b": None, "e": 4}, "d": {"f": None}}) == {
        "a": {"c": 2, "e": 4},
        "d": {},
    }
