"""An Experiment as a component of somebody's own pipeline: it compiles, and it runs."""

import json
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl  # type: ignore[import-untyped]

import katibflow
from katibflow.compiler.ir import dag_tasks
from katibflow.compiler.library import pack_library
from katibflow.errors import InputError, InvalidExperiment
from katibflow.experiment.types import Experiment as Model
from katibflow.pipelines import experiment
from katibflow.pipelines.pods import USER
from katibflow.steps.termination import KILL_COMMANDS
from katibflow.study.history import TrialState
from tests.e2e.kfp_local import Run, run_pipeline
from tests.e2e.workflows import implementations
from tests.paths import ROOT
from tests.shell_trials import document
from tests.shell_trials import experiment as checked

EXAMPLE = ROOT / "examples" / "tune_train_evaluate.py"
FOLLOWING = {"exec-launcher", "exec-launcher-2"}
RETRY = FOLLOWING | {
    f"exec-{name}{more}" for name in ("start", "collector", "finish") for more in ("", "-2")
}
ANNOTATIONS = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", **KILL_COMMANDS}


@dsl.component(base_image="python:3.11-slim")  # type: ignore[untyped-decorator]
def use(best: dict, value: float) -> str:  # type: ignore[type-arg]
    return f"{best} {value}"


def compiled(
    folder: Path, function: Callable[..., Any]
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A pipeline function as a file's text, its spec, and what is said of the platform."""
    path = folder / "pipeline.yaml"
    compiler.Compiler().compile(dsl.pipeline(function), str(path))
    text = path.read_text(encoding="utf-8")
    spec, *platform = yaml.safe_load_all(text)
    return text, spec, platform[0] if platform else {}


@pytest.fixture(scope="module")
def two_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two experiments in one pipeline, the second with what the first found."""

    def both(most: str = "2", name: str = "other") -> None:
        first = experiment(document("echo loss=1"), name="one", max_trial_count=most)
        second = experiment(document("echo loss=1"), name=name).after(first)
        use(best=first.outputs["best_parameters"], value=second.outputs["best_value"])

    return compiled(tmp_path_factory.mktemp("two"), both)[0]


@pytest.fixture(scope="module")
def two(two_text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    spec, platform = yaml.safe_load_all(two_text)
    return spec, platform


class TestInsideAnotherPipeline:
    @pytest.mark.parametrize("suffix", ["", "-2"])
    def test_each_round_still_refers_to_itself_on_its_condition(
        self, two: tuple[dict[str, Any], dict[str, Any]], suffix: str
    ) -> None:
        spec, _ = two
        tasks = spec["components"][f"comp-round{suffix}"]["dag"]["tasks"]
        assert tasks["next"]["componentRef"]["name"] == f"comp-round{suffix}"
        assert tasks["next"]["triggerPolicy"] == {
            "condition": "inputs.parameter_values['pipelinechannel--loop-Output'] == true"
        }

    def test_each_has_its_exit_handler(self, two: tuple[dict[str, Any], dict[str, Any]]) -> None:
        spec, _ = two
        handlers = [task for key, task in dag_tasks(spec) if key == "finish"]
        assert len(handlers) == 2
        for task in handlers:
            assert task["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
            assert task["inputs"]["parameters"]["name"] == {"componentInputParameter": "name"}

    def test_launchers_are_retried_and_annotated(
        self, two: tuple[dict[str, Any], dict[str, Any]]
    ) -> None:
        spec, platform = two
        retried = {
            spec["components"][task["componentRef"]["name"]]["executorLabel"]
            for _, task in dag_tasks(spec)
            if task.get("retryPolicy", {}).get("maxRetryCount") == 3
        }
        assert retried == RETRY
        executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        rights = {"runAsNonRoot": True, "runAsUser": str(USER)}
        ours = spec["deploymentSpec"]["executors"].keys() - {"exec-use"}
        assert {name: executors[name]["securityContext"] for name in ours} == dict.fromkeys(
            ours, rights
        )
        assert {
            name: body["podMetadata"] for name, body in executors.items() if "podMetadata" in body
        } == {key: {"annotations": ANNOTATIONS} for key in FOLLOWING}

    def test_both_have_one_library_in_the_workflow(self, two_text: str) -> None:
        pack = pack_library()
        spec = next(yaml.safe_load_all(two_text))
        holding = [key for key, task in dag_tasks(spec) if key == "library"]
        assert len(holding) == 2
        texts = implementations(two_text).values()
        assert [text.count(f"{pack.mark}:{pack.text}") for text in texts if pack.mark in text] == [
            1
        ]

    def test_both_libraries_are_behind_conditions_that_are_never_true(
        self, two: tuple[dict[str, Any], dict[str, Any]]
    ) -> None:
        spec, _ = two
        around = [
            (name, component["dag"]["tasks"])
            for name, component in spec["components"].items()
            if "library" in component.get("dag", {}).get("tasks", {})
        ]
        conditions = {
            task["componentRef"]["name"]: task["triggerPolicy"]["condition"]
            for _, task in dag_tasks(spec)
            if "condition" in task.get("triggerPolicy", {})
        }
        assert len(around) == 2
        for name, tasks in around:
            assert set(tasks) == {"library"}
            assert conditions[name] == "inputs.parameter_values['pipelinechannel--name'] == ''"

    def test_the_best_trial_comes_out_through_the_exit_handlers_group(
        self, two: tuple[dict[str, Any], dict[str, Any]]
    ) -> None:
        spec, _ = two
        inputs = spec["root"]["dag"]["tasks"]["use"]["inputs"]["parameters"]
        assert inputs["best"]["taskOutputParameter"]["outputParameterKey"] == "best_parameters"
        component = spec["components"]["comp-exit-handler-1"]
        types = {"best_parameters": "STRUCT", "best_value": "NUMBER_DOUBLE"}
        assert component["outputDefinitions"]["parameters"] == {
            name: {"parameterType": kind} for name, kind in types.items()
        }
        for name, output in component["dag"]["outputs"]["parameters"].items():
            source = {"outputParameterKey": name, "producerSubtask": "best"}
            assert output == {"valueFromParameter": source}

    def test_values_are_in_the_experiment_and_the_rest_comes_with_the_run(
        self, two: tuple[dict[str, Any], dict[str, Any]]
    ) -> None:
        spec, _ = two
        tasks = spec["root"]["dag"]["tasks"]
        assert set(tasks["one"]["inputs"]["parameters"]) == {"maxTrialCount"}
        assert "name" in next(
            task["inputs"]["parameters"] for key, task in tasks.items() if key not in ("one", "use")
        )
        defaults = spec["components"]["comp-one"]["inputDefinitions"]["parameters"]
        assert defaults["name"]["defaultValue"] == "one"


def _in_file(folder: Path) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(document("echo loss=1")), encoding="utf-8")
    return path


SOURCES: Mapping[str, Callable[[Path], Any]] = {
    "path": _in_file,
    "path as text": lambda folder: str(_in_file(folder)),
    "text": lambda folder: _in_file(folder).read_text(encoding="utf-8"),
    "mapping": lambda folder: document("echo loss=1"),
    "checked": lambda folder: checked("echo loss=1"),
    "Experiment": lambda folder: katibflow.Experiment(document("echo loss=1")),
}


@pytest.mark.parametrize("form", SOURCES)
def test_an_experiment_is_taken_in_every_form(tmp_path: Path, form: str) -> None:
    def one() -> None:
        experiment(SOURCES[form](tmp_path), image="python-katibflow:1")

    _, spec, _ = compiled(tmp_path, one)
    start = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]["start"]
    carried = json.loads(start["inputs"]["parameters"]["experiment"]["runtimeValue"]["constant"])
    assert Model.model_validate(carried) == checked("echo loss=1")


def test_an_experiment_of_python_is_a_task_by_its_method(tmp_path: Path) -> None:
    own = katibflow.Experiment(document("echo loss=1"))
    options = {"image": "python-katibflow:1", "layout": "controller"}

    def by_method(most: str = "4") -> None:
        task = own.task(max_trial_count=most, goal=0.1, resume="none", **options)
        use(best=task.outputs["best_parameters"], value=task.outputs["best_value"])

    def by_function(most: str = "4") -> None:
        task = experiment(own, max_trial_count=most, goal=0.1, resume="none", **options)
        use(best=task.outputs["best_parameters"], value=task.outputs["best_value"])

    texts = [compiled(tmp_path, function)[0] for function in (by_method, by_function)]
    assert texts[0].replace("by-method", "by-function") == texts[1]
    spec = next(yaml.safe_load_all(texts[0]))
    assert set(spec["root"]["dag"]["tasks"]["sample"]["inputs"]["parameters"]) == {
        "maxTrialCount",
        "resume",
    }
    defaults = spec["components"]["comp-sample"]["inputDefinitions"]["parameters"]
    assert defaults["goal"]["defaultValue"] == "0.1"


class TestRefuses:
    """One clear error, while the pipeline is written down and before anything runs."""

    def told(self, folder: Path, function: Callable[..., Any]) -> str:
        with pytest.raises(InputError) as error:
            compiled(folder, function)
        return str(error.value)

    def test_several_objectives_which_have_no_best_parameters(self, tmp_path: Path) -> None:
        goals = [{"name": "size", "type": "minimize"}]
        changes = {"spec.objective.additionalMetricNames": ["size"], "spec.objective.goals": goals}

        def one() -> None:
            experiment(document("echo loss=1", changes))

        assert self.told(tmp_path, one).startswith(
            "experiment sample of the pipeline: spec.objective.goals: found several objectives"
        )

    def test_a_wrong_value_as_in_a_file(self, tmp_path: Path) -> None:
        def one() -> None:
            experiment(document("echo loss=1"), max_trial_count=0, goal="high")

        with pytest.raises(InvalidExperiment) as error:
            compiled(tmp_path, one)
        assert [fault.path for fault in error.value.faults] == [
            "spec.objective.goal",
            "spec.maxTrialCount",
        ]

    def test_a_keyword_that_is_none(self, tmp_path: Path) -> None:
        def wrong() -> None:
            experiment(document("echo loss=1"), max_trials=3)

        told = self.told(tmp_path, wrong)
        assert told.startswith(
            "max_trials: found a keyword that is no parameter of a run (did you mean "
            "max_trial_count?); allowed"
        )

    def test_a_resume_that_is_none(self, tmp_path: Path) -> None:
        def wrong() -> None:
            experiment(document("echo loss=1"), resume="yes")

        assert self.told(tmp_path, wrong).startswith('resume: found "yes"; allowed: none, all')

    def test_two_of_one_name(self, tmp_path: Path) -> None:
        def both() -> None:
            experiment(document("echo loss=1"))
            experiment(document("echo loss=2"))

        assert "found another of this name" in self.told(tmp_path, both)

    def test_one_name_in_a_loop(self, tmp_path: Path) -> None:
        def loop() -> None:
            with dsl.ParallelFor(["a", "b"]):
                experiment(document("echo loss=1"))

        assert "in dsl.ParallelFor with one name" in self.told(tmp_path, loop)

    @pytest.mark.parametrize("image", [None, "python-katibflow:1"], ids=["library", "image"])
    def test_a_third_as_a_run_has_its_end(self, tmp_path: Path, image: str | None) -> None:
        def three() -> None:
            for name in ("one", "two", "three"):
                experiment(document("echo loss=1"), name=name, image=image)

        assert "experiment three of the pipeline: found 3; allowed: 2" in self.told(tmp_path, three)

    def test_more_trials_than_its_share_of_a_run_holds(self, tmp_path: Path) -> None:
        def many() -> None:
            experiment(document("echo loss=1"), max_trial_count=2000, layout="rounds")

        told = self.told(tmp_path, many)
        assert "experiment sample: spec.maxTrialCount: found 2000, which is 667 rounds" in told

    def test_an_output_of_another_type(self, tmp_path: Path) -> None:
        def typed(most: int = 3) -> None:
            experiment(document("echo loss=1"), max_trial_count=most)

        told = self.told(tmp_path, typed)
        assert "maxTrialCount: found an output or parameter of type Integer" in told

    def test_an_output_within_a_text(self, tmp_path: Path) -> None:
        def within(part: str = "a") -> None:
            experiment(document("echo loss=1"), name=f"sweep-{part}")

        told = self.told(tmp_path, within)
        assert "name: found a text with an output or parameter in it" in told

    def test_what_is_no_value(self, tmp_path: Path) -> None:
        def listed() -> None:
            experiment(document("echo loss=1"), goal=[1])

        assert "goal: found [1]; allowed: a value" in self.told(tmp_path, listed)

    def test_what_is_no_experiment(self, tmp_path: Path) -> None:
        def wrong() -> None:
            experiment(["x"])  # type: ignore[arg-type]

        assert self.told(tmp_path, wrong).endswith("allowed: a file's path, YAML text or a mapping")

    def test_leaves_kfp_as_it_was(self, tmp_path: Path) -> None:
        self.test_two_of_one_name(tmp_path)

        def plain() -> None:
            use(best={}, value=1.0)

        _, spec, _ = compiled(tmp_path, plain)
        assert set(spec["root"]["dag"]["tasks"]) == {"use"}


def test_a_layouts_limits_are_warned_of_where_the_pipeline_is_written(tmp_path: Path) -> None:
    def many() -> None:
        experiment(document("echo loss=1"), max_trial_count="none", layout="rounds")

    with pytest.warns(UserWarning, match="experiment sample: .*maxTrialCount is missing") as told:
        compiled(tmp_path, many)
    assert {warning.filename for warning in told} == {__file__}


def test_a_trial_count_beyond_a_run_of_rounds_is_run_by_the_controller(tmp_path: Path) -> None:
    def many() -> None:
        experiment(document("echo loss=1"), max_trial_count=2000, image="python-katibflow:1")

    _, spec, _ = compiled(tmp_path, many)
    assert "comp-controller" in spec["components"]


def test_loops_over_names_are_taken(tmp_path: Path) -> None:
    def loops() -> None:
        with dsl.ParallelFor(["a", "b"]) as item:
            experiment(document("echo loss=1"), name=item, image="python-katibflow:1")
        with dsl.ParallelFor([{"sweep": "c", "most": "3"}]) as row:
            experiment(
                document("echo loss=1"),
                name=row.sweep,
                max_trial_count=row.most,
                image="python-katibflow:1",
            )

    text, _, _ = compiled(tmp_path, loops)
    assert "comp-next" not in text


def test_an_experiment_in_a_loop_is_counted_as_often_as_the_loop_goes_round(tmp_path: Path) -> None:
    def known() -> None:
        with dsl.ParallelFor(["a", "b", "c", "d", "e"]), dsl.ParallelFor([*"fghijklmno"]) as item:
            experiment(document("echo loss=1"), name=item, image="python-katibflow:1")

    def unknown(names: list = ["a"]) -> None:  # type: ignore[type-arg]  # noqa: B006
        with dsl.ParallelFor(names) as item:
            experiment(document("echo loss=1"), name=item, image="python-katibflow:1")

    with pytest.raises(InputError, match=r"found it 50 times in a loop; allowed: at most \d+ "):
        compiled(tmp_path, known)
    assert "comp-controller" in compiled(tmp_path, unknown)[0]


def test_the_runs_own_name_is_taken(tmp_path: Path) -> None:
    def named() -> None:
        own = dsl.PIPELINE_JOB_NAME_PLACEHOLDER
        experiment(document("echo loss=1"), name=own, image="python-katibflow:1")

    _, spec, _ = compiled(tmp_path, named)
    (task,) = spec["root"]["dag"]["tasks"].values()
    given = task["inputs"]["parameters"]["name"]["runtimeValue"]["constant"]
    assert given == dsl.PIPELINE_JOB_NAME_PLACEHOLDER


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The example as its users compile it, run with three trials on this machine."""
    folder = tmp_path_factory.mktemp("example")
    for command in (
        [str(ROOT / "trial_image" / "make_digits.py")],
        [str(EXAMPLE), str(folder / "example.yaml")],
    ):
        subprocess.run([sys.executable, *command], check=True, cwd=folder)
    return run_pipeline(
        folder,
        (folder / "example.yaml").read_text(encoding="utf-8"),
        {"trials": "3"},
        maps=[f"/opt/pytorch-mnist={ROOT / 'trial_image'}"],
    )


@pytest.mark.long
class TestTuneTrainEvaluate:
    def test_runs_trials_in_rounds_and_then_the_users_steps(self, example: Run) -> None:
        assert example.code == 0, example.log
        assert [trial.state for trial in example.study.trials] == [TrialState.COMPLETE] * 3
        assert [example.count(step) for step in ("loop", "best", "train", "evaluate")] == [
            *(2, 1, 1, 1)
        ]

    def test_the_model_is_trained_with_the_best_parameters(self, example: Run) -> None:
        best = min(example.study.trials, key=lambda trial: trial.observations["loss"].latest)
        output = (example.root / "train" / "executor_output.json").read_text(encoding="utf-8")
        (model,) = json.loads(output)["artifacts"]["model"]["artifacts"]
        assert model["metadata"] == dict(best.assignments)

    def test_the_model_is_evaluated(self, example: Run) -> None:
        assert 0.8 < example.metrics("evaluate")["accuracy"] <= 1

    def test_what_still_runs_is_stopped_before_the_users_steps(self, example: Run) -> None:
        ended = example.log.index("Executing task \x1b[96m'finish'")
        assert ended < example.log.index("Executing task \x1b[96m'train'")


def test_an_experiment_that_fails_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    def failing() -> None:
        tuning = experiment(
            document("exit 3"),
            layout="controller",
            max_failed_trial_count=1,
            parallel_trial_count=1,
        )
        use(best=tuning.outputs["best_parameters"], value=tuning.outputs["best_value"])

    run = run_pipeline(tmp_path, compiled(tmp_path, failing)[0])
    assert run.code != 0
    assert (
        "has no best parameters to hand on: ExperimentFailed: 1 trial failed, "
        "maxFailedTrialCount is 1; no trial has a finite objective value"
    ) in run.log
    assert [run.count(step) for step in ("controller", "best", "finish", "use")] == [*(1, 1, 1, 0)]


def test_the_example_names_its_default(tmp_path: Path) -> None:
    names = runpy.run_path(str(EXAMPLE))
    trials = yaml.safe_load(names["MNIST"].read_text(encoding="utf-8"))["spec"]["maxTrialCount"]
    defaults = names["tune_train_evaluate"].pipeline_spec.root.input_definitions.parameters
    assert defaults["trials"].default_value.string_value == str(trials)
