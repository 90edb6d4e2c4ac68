"""The layout controller: one step runs all trials, and goes on where it was when it is killed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from katibflow.compiler.emit import compile_experiment
from katibflow.steps import controller, start
from katibflow.steps.files import read_study
from katibflow.study.history import TrialState
from tests.e2e.kfp_local import Run, run_pipeline
from tests.shell_trials import ROOM, document, experiment, outputs, processes_below, reported

SEED = {"spec.algorithm.algorithmSettings": [{"name": "random_state", "value": "1"}]}
CONTROL = """
import sys
from types import SimpleNamespace
from katibflow.steps import controller
study, *paths = sys.argv[1:]
print(controller(study, *(SimpleNamespace(path=path, metadata={}) for path in paths)))
"""


@pytest.fixture(scope="module")
def three_trials(tmp_path_factory: pytest.TempPathFactory) -> Run:
    tried = experiment('echo "loss=$X"', {"metadata.name": "three", **SEED})
    text = compile_experiment(tried, layout="controller").text
    counts = {"parallelTrialCount": "2", "maxTrialCount": "3"}
    return run_pipeline(tmp_path_factory.mktemp("three"), text, counts)


class TestRunsToTheEnd:
    def test_exactly_max_trial_count_trials_in_one_step(self, three_trials: Run) -> None:
        assert three_trials.code == 0, three_trials.log
        assert [trial.number for trial in three_trials.study.trials] == [0, 1, 2]
        assert {trial.state for trial in three_trials.study.trials} == {TrialState.COMPLETE}
        assert three_trials.count("controller") == 1
        said = three_trials.outputs("controller")["Output"]
        assert said == "ExperimentMaxTrialsReached: 3 trials ended, maxTrialCount is 3"

    def test_each_trial_ran_once(self, three_trials: Run) -> None:
        (folder,) = three_trials.runs.iterdir()
        assert len(list(folder.glob("trials/*/attempt-*"))) == 3

    def test_log_tells_line_by_line_which_trial_does_what(self, three_trials: Run) -> None:
        for trial in three_trials.study.trials:
            value = trial.assignments["x"]
            for line in ("started: x={}", ": loss={}", "complete after"):
                assert f"trial {trial.number}{' ' * (line[0] != ':')}{line.format(value)}" in (
                    three_trials.log
                )

    def test_output_of_every_trial_is_kept(self, three_trials: Run) -> None:
        for trial in three_trials.study.trials:
            path = three_trials.root / "controller" / "logs" / f"{trial.number:04}.log"
            assert path.read_text(encoding="utf-8") == f"loss={trial.assignments['x']}\n"

    def test_report_is_that_of_the_other_layout(self, three_trials: Run) -> None:
        values = [int(trial.assignments["x"]) for trial in three_trials.study.trials]
        assert json.loads(three_trials.outputs("controller")["best_parameters"]) == {
            "x": str(min(values))
        }
        assert three_trials.metrics("controller")["trials"] == 3
        page = (three_trials.root / "controller" / "page").read_text(encoding="utf-8")
        assert "ExperimentMaxTrialsReached" in page

    def test_report_links_to_the_logs_where_they_are_on_this_machine(
        self, three_trials: Run
    ) -> None:
        page = three_trials.root / "controller" / "page"
        links = re.findall(r'href="([^"]+)" rel="[^"]*">job-0<', page.read_text(encoding="utf-8"))
        logs = [(page.parent / link).read_text(encoding="utf-8") for link in links]
        values = [trial.assignments["x"] for trial in three_trials.study.trials]
        assert logs == [f"loss={value}\n" for value in values]


def test_goal_ends_it_and_stops_the_other_trials(tmp_path: Path) -> None:
    space = {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "0", "max": "1"}}
    tried = experiment(
        'test "$X" = 1 && sleep 600; echo loss=0',
        {**SEED, "spec.parameters": [space], "spec.parallelTrialCount": 2, "spec.maxTrialCount": 2},
    )
    run = run_pipeline(tmp_path, compile_experiment(tried, layout="controller").text, {"goal": "0"})
    assert run.code == 0, run.log
    states = {trial.assignments["x"]: trial.state for trial in run.study.trials}
    assert states == {"0": TrialState.COMPLETE, "1": TrialState.KILLED}
    assert run.outputs("controller")["Output"].startswith("ExperimentGoalReached: ")
    assert not processes_below(run.runs)


def test_too_many_failed_trials_end_it_with_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KATIBFLOW_RUNNER", "local")
    monkeypatch.setenv("KATIBFLOW_RUNS", str(tmp_path / "runs"))
    study, after, logs = outputs(tmp_path, "study", "after", "logs")
    given = {"parallelTrialCount": "1", "maxFailedTrialCount": "2"}
    script = json.dumps(document("echo broken; exit 3"))
    start(script, given, "controller", "the-run", "", ROOM, study)
    assert controller(study.path, after, logs).startswith("ExperimentFailed: 2 trials failed")
    assert [trial.state for trial in read_study(after.path).trials] == [TrialState.FAIL] * 2
    shown = [each.shown for each in (study, after, logs)]
    assert shown == ["study at the start", "study at the end", "logs of the trials"]
    told = reported(after.path, tmp_path)
    assert told.best == {}
    assert (told.result["succeeded"], told.result["reason"]) == (False, "ExperimentFailed")


def test_a_trial_that_takes_longer_than_the_runs_timeout_fails(tmp_path: Path) -> None:
    study, after, logs = outputs(tmp_path, "study", "after", "logs")
    given = {"maxTrialCount": "1", "parallelTrialCount": "1", "trialTimeout": "0.5"}
    start(json.dumps(document("sleep 600")), given, "controller", "the-run", "", ROOM, study)
    done = subprocess.run(
        [sys.executable, "-c", CONTROL, *(each.path for each in (study, after, logs))],
        env=os.environ | {"KATIBFLOW_RUNNER": "local", "KATIBFLOW_RUNS": str(tmp_path / "runs")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "TrialTimedOut" in done.stdout
    (trial,) = read_study(after.path).trials
    assert (trial.state, trial.reason) == (TrialState.FAIL, "TrialTimedOut")


def test_killed_and_started_again_it_finishes_without_running_a_trial_twice(tmp_path: Path) -> None:
    study, after, logs = outputs(tmp_path, "study", "after", "logs")
    script = f'echo "loss=$X"; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done'
    grid = {"algorithmName": "grid"}
    space = {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "4", "max": "9"}}
    changes = {"spec.algorithm": grid, "spec.parameters": [space]}
    start(json.dumps(document(script, changes)), {}, "controller", "the-run", "", ROOM, study)
    command = [sys.executable, "-c", CONTROL, *(each.path for each in (study, after, logs))]
    environment = os.environ | {
        "KATIBFLOW_RUNNER": "local",
        "KATIBFLOW_RUNS": str(tmp_path / "runs"),
    }
    first = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    with first:
        assert first.stdout is not None
        reported: set[str] = set()
        while len(reported) < 3:
            reported |= {first.stdout.readline().rpartition(": loss=")[0][-1:]} - {""}
        first.kill()
    assert processes_below(tmp_path / "runs")
    (tmp_path / "go").touch()
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "taken up again" in second.stdout
    trials = read_study(after.path).trials
    assert sorted(trial.assignments["x"] for trial in trials) == list("456789")
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert len(list(tmp_path.glob("runs/*/trials/*/attempt-*"))) == 6
