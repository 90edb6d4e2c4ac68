"""The compiled file's IR: the recursion, and what is said of each step."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
import yaml

from katibflow.compiler.emit import BASE_IMAGE, compile_experiment
from katibflow.compiler.ir import (
    dag_tasks,
    hand_on,
    make_recursive,
    merge_twins,
    without_versions,
)
from katibflow.compiler.requirements import AT_THE_END
from katibflow.errors import KatibflowError
from katibflow.pipelines.pods import REQUESTS, USER
from katibflow.steps.installing import pinned
from katibflow.steps.leaving import document_mark
from katibflow.steps.termination import KILL_COMMANDS
from tests.shell_trials import experiment

BATCH = {"taskOutputParameter": {"outputParameterKey": "Output", "producerTask": "suggestion"}}


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    text = compile_experiment(experiment("echo loss=1"), layout="rounds").text
    return list(yaml.safe_load_all(text))


@pytest.fixture(scope="module")
def spec(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return documents[0]


@pytest.fixture(scope="module")
def tasks(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(dag_tasks(spec))


class TestRecursion:
    def test_a_task_inside_the_round_is_the_round_itself(self, spec: dict[str, Any]) -> None:
        inside = spec["components"]["comp-round"]["dag"]["tasks"]
        recursive = [
            key for key, task in inside.items() if task["componentRef"]["name"] == "comp-round"
        ]
        assert recursive == ["next"]

    def test_the_condition_is_on_that_task_and_reads_the_channels_name(
        self, spec: dict[str, Any]
    ) -> None:
        task = spec["components"]["comp-round"]["dag"]["tasks"]["next"]
        assert task["triggerPolicy"] == {
            "condition": "inputs.parameter_values['pipelinechannel--loop-Output'] == true"
        }

    def test_the_channel_is_a_boolean_input_bound_to_loop_inside_and_to_true_outside(
        self, spec: dict[str, Any], tasks: dict[str, dict[str, Any]]
    ) -> None:
        round_ = spec["components"]["comp-round"]
        assert round_["inputDefinitions"]["parameters"] == {
            "batch": {"parameterType": "LIST"},
            "pipelinechannel--loop-Output": {"parameterType": "BOOLEAN"},
        }
        assert tasks["next"]["inputs"]["parameters"] == {
            "batch": BATCH,
            "pipelinechannel--loop-Output": {
                "taskOutputParameter": {"outputParameterKey": "Output", "producerTask": "loop"}
            },
        }
        assert tasks["round"]["inputs"]["parameters"] == {
            "batch": BATCH,
            "pipelinechannel--loop-Output": {"runtimeValue": {"constant": True}},
        }

    def test_the_next_round_gets_this_rounds_study_and_nothing_else(
        self, tasks: dict[str, dict[str, Any]]
    ) -> None:
        (artifact,) = tasks["next"]["inputs"]["artifacts"].items()
        source = {"outputArtifactKey": "study", "producerTask": "collector"}
        assert artifact == ("study", {"taskOutputArtifact": source})

    def test_trials_are_at_hand_when_a_round_begins(self, spec: dict[str, Any]) -> None:
        inside = spec["components"]["comp-round"]["dag"]["tasks"]
        trials = inside["for-loop-1"]
        assert "dependentTasks" not in trials
        (given,) = trials["inputs"]["parameters"].items()
        assert given == ("pipelinechannel--batch", {"componentInputParameter": "batch"})
        assert trials["parameterIterator"]["items"] == {"inputParameter": given[0]}
        assert inside["suggestion"]["dependentTasks"] == inside["loop"]["dependentTasks"]
        assert inside["suggestion"]["dependentTasks"] == ["collector"]
        first = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]
        assert first["suggestion"]["dependentTasks"] == ["start"]
        assert first["round"]["dependentTasks"] == ["start", "suggestion"]

    def test_nothing_is_left_of_the_stand_in(self, spec: dict[str, Any]) -> None:
        assert "comp-next" not in spec["components"]
        assert "exec-next" not in spec["deploymentSpec"]["executors"]
        used = {task["componentRef"]["name"] for _, task in dag_tasks(spec)}
        assert used == set(spec["components"])
        labels = {c["executorLabel"] for c in spec["components"].values() if "executorLabel" in c}
        assert labels == set(spec["deploymentSpec"]["executors"])

    def test_a_summary_is_made_only_after_the_last_round(self, spec: dict[str, Any]) -> None:
        inside = spec["components"]["comp-round"]["dag"]["tasks"]
        (last,) = (task for task in inside.values() if task["taskInfo"]["name"] == "last-round")
        assert last["triggerPolicy"] == {
            "condition": "inputs.parameter_values['pipelinechannel--loop-Output'] == false"
        }
        assert set(spec["components"][last["componentRef"]["name"]]["dag"]["tasks"]) == {"summary"}
        assert set(inside["next"]["dependentTasks"]) == {"collector", "loop", "suggestion"}

    def test_the_spec_given_stays_as_it_is(self) -> None:
        with pytest.raises(KatibflowError, match="comp-round"):
            make_recursive(
                {"components": {}, "root": {}}, component="round", task="next", proceed="go"
            )


class TestTwins:
    def test_suggestions_of_both_places_are_one_component(self, spec: dict[str, Any]) -> None:
        asked = [task for key, task in dag_tasks(spec) if key == "suggestion"]
        assert [task["componentRef"]["name"] for task in asked] == ["comp-suggestion"] * 2
        assert [name for name in spec["components"] if "suggestion" in name] == ["comp-suggestion"]
        executors = spec["deploymentSpec"]["executors"]
        assert [name for name in executors if "suggestion" in name] == ["exec-suggestion"]

    def test_only_what_runs_the_same_with_the_same_inputs_is_merged(self) -> None:
        def component(label: str, **more: object) -> dict[str, object]:
            return {"executorLabel": label, **more}

        def task(name: str) -> dict[str, object]:
            return {"componentRef": {"name": name}}

        same, other = {"container": {"image": "a"}}, {"container": {"image": "b"}}
        given: dict[str, Any] = {
            "root": {"dag": {"tasks": {"one": task("comp-a"), "deep": task("comp-dag")}}},
            "components": {
                "comp-a": component("exec-a"),
                "comp-a-2": component("exec-a-2"),
                "comp-a-3": component("exec-a-3", inputDefinitions={"parameters": {}}),
                "comp-a-4": component("exec-a-4"),
                "comp-dag": {"dag": {"tasks": {f"t{n}": task(f"comp-a-{n}") for n in range(2, 5)}}},
            },
            "deploymentSpec": {
                "executors": {
                    "exec-a": same,
                    "exec-a-2": same,
                    "exec-a-3": same,
                    "exec-a-4": other,
                }
            },
        }
        before = copy.deepcopy(given)
        merged = merge_twins(given)
        assert given == before
        assert set(merged["components"]) == {"comp-a", "comp-a-3", "comp-a-4", "comp-dag"}
        assert set(merged["deploymentSpec"]["executors"]) == {"exec-a", "exec-a-3", "exec-a-4"}
        used = {key: each["componentRef"]["name"] for key, each in dag_tasks(merged)}
        assert used == {
            "one": "comp-a",
            "deep": "comp-dag",
            "t2": "comp-a",
            "t3": "comp-a-3",
            "t4": "comp-a-4",
        }
        assert merge_twins(merged) == merged


class TestVersions:
    @pytest.mark.parametrize("layout", ["rounds", "controller"])
    def test_no_artifact_type_has_one_in_the_file(self, layout: str) -> None:
        text = compile_experiment(experiment("echo loss=1"), layout=layout).text
        # The backend wants that of the file itself.
        assert re.findall("schemaVersion.*", text) == ["schemaVersion: 2.1.0"]
        assert "schemaTitle: system.Artifact" in text

    def test_nothing_else_is_left_out(self) -> None:
        artifact = {"schemaTitle": "system.HTML", "schemaVersion": "0.0.1"}
        given: dict[str, Any] = {
            "schemaVersion": "2.1.0",
            "components": [{"artifactType": artifact, "isOptional": True, "defaultValue": None}],
            "root": {"page": {"artifactType": {**artifact, "more": [1, "two"]}}},
        }
        before = copy.deepcopy(given)
        assert without_versions(given) == {
            "schemaVersion": "2.1.0",
            "components": [
                {
                    "artifactType": {"schemaTitle": "system.HTML"},
                    "isOptional": True,
                    "defaultValue": None,
                }
            ],
            "root": {"page": {"artifactType": {"schemaTitle": "system.HTML", "more": [1, "two"]}}},
        }
        assert given == before


def test_the_reports_parameters_are_the_pipelines_outputs(spec: dict[str, Any]) -> None:
    outputs = {name: {"parameterType": "STRUCT"} for name in ("best_parameters", "result")}
    group = spec["components"]["comp-exit-handler-1"]
    for component, source in ((spec["root"], "exit-handler-1"), (group, "report")):
        assert component["outputDefinitions"]["parameters"] == outputs
        for name, output in component["dag"]["outputs"]["parameters"].items():
            told = {"outputParameterKey": name, "producerSubtask": source}
            assert output == {"valueFromParameter": told}


def test_outputs_of_what_is_not_there_are_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(KatibflowError, match="nothing"):
        hand_on(spec, group="exit-handler-1", task="nothing")


class TestSteps:
    def test_no_step_is_cached(self, spec: dict[str, Any]) -> None:
        for key, task in dag_tasks(spec):
            is_dag = "dag" in spec["components"][task["componentRef"]["name"]]
            assert is_dag or task["cachingOptions"] == {}, key

    def test_launchers_are_retried_and_not_evicted_for_space(
        self, documents: list[dict[str, Any]], tasks: dict[str, dict[str, Any]]
    ) -> None:
        assert tasks["launcher"]["retryPolicy"]["maxRetryCount"] == 3
        executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        assert {name for name, body in executors.items() if "podMetadata" in body} == {
            "exec-launcher"
        }
        assert executors["exec-launcher"]["podMetadata"] == {
            "annotations": {
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
                **KILL_COMMANDS,
            }
        }

    def test_every_step_runs_as_nobody_and_says_what_it_needs(
        self, documents: list[dict[str, Any]]
    ) -> None:
        """What else "restricted" asks for, Kubeflow Pipelines adds: seen on 2.17."""
        steps = documents[0]["deploymentSpec"]["executors"]
        rights = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        assert {name: body["securityContext"] for name, body in rights.items()} == {
            name: {"runAsNonRoot": True, "runAsUser": str(USER)} for name in steps
        }
        for name, body in steps.items():
            resources = body["container"]["resources"]
            assert resources["resourceCpuRequest"] == REQUESTS["cpu"], name
            assert resources["resourceMemoryRequest"] == REQUESTS["memory"], name
            assert not [key for key in resources if "imit" in key], name

    def test_names_read_well(self, tasks: dict[str, dict[str, Any]]) -> None:
        assert {task["taskInfo"]["name"] for task in tasks.values()} == {
            *("experiment", "start", "round", "suggestion", "trials", "launcher", "collector"),
            *("loop", "next-round", "last-round", "summary", "report", "finish", "library"),
        }

    def test_each_step_installs_only_what_it_imports(self, spec: dict[str, Any]) -> None:
        installs = {
            name.removeprefix("exec-"): body["container"]["command"][2]
            for name, body in spec["deploymentSpec"]["executors"].items()
            if name != "exec-library"
        }
        assert {name for name, text in installs.items() if re.search(r"\boptuna\b", text)} == {
            *("suggestion", "summary", "report")
        }
        assert {name for name, text in installs.items() if re.search(r"\bkubernetes\b", text)} == {
            *("start", "launcher", "collector", "report", "finish")
        }
        (kfp,) = pinned(["kfp"])
        assert "--hash=sha256:" in kfp
        for text in installs.values():
            assert text.startswith(f"echo '{kfp}'|python3 -m pip install -q --no-deps -r")

    def test_optunas_own_samplers_are_there_wherever_the_experiment_is_read(self) -> None:
        tried = experiment(
            "echo loss=1", {"spec.algorithm": {"algorithmName": "optuna:QMCSampler"}}
        )
        text = compile_experiment(tried, layout="rounds").text
        executors = next(yaml.safe_load_all(text))["deploymentSpec"]["executors"]
        lacking = {
            name
            for name, body in executors.items()
            if not re.search(r"\boptuna\b", "".join(body["container"]["command"][2:3]))
        }
        assert lacking == {"exec-library"}
        assert " scipy;" in executors["exec-suggestion"]["container"]["command"][2]

    def test_images_are_stock_python(self, spec: dict[str, Any]) -> None:
        executors = spec["deploymentSpec"]["executors"].values()
        assert {body["container"]["image"] for body in executors} == {BASE_IMAGE}
        assert BASE_IMAGE.startswith("python:3.11-slim")

    def test_finish_is_told_what_a_trial_is_and_where_the_experiment_stands(
        self, tasks: dict[str, dict[str, Any]]
    ) -> None:
        told = {
            name: value["runtimeValue"]["constant"]
            for name, value in tasks["finish"]["inputs"]["parameters"].items()
            if "runtimeValue" in value
        }
        kind = {"trialSpec": {"apiVersion": "batch/v1", "kind": "Job"}}
        assert json.loads(told["job"]) == kind
        given = tasks["start"]["inputs"]["parameters"]["experiment"]["runtimeValue"]["constant"]
        assert told["document"] == document_mark(given)
        assert told["packages"].split() == [*AT_THE_END]


def test_dollars_of_a_trial_are_nothing_that_kubernetes_replaces() -> None:
    tried = experiment("mkdir /tmp/run.$$; echo $$(date) $(HOME) ${x} $é")
    text = compile_experiment(tried).text
    task = dict(dag_tasks(next(yaml.safe_load_all(text))))["start"]
    document = task["inputs"]["parameters"]["experiment"]["runtimeValue"]["constant"]
    assert not re.search(r"\$[$(é]", document)
    assert json.loads(document) == tried.document()


def test_braces_of_a_trial_are_no_placeholders() -> None:
    tried = experiment("echo {{inputs.x}} {{{$.pipeline_job_name}}}")
    text = compile_experiment(tried).text
    task = dict(dag_tasks(next(yaml.safe_load_all(text))))["start"]
    document = task["inputs"]["parameters"]["experiment"]["runtimeValue"]["constant"]
    assert "{{" not in document
    assert yaml.safe_load(document) == tried.document()
