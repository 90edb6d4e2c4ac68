"""The table of a run's parameters: none is accepted and ignored, and all that names them follows.

What a parameter's `example` changes of the study that `start` writes is the proof that something
takes its value. An entry more in the table is seen wherever the others are.
"""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from katibflow import Experiment, steps
from katibflow.api.run_keywords import given_texts, with_run_keywords
from katibflow.cli.run_options import with_run_options
from katibflow.cli.submit import submit
from katibflow.client.base import Run
from katibflow.client.reading import ExperimentRun
from katibflow.client.run_view import now_in_utc
from katibflow.client.stalls import resuming
from katibflow.client.submitting import Submission, prepare
from katibflow.compiler.commands import own_command
from katibflow.compiler.emit import compile_experiment
from katibflow.compiler.run_inputs import with_inputs_in_source
from katibflow.errors import InputError
from katibflow.pipelines import experiment as pipeline_task
from katibflow.steps import run_parameters
from katibflow.steps.files import read_study
from katibflow.steps.launching import runner_for
from katibflow.steps.run_parameters import (
    NONE,
    RUN_PARAMETERS,
    RunParameter,
    by_names,
    parameters_for_start,
    parameters_of,
    with_parameters,
)
from katibflow.study.history import History, Observation, Trial, TrialState
from katibflow.study.resume import search_text
from tests.shell_trials import ROOM, document, experiment, outputs

PYTHON = (Experiment.submit, Experiment.task, pipeline_task)


def _put_seed(given: dict[str, Any], text: str) -> None:
    if text != NONE:
        given["spec"]["algorithm"]["algorithmSettings"] = [{"name": "random_state", "value": text}]


SEED = RunParameter(
    "trialChance",
    option="--chance",
    metavar="N|none",
    help="What chance goes by.",
    meaning="what chance goes by",
    example="7",
    default=lambda experiment: NONE,
    put=_put_seed,
)
FORGOTTEN = replace(SEED, name="forgotten", put=lambda given, text: None)


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> RunParameter:
    """The table has an entry more."""
    monkeypatch.setattr(run_parameters, "RUN_PARAMETERS", (*RUN_PARAMETERS, SEED))
    return SEED


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for runs on this machine, in which an earlier run has left a trial."""
    monkeypatch.setenv("KATIBFLOW_RUNNER", "local")
    monkeypatch.setenv("KATIBFLOW_RUNS", str(tmp_path / "runs"))
    earlier = History(experiment(""), "0a0a0a0a", 1)
    runner = runner_for(earlier)
    seen = {"loss": Observation(0.5, 0.5, 0.5)}
    runner.record(Trial(0, TrialState.COMPLETE, {"x": "1"}, seen, end="2026-01-31T00:00:00+00:00"))
    runner.close()
    search = tmp_path / "runs" / "sample-0a0a0a0a" / "search.json"
    assert search.read_text(encoding="utf-8") == search_text(earlier.experiment)
    return tmp_path


def started(folder: Path, algorithm: str = "random", **given: str) -> History:
    """The study that `start` writes."""
    (study,) = outputs(folder, "study")
    of = json.dumps(document("", {"spec.algorithm.algorithmName": algorithm}))
    steps.start(of, given, "rounds", "some-run", "", ROOM, study)
    return read_study(study.path)


def takes_effect(folder: Path, parameter: RunParameter) -> bool:
    """Whether a parameter's example changes the study that a run begins with."""
    algorithm = "tpe" if parameter.name == "warmStart" else "random"  # which learns nothing
    changed = started(folder, algorithm, **{parameter.name: parameter.example})
    return changed != started(folder, algorithm)


@pytest.mark.parametrize("parameter", RUN_PARAMETERS, ids=lambda each: each.name)
def test_no_parameter_is_accepted_and_ignored(folder: Path, parameter: RunParameter) -> None:
    assert takes_effect(folder, parameter)


@pytest.mark.parametrize("parameter", RUN_PARAMETERS, ids=lambda each: each.name)
def test_the_default_of_a_run_is_the_experiment_s_own(
    folder: Path, parameter: RunParameter
) -> None:
    (study,) = outputs(folder, "study")
    changed = with_parameters(document(""), {parameter.name: parameter.example})
    tried = experiment("", {"metadata": changed["metadata"], "spec": changed["spec"]})
    given = parameters_of(tried)
    steps.start(json.dumps(tried.document()), given, "rounds", "some-run", "", ROOM, study)
    assert read_study(study.path).experiment == tried


