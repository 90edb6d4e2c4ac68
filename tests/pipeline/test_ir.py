"""The compiled file's IR: the recursion, what is embedded, what is said of each step."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from katibflow.compiler.emit import LAYOUTS, compile_experiment
from katibflow.compiler.ir import dag_tasks, hand_on, make_recursive
from katibflow.compiler.library import PLAIN
from katibflow.errors import KatibflowError
from tests.shell_trials import experiment

MAX_SOURCE = 2_048


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(compile_experiment(experiment("echo loss=1")).text))


@pytest.fixture(scope="module")
def spec(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return documents[0]


@pytest.fixture(scope="module")
def tasks(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(dag_tasks(spec))


def _sources(spec: dict[str, Any]) -> dict[str, str]:
    executors = spec["deploymentSpec"]["executors"]
    return {name: body["container"]["command"][-1] for name, body in executors.items()}


class TestRecursion:
    def test_a_task_inside_the_round_is_the_round_itself(self, spec: dict[str, Any]) -> None:
        inside = spec["components"]["comp-round"]["dag"]["tasks"]
        recursive = [
            key for key, task in inside.items() if task["componentRef"]["name"] == "comp-round"
        ]
        assert recursive == ["next-round"]

    def test_the_condition_is_on_that_task_and_reads_the_channels_name(
        self, spec: dict[str, Any]
    ) -> None:
        task = spec["components"]["comp-round"]["dag"]["tasks"]["next-round"]
        assert task["triggerPolicy"] == {
            "condition": "inputs.parameter_values['pipelinechannel--loop-Output'] == true"
        }

    def test_the_channel_is_a_boolean_input_bound_to_loop_inside_and_to_true_outside(
        self, spec: dict[str, Any], tasks: dict[str, dict[str, Any]]
    ) -> None:
        round_ = spec["components"]["comp-round"]
        assert round_["inputDefinitions"]["parameters"] == {
            "pipelinechannel--loop-Output": {"parameterType": "BOOLEAN"}
        }
        assert tasks["next-round"]["inputs"]["parameters"] == {
            "pipelinechannel--loop-Output": {
                "taskOutputParameter": {"outputParameterKey": "Output", "producerTask": "loop"}
            }
        }
        assert tasks["round"]["inputs"]["parameters"] == {
            "pipelinechannel--loop-Output": {"runtimeValue": {"constant": True}}
        }

    def test_the_next_round_gets_this_rounds_study(self, tasks: dict[str, dict[str, Any]]) -> None:
        artifacts = tasks["next-round"]["inputs"]["artifacts"]
        assert artifacts["study"]["taskOutputArtifact"]["producerTask"] == "collector"
        assert artifacts["library"] == {"componentInputArtifact": "library"}

    def test_nothing_is_left_of_the_stand_in(self, spec: dict[str, Any]) -> None:
        assert "comp-next-round" not in spec["components"]
        assert "exec-next-round" not in spec["deploymentSpec"]["executors"]
        used = {task["componentRef"]["name"] for _, task in dag_tasks(spec)}
        assert used == set(spec["components"])
        labels = {c["executorLabel"] for c in spec["components"].values() if "executorLabel" in c}
        assert labels == set(spec["deploymentSpec"]["executors"])

    def test_summary_does_not_hold_up_the_next_round(
        self, tasks: dict[str, dict[str, Any]]
    ) -> None:
        assert set(tasks["next-round"]["dependentTasks"]) == {"collector", "loop"}

    def test_the_spec_given_stays_as_it_is(self) -> None:
        with pytest.raises(KatibflowError, match="comp-round"):
            make_recursive(
                {"components": {}, "root": {}}, component="round", task="next", proceed="go"
            )


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
        assert executors == {
            "exec-launcher": {
                "podMetadata": {
                    "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
                }
            }
        }

    def test_names_read_well(self, tasks: dict[str, dict[str, Any]]) -> None:
        assert {task["taskInfo"]["name"] for task in tasks.values()} == {
            *("experiment", "start", "round", "suggestion", "trials", "launcher", "collector"),
            *("loop", "next-round", "summary", "report", "finish"),
        }

    def test_each_step_installs_only_what_it_imports(self, spec: dict[str, Any]) -> None:
        installs = {
            name.removeprefix("exec-"): body["container"]["command"][2]
            for name, body in spec["deploymentSpec"]["executors"].items()
        }
        assert {name for name, text in installs.items() if "optuna==" in text} == {
            *("suggestion", "summary", "report")
        }
        assert {name for name, text in installs.items() if "kubernetes==" in text} == {
            *("start", "launcher", "report", "finish")
        }
        assert all("'--no-deps'" in text for text in installs.values())

    def test_optunas_own_samplers_are_there_wherever_the_experiment_is_read(self) -> None:
        tried = experiment(
            "echo loss=1", {"spec.algorithm": {"algorithmName": "optuna:QMCSampler"}}
        )
        executors = next(yaml.safe_load_all(compile_experiment(tried).text))["deploymentSpec"]
        lacking = {
            name
            for name, body in executors["executors"].items()
            if "'optuna==" not in body["container"]["command"][2]
        }
        assert lacking == {"exec-finish"}
        suggesting = executors["executors"]["exec-suggestion"]["container"]["command"][2]
        assert "'scipy==" in suggesting

    def test_images_are_stock_python(self, spec: dict[str, Any]) -> None:
        executors = spec["deploymentSpec"]["executors"].values()
        assert {body["container"]["image"] for body in executors} == {"python:3.11-slim"}

    def test_finish_is_told_how_jobs_of_this_kind_are_stopped(
        self, tasks: dict[str, dict[str, Any]]
    ) -> None:
        told = {
            name: value["runtimeValue"]["constant"]
            for name, value in tasks["finish"]["inputs"]["parameters"].items()
            if "runtimeValue" in value
        }
        assert (told["group"], told["version"], told["plural"]) == ("batch", "v1", "jobs")
        assert '"suspend": true' in told["stop"]


class TestSizes:
    def test_only_start_carries_the_library(self, spec: dict[str, Any]) -> None:
        sources = _sources(spec)
        assert {name for name, text in sources.items() if len(text) > MAX_SOURCE} == {"exec-start"}

    def test_start_fits_a_shell_argument_and_an_argo_workflow(self, spec: dict[str, Any]) -> None:
        assert len(_sources(spec)["exec-start"].encode()) < 66_000

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize(
        ("source", "most"),
        [({}, 200), ({"image": "registry/katibflow:1"}, 60), ({"package": "katibflow==1"}, 60)],
        ids=["self-contained", "image", "package"],
    )
    def test_the_file_is_small_also_with_fifty_parameters(
        self, layout: str, source: dict[str, str], most: int
    ) -> None:
        names = ["x", *(f"parameter{number}" for number in range(49))]
        flags = " ".join(f"--{name}=${{trialParameters.{name}}}" for name in names)
        space = {"min": "0.001", "max": "0.1", "distribution": "logUniform"}
        tried = experiment(
            f"python3 train.py {flags}",
            {
                "spec.parameters": [
                    {"name": name, "parameterType": "double", "feasibleSpace": space}
                    for name in names
                ],
                "spec.trialTemplate.trialParameters": [
                    {"name": name, "description": f"What {name} means", "reference": name}
                    for name in names
                ],
            },
        )
        compiled = compile_experiment(tried, layout=layout, **source)
        assert len(compiled.text.encode()) <= most * 1024

    def test_nothing_in_start_reads_as_a_placeholder(self, spec: dict[str, Any]) -> None:
        pack = max(_sources(spec)["exec-start"].splitlines(), key=len)
        pack = pack.split('"')[1]
        assert len(pack) > 10_000
        assert not set(pack) & set(PLAIN + '"\\ ')

    def test_braces_of_a_trial_are_no_placeholders(self) -> None:
        tried = experiment("echo {{inputs.x}} {{{$.pipeline_job_name}}}")
        text = compile_experiment(tried).text
        task = dict(dag_tasks(next(yaml.safe_load_all(text))))["start"]
        document = task["inputs"]["parameters"]["experiment"]["runtimeValue"]["constant"]
        assert "{{" not in document
        assert yaml.safe_load(document) == tried.document()


class TestOtherSourcesOfTheLibrary:
    def test_an_image_is_used_by_all_steps_and_nothing_is_installed(self) -> None:
        text = compile_experiment(experiment("echo loss=1"), image="python-katibflow:1").text
        spec = next(yaml.safe_load_all(text))
        for body in spec["deploymentSpec"]["executors"].values():
            assert body["container"]["image"] == "python-katibflow:1"
            assert "pip" not in " ".join(body["container"]["command"])
        assert len(_sources(spec)["exec-start"]) < MAX_SOURCE

    def test_a_package_is_installed_by_all_steps_but_finish(self) -> None:
        text = compile_experiment(experiment("echo loss=1"), package="katibflow==9.9").text
        spec = next(yaml.safe_load_all(text))
        installing = {
            name
            for name, body in spec["deploymentSpec"]["executors"].items()
            if "'katibflow==9.9'" in body["container"]["command"][2]
        }
        assert installing == set(spec["deploymentSpec"]["executors"]) - {"exec-finish"}
        assert len(_sources(spec)["exec-start"]) < MAX_SOURCE
