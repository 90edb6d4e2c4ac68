"""The compiled files for Argo: what the API's models accept, and what a cluster's rules ask for."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import yaml

from katibflow.compiler.argo.emit import ArgoOptions, compile_workflow
from katibflow.compiler.argo.models import models
from katibflow.compiler.argo.objects import Kind
from katibflow.errors import InputError
from katibflow.steps.capacity import ARGO, OBJECT_LIMIT, RUN_SHARE, Capacity
from katibflow.steps.run_parameters import run_parameters
from katibflow.validation.reading import read_experiment
from tests.doubles.argo_nodes import RECORDED, grown, packed
from tests.paths import ROOT
from tests.samples import experiment

MODELS = {
    "Workflow": models.Workflow,
    "WorkflowTemplate": models.WorkflowTemplate,
    "CronWorkflow": models.CronWorkflow,
}


def compiled(layout: str = "rounds", changes: dict[str, Any] | None = None, **more: Any) -> Any:
    """The compiled file as data; ``more`` are `ArgoOptions`, and image or package."""
    others = {name: more.pop(name) for name in ("image", "package") if name in more}
    text = compile_workflow(
        experiment(changes), ArgoOptions(**more), layout=layout, **({"image": "i"} | others)
    ).text
    return yaml.safe_load(text)


def spec_of(made: Any) -> Any:
    return made["spec"].get("workflowSpec", made["spec"])


@pytest.mark.parametrize("layout", ["rounds", "controller"])
@pytest.mark.parametrize("kind", Kind)
def test_argos_own_models_accept_every_file(layout: str, kind: Kind) -> None:
    schedule = "0 3 * * *" if kind is Kind.CRONWORKFLOW else None
    made = compiled(layout, kind=kind, schedule=schedule, has_artifacts=True)
    model = MODELS[made["kind"]].model_validate(made)
    assert model.model_dump(by_alias=True, exclude_none=True) == made
    spec = spec_of(made)
    names = {each["name"] for each in spec["templates"]}
    assert {spec["entrypoint"], spec["onExit"]} <= names
    called = {
        step["template"]
        for template in spec["templates"]
        for group in template.get("steps", ())
        for step in group
    }
    assert called <= names
    parameters = {each["name"]: each for each in spec["arguments"]["parameters"]}
    assert [*parameters] == [*run_parameters()]
    assert all(each["description"] for each in parameters.values())


def test_the_pods_are_what_the_restricted_standard_allows_and_stay_where_they_are() -> None:
    spec = compiled(service_account="runner")["spec"]
    assert spec["serviceAccountName"] == "runner"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    pods = {each["name"]: each for each in spec["templates"] if "container" in each}
    for pod in pods.values():
        context = pod["container"]["securityContext"]
        assert context == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["retryStrategy"]["retryPolicy"] == "Always"
    evict = "cluster-autoscaler.kubernetes.io/safe-to-evict"
    assert pods["launcher"]["metadata"]["annotations"] == {evict: "false"}
    assert spec["podGC"] and spec["ttlStrategy"]


def test_the_library_stands_in_the_file_once_and_in_no_template() -> None:
    spec = compiled(image=None)["spec"]
    carried = {each["name"]: each["raw"]["data"] for each in spec["arguments"]["artifacts"]}
    assert carried.keys() == {"experiment", "settings", "library"}
    assert len(json.dumps(spec)) < len(carried["library"]) + 25_000
    assert "library" not in {
        each["name"]
        for template in spec["templates"]
        for each in template.get("inputs", {}).get("artifacts", ())
    }
    without = compiled(image=None, package="katibflow==9")["spec"]
    assert [each["name"] for each in without["arguments"]["artifacts"]] == [
        "experiment",
        "settings",
    ]
    assert "katibflow==9" in json.dumps(without["templates"])


def test_without_an_artifact_repository_nothing_asks_for_one() -> None:
    assert "s3" not in json.dumps(compiled())
    outputs = [each.get("outputs", {}) for each in compiled()["spec"]["templates"]]
    assert not any(each.get("artifacts") for each in outputs)


def test_a_schedule_is_written_as_the_version_of_argo_knows_it() -> None:
    new, old = (compiled(schedule="0 3 * * *", version=each)["spec"] for each in ("4.0", "3.5"))
    assert (new["schedules"], "schedule" in new) == (["0 3 * * *"], False)
    assert (old["schedule"], "schedules" in old) == ("0 3 * * *", False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": "2.0"}, '--argo-version: found "2.0"; allowed: 3.5, 3.6, 3.7, 4.0'),
        ({"kind": Kind.CRONWORKFLOW}, "--as cronworkflow: found no --schedule; allowed: one"),
        ({"kind": Kind.WORKFLOW, "schedule": "0 3 * * *"}, "with --as workflow; allowed: --as cr"),
        ({"schedule": "0 0 3 * * *"}, '--schedule: found "0 0 3 * * *"; allowed: five fields'),
    ],
)
def test_options_that_cannot_be_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        compiled(**options)
    assert message in str(raised.value)


def test_a_thousand_trials_fit_into_one_workflow() -> None:
    many = {"spec.parallelTrialCount": 12, "spec.maxTrialCount": 1000}
    assert compile_workflow(experiment(many), ArgoOptions(), image="i").layout == "rounds"
    with pytest.raises(InputError, match=r"spec\.maxTrialCount: found 2000, which is 167 rounds"):
        compiled(changes=many | {"spec.maxTrialCount": 2000})


def test_what_is_reckoned_is_not_less_than_what_argo_stored() -> None:
    recorded = json.loads(gzip.decompress(RECORDED.read_bytes()))
    nodes = recorded["status"].pop("nodes")
    capacity = Capacity.of(experiment(), growth=ARGO)
    rest = len(json.dumps(recorded, separators=(",", ":")))
    assert capacity.base >= rest
    assert capacity.of_rounds(2, 2) >= 0.9 * (packed(nodes) - 1_000)
    for rounds, parallel in ((30, 3), (10, 50)):
        assert capacity.of_rounds(rounds, parallel) >= packed(grown(rounds, parallel))
    assert capacity.of_rounds(84, 12) < OBJECT_LIMIT * RUN_SHARE - capacity.base - 150_000


def test_the_example_is_what_the_library_makes_now() -> None:
    example = read_experiment(ROOT / "examples" / "mnist.yaml")
    text = compile_workflow(example, ArgoOptions(), package="katibflow==0.1.0").text
    path = ROOT / "examples" / "argo" / "mnist.yaml"
    assert path.read_text(encoding="utf-8") == text, "make compiled"


def test_what_hera_changes_in_yaml_is_taken_back() -> None:
    assert models.Workflow  # it is imported
    for dumper in (yaml.Dumper, yaml.SafeDumper):
        assert "|" not in yaml.dump({"text": "a\nb"}, Dumper=dumper)
