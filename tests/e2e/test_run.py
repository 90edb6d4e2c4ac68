"""The compiled file runs, from the first suggestion to the report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from katibflow.compiler.emit import compile_experiment
from katibflow.errors import InvalidExperiment
from katibflow.study.history import TrialState
from katibflow.validation.rules import check_document
from tests.e2e.kfp_local import Run, run_pipeline
from tests.paths import ROOT
from tests.shell_trials import document, experiment, processes_below

SEED = [{"name": "random_state", "value": "1"}]
REPORT = 'echo "loss=$X"'


@pytest.fixture(scope="module")
def three_trials(tmp_path_factory: pytest.TempPathFactory) -> Run:
    tried = experiment(
        REPORT,
        {
            "metadata.name": "three",
            "spec.parallelTrialCount": 2,
            "spec.maxTrialCount": 3,
            "spec.algorithm.algorithmSettings": SEED,
        },
    )
    return run_pipeline(tmp_path_factory.mktemp("three"), compile_experiment(tried).text)


class TestRunsToTheEnd:
    def test_exactly_max_trial_count_trials(self, three_trials: Run) -> None:
        assert three_trials.code == 0, three_trials.log
        assert [trial.number for trial in three_trials.study.trials] == [0, 1, 2]
        assert {trial.state for trial in three_trials.study.trials} == {TrialState.COMPLETE}

    def test_last_round_is_smaller_when_fewer_trials_are_left(self, three_trials: Run) -> None:
        assert three_trials.count("launcher") == 3
        assert three_trials.study.rounds == 2

    def test_trials_are_asked_for_at_the_start_and_beside_each_decision(
        self, three_trials: Run
    ) -> None:
        assert three_trials.count("loop") == 2
        assert three_trials.count("suggestion") == 3
        assert three_trials.outputs("suggestion")["Output"] == []
        assert "no trial is needed: ExperimentMaxTrialsReached" in three_trials.log

    def test_the_librarys_step_never_runs(self, three_trials: Run) -> None:
        assert three_trials.count("library") == 0

    def test_each_trial_ran_once_and_is_on_record(self, three_trials: Run) -> None:
        (folder,) = three_trials.runs.iterdir()
        assert len(list(folder.glob("trials/*/attempt-*"))) == 3

    def test_every_trial_reports_the_value_it_was_given(self, three_trials: Run) -> None:
        for trial in three_trials.study.trials:
            assert trial.observations["loss"].latest == float(trial.assignments["x"])

    def test_report_gives_the_best_parameters(self, three_trials: Run) -> None:
        values = [int(trial.assignments["x"]) for trial in three_trials.study.trials]
        best = json.loads(three_trials.outputs("report")["best_parameters"])
        assert best == {"x": str(min(values))}
        assert three_trials.metrics("report") == {
            "display_name": "report",
            "trials": 3,
            "failed trials": 0,
            "best trial": values.index(min(values)),
            "best loss": min(values),
        }

    def test_report_says_how_it_ended_to_programs(self, three_trials: Run) -> None:
        values = [int(trial.assignments["x"]) for trial in three_trials.study.trials]
        assert json.loads(three_trials.outputs("report")["result"]) == {
            "experiment": "three",
            "succeeded": True,
            "reason": "ExperimentMaxTrialsReached",
            "message": "3 trials ended, maxTrialCount is 3",
            "best": {
                "trial": values.index(min(values)),
                "objective": min(values),
                "assignments": {"x": str(min(values))},
            },
            "trials": {"COMPLETE": 3},
        }

    def test_report_page_and_summary_say_why_it_ended(self, three_trials: Run) -> None:
        page = (three_trials.root / "report" / "page").read_text(encoding="utf-8")
        text = (three_trials.root / "report" / "text").read_text(encoding="utf-8")
        assert "ExperimentMaxTrialsReached" in page
        assert "3 trials ended, maxTrialCount is 3" in text

    def test_each_round_shows_its_table_and_the_last_one_its_page(self, three_trials: Run) -> None:
        text = (three_trials.root / "loop" / "text").read_text(encoding="utf-8")
        assert text.startswith("# three, round 2\n")
        assert "ExperimentMaxTrialsReached: 3 trials ended, maxTrialCount is 3" in text
        assert three_trials.count("summary") == 1
        page = (three_trials.root / "summary" / "page").read_text(encoding="utf-8")
        assert "Round 2" in page and "3 trials so far" in page

    def test_artifacts_say_what_they_are_of(self, three_trials: Run) -> None:
        last = three_trials.study.rounds
        assert three_trials.shown("start") == {"study": "study at the start"}
        assert three_trials.shown("for-loop-1-iteration-0/launcher") == {
            "log": f"log of trial 2, round {last}"
        }
        assert three_trials.shown("for-loop-1-iteration-1/launcher") == {
            "log": "log of trial 1, round 1"
        }
        assert three_trials.shown("collector") == {"study": f"study after round {last}"}
        assert three_trials.shown("loop") == {"text": f"round {last}"}
        assert three_trials.shown("summary") == {"page": f"round {last}"}
        shown = dict.fromkeys(("page", "text", "metrics"), "report")
        assert three_trials.shown("report") == shown

    def test_trial_output_is_in_the_steps_log_and_an_artifact(self, three_trials: Run) -> None:
        first = three_trials.study.trials[2]
        path = three_trials.root / "for-loop-1-iteration-0" / "launcher" / "log"
        assert path.read_text(encoding="utf-8") == f"loss={first.assignments['x']}\n"
        assert f"loss={first.assignments['x']}" in three_trials.log


@pytest.mark.long
def test_goal_given_at_run_time_ends_it_early(tmp_path: Path) -> None:
    tried = experiment(
        REPORT, {"spec.parallelTrialCount": 1, "spec.algorithm.algorithmSettings": SEED}
    )
    run = run_pipeline(
        tmp_path, compile_experiment(tried).text, {"goal": "99", "name": "sweep-two"}
    )
    assert run.code == 0, run.log
    assert len(run.study.trials) == 1
    assert run.study.experiment.name == "sweep-two"
    assert run.outputs("loop")["reason"].startswith("ExperimentGoalReached: ")
    assert [folder.name.rpartition("-")[0] for folder in run.runs.iterdir()] == ["sweep-two"]


@pytest.mark.long
def test_used_up_space_ends_it_without_an_empty_round_and_a_failed_trial_is_data(
    tmp_path: Path,
) -> None:
    tried = experiment(
        'test "$X" = 2 && echo broken && exit 1; echo "loss=$X"',
        {
            "spec.parameters": [
                {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "4"}}
            ],
            "spec.parallelTrialCount": 4,
        },
    )
    run = run_pipeline(tmp_path, compile_experiment(tried).text)
    assert run.code == 0, run.log
    assert sorted(trial.assignments["x"] for trial in run.study.trials) == ["1", "2", "3", "4"]
    (failed,) = (trial for trial in run.study.trials if trial.state is TrialState.FAIL)
    assert "broken" in failed.message
    assert run.count("launcher") == 4
    assert run.outputs("loop")["reason"].startswith("ExperimentSuggestionEndReached: ")
    text = (run.root / "report" / "text").read_text(encoding="utf-8")
    assert "ExperimentSuggestionEndReached" in text.replace("\\", "")


@pytest.mark.long
def test_wrong_run_parameters_fail_in_start_as_in_a_file(tmp_path: Path) -> None:
    wrong = {"parallelTrialCount": "7", "maxTrialCount": "abc", "name": "Not A Name"}
    run = run_pipeline(tmp_path, compile_experiment(experiment(REPORT)).text, wrong)
    with pytest.raises(InvalidExperiment) as told:
        check_document(
            document(
                REPORT,
                {
                    "metadata.name": "Not A Name",
                    "spec.parallelTrialCount": 7,
                    "spec.maxTrialCount": "abc",
                },
            ),
            "the run's parameters",
        )
    assert run.code != 0
    assert "spec.maxTrialCount" in str(told.value)
    for line in str(told.value).splitlines():
        assert line in run.log
    assert run.count("suggestion") == 0
    assert run.count("finish") == 1


@pytest.mark.long
def test_mnist_example_runs_from_its_compiled_file(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "trial_image" / "make_digits.py"], check=True)
    run = run_pipeline(
        tmp_path,
        (ROOT / "compiled" / "mnist.yaml").read_text(encoding="utf-8"),
        {"maxTrialCount": "4", "maxFailedTrialCount": "none"},
        maps=[f"/opt/pytorch-mnist={ROOT / 'trial_image'}"],
    )
    assert run.code == 0, run.log
    assert [trial.state for trial in run.study.trials] == [TrialState.COMPLETE] * 4
    assert all(0 < trial.observations["accuracy"].max <= 1 for trial in run.study.trials)
    assert not processes_below(run.runs)