def test_a_parameter_whose_value_goes_nowhere_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_parameters, "RUN_PARAMETERS", (*RUN_PARAMETERS, FORGOTTEN))
    assert not takes_effect(folder, FORGOTTEN)
    with pytest.raises(ValueError, match="run parameter forgotten: nothing takes its value"):
        replace(FORGOTTEN, put=None)


@pytest.mark.slow
def test_one_entry_is_an_input_of_the_pipeline_and_of_start(one_more: RunParameter) -> None:
    spec = next(yaml.safe_load_all(compile_experiment(experiment(""), image="i").text))
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    assert inputs[one_more.name] == {
        "defaultValue": NONE,
        "isOptional": True,
        "parameterType": "STRING",
    }
    assert inputs.keys() == {*(each.name for each in RUN_PARAMETERS), one_more.name}
    start = spec["components"]["comp-start"]["inputDefinitions"]["parameters"]
    assert start[one_more.name] == {"parameterType": "STRING"}
    task = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]["start"]
    handed = task["inputs"]["parameters"]
    assert {name for name, each in handed.items() if "componentInputParameter" in each} == {
        *inputs.keys()
    }


def test_one_entry_is_given_to_start_by_the_source_that_is_compiled(
    one_more: RunParameter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = next(yaml.safe_load_all(compile_experiment(experiment(""), image="i").text))
    source = spec["deploymentSpec"]["executors"]["exec-start"]["container"]["command"][-1]
    got: list[Any] = []
    monkeypatch.setattr(steps, "start", lambda *given: got.extend(given), raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    space: dict[str, Any] = {}
    exec(compile(source, "start", "exec"), space)
    (study,) = outputs(tmp_path, "study")
    given = {name: f"{name}'s" for name in run_parameters.run_parameters()}
    space["start"](
        study=study, experiment="{}", layout="rounds", run="r", library="", room=1, **given
    )
    assert got == ["{}", given, "rounds", "r", "", 1, study]
    assert given[one_more.name] == "trialChance's"


def test_one_entry_is_taken_by_start(folder: Path, one_more: RunParameter) -> None:
    assert started(folder, **{one_more.name: one_more.example}).seed == 7
    assert takes_effect(folder, one_more)


def test_one_entry_is_an_option_of_submit(
    one_more: RunParameter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    app = typer.Typer()
    app.command()(with_run_options(before="kfp_experiment")(inspect.unwrap(submit)))
    helped = CliRunner().invoke(app, ["--help"]).output.splitlines()
    (line,) = (line for line in helped if one_more.option in line)
    assert one_more.metavar in line.split()
    assert one_more.help in line
    places = [line.split("--")[1].split()[0] for line in helped if " --" in line]
    at = places.index("chance")
    last = RUN_PARAMETERS[-1].option.removeprefix("--")
    assert places[at - 1 : at + 2] == [last, "chance", "kfp-experiment"]


def test_a_command_gets_the_options_by_the_parameters_names(one_more: RunParameter) -> None:
    got: list[dict[str, Any]] = []

    def command(file: str, last: int = 1, **given: str | None) -> None:
        got.append({"file": file, "last": last, **given})

    app = typer.Typer()
    app.command()(with_run_options(before="last")(command))
    done = CliRunner().invoke(app, ["a", "--max-trials", "+3", one_more.option, "7"])
    assert done.exit_code == 0, done.output
    (given,) = got
    assert given.pop("file") == "a"
    assert given.pop("last") == 1
    assert given.keys() == run_parameters.run_parameters().keys()
    assert {name: text for name, text in given.items() if text is not None} == {
        "maxTrialCount": "+3",
        one_more.name: "7",
    }


def test_one_entry_is_a_keyword_in_python(one_more: RunParameter) -> None:
    def function(own: int, **run_parameters: Any) -> None:
        """Does it.

        Args:
            own: Its own.
            **run_parameters: What the run changes.
        """

    signature = inspect.signature(with_run_keywords(function))
    names = [each.keyword for each in run_parameters.RUN_PARAMETERS]
    assert list(signature.parameters) == ["own", *names]
    assert names[-1] == "trial_chance"
    assert "            own: Its own.\n            name: The experiment's" in (
        function.__doc__ or ""
    )
    assert "            trial_chance: What chance goes by.\n" in (function.__doc__ or "")
    assert "**" not in (function.__doc__ or "")
    assert given_texts({"trial_chance": 7, "goal": None}) == {one_more.name: "7"}


def test_one_entry_is_in_the_run_and_in_the_command_that_goes_on(one_more: RunParameter) -> None:
    ready = prepare(Submission(experiment(""), "file", {one_more.name: "7"}, image="i"))
    (setting,) = ready.experiment.spec.algorithm.algorithm_settings
    assert (setting.name, setting.value) == ("random_state", "7")
    assert ready.parameters == {one_more.name: "7"}
    run = Run("id", "name", "RUNNING", now_in_utc(), parameters=ready.parameters)
    assert resuming(ExperimentRun(run, ready.experiment, "rounds", NONE)).endswith(" --chance 7")


@pytest.mark.parametrize("function", PYTHON, ids=lambda each: each.__qualname__)
def test_python_s_functions_have_a_keyword_for_each(function: Any) -> None:
    parameters = inspect.signature(function).parameters
    keywords = [each.keyword for each in RUN_PARAMETERS]
    assert list(parameters)[-len(keywords) :] == keywords
    assert all(parameters[each].default is None for each in keywords)
    for each in RUN_PARAMETERS:
        assert f"{each.keyword}: " in inspect.getdoc(function)


def test_names_in_python_are_katib_s_as_python_writes_them() -> None:
    keywords = {each.name: each.keyword for each in RUN_PARAMETERS}
    assert keywords["name"] == "name"
    assert keywords["maxFailedTrialCount"] == "max_failed_trial_count"
    assert keywords["trialStartTimeout"] == "trial_start_timeout"
    for field in ("name", "option"):
        values = [getattr(each, field) for each in RUN_PARAMETERS]
        assert len(set(values)) == len(values)


def test_names_that_are_none_are_refused_with_those_that_are() -> None:
    with pytest.raises(InputError) as told:
        by_names({}, {"max_trials": 3})
    allowed = ", ".join(each.keyword for each in RUN_PARAMETERS)
    assert str(told.value) == (
        "max_trials: found a keyword that is no parameter of a run (did you mean max_trial_count?);"
        f" allowed: {allowed}"
    )
    assert allowed.startswith("name, parallel_trial_count, max_trial_count, ")
    with pytest.raises(
        InputError, match=r"found maxTrials \(did you mean maxTrialCount\?\); allowed: "
    ):
        by_names({"maxTrials": 3}, {})
    with pytest.raises(InputError, match="goal and parameters: found goal in both"):
        by_names({"goal": 3}, {"goal": 3})
    assert by_names({"goal": None}, {"resume": "all", "name": None}) == {
        "goal": None,
        "resume": "all",
    }


def test_what_the_document_does_not_hold_is_left_to_start() -> None:
    given = {"name": "n", "goal": "1", "maxTrialCount": "4", "resume": "none"}
    assert parameters_for_start(given) == {"resume": "none"}
    assert parameters_for_start({**given, "maxTrialCount": " +4"}) == {
        "resume": "none",
        "maxTrialCount": " +4",
    }


def test_the_document_that_is_changed_stays_as_it_was() -> None:
    before = document("", {"metadata.annotations": {"katibflow/trialTimeout": "9", "own": "a"}})
    kept = json.dumps(before)
    changed = with_parameters(before, {"trialTimeout": "none", "goal": "none", "name": "b"})
    assert json.dumps(before) == kept
    assert changed["metadata"]["annotations"] == {"own": "a"}
    assert changed["metadata"]["name"] == "b"
    assert "goal" not in changed["spec"]["objective"]


def test_source_without_a_place_for_names_stays_as_it_is() -> None:
    source = "def finish(run: str) -> None:\n    print( run )\n"
    assert with_inputs_in_source(source, ["goal"]) == source
    spread = with_inputs_in_source("def start(a: int, **given: str) -> None:\n    use(given)", "bc")
    assert own_command(spread, (), "")[-1].endswith(
        "def start(a: int, b: str, c: str) -> None:\n    given = {'b': b, 'c': c}\n    use(given)"
    )
