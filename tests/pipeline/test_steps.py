"""The steps as functions: what `start` refuses, when `loop` ends a run, what `summary` shows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from katibflow.errors import InvalidExperiment
from katibflow.history import History, Observation, Trial, TrialState
from katibflow.limits import Limits, limits_of
from katibflow.steps import loop, start, summary
from katibflow.steps.files import read_study, write_study
from katibflow.validation import check_document
from tests.shell_trials import document, experiment


def _start(tmp_path: Path, **given: str) -> History:
    path = str(tmp_path / "study")
    start(json.dumps(document("")), given, "rounds", "some-run", path)
    return read_study(path)


class TestStart:
    def test_run_parameters_replace_the_files_values(self, tmp_path: Path) -> None:
        history = _start(
            tmp_path, name="other", maxTrialCount="8", maxFailedTrialCount="2", goal="1e-3"
        )
        spec = history.experiment.spec
        assert history.experiment.name == "other"
        assert (spec.max_trial_count, spec.max_failed_trial_count) == (8, 2)
        assert spec.objective.goal == 0.001

    @pytest.mark.parametrize("nothing", ["none", "", " None "])
    def test_none_takes_a_value_away(self, tmp_path: Path, nothing: str) -> None:
        history = _start(tmp_path, maxTrialCount=nothing, parallelTrialCount=nothing)
        assert history.experiment.spec.max_trial_count is None
        assert history.experiment.spec.parallelism == 3

    def test_timeouts_are_kept_where_the_file_has_them(self, tmp_path: Path) -> None:
        history = _start(tmp_path, trialTimeout="90", trialStartTimeout="none")
        assert limits_of(history.experiment) == Limits(trial=90)

    def test_run_and_seed_follow_from_kfps_run_id(self, tmp_path: Path) -> None:
        first, second = _start(tmp_path), _start(tmp_path)
        assert first == second
        assert len(first.run) == 8
        assert int(first.run, 16) >= 0

    @pytest.mark.parametrize(
        ("given", "path", "value"),
        [
            ({"maxTrialCount": "abc"}, "spec.maxTrialCount", "abc"),
            ({"maxTrialCount": "1.5"}, "spec.maxTrialCount", 1.5),
            ({"parallelTrialCount": "0"}, "spec.parallelTrialCount", 0),
            ({"parallelTrialCount": "9"}, "spec.parallelTrialCount", 9),
            ({"maxFailedTrialCount": "-1"}, "spec.maxFailedTrialCount", -1),
            ({"goal": "best"}, "spec.objective.goal", "best"),
            ({"goal": "nan"}, "spec.objective.goal", float("nan")),
            ({"name": "No/Name"}, "metadata.name", "No/Name"),
            (
                {"trialTimeout": "1h"},
                "metadata.annotations",
                {"katibflow/trialTimeout": "1h"},
            ),
            (
                {"trialStartTimeout": "0"},
                "metadata.annotations",
                {"katibflow/trialStartTimeout": "0"},
            ),
        ],
        ids=lambda value: str(value) if isinstance(value, dict) else "",
    )
    def test_refuses_with_the_words_for_a_file(
        self, tmp_path: Path, given: dict[str, str], path: str, value: object
    ) -> None:
        with pytest.raises(InvalidExperiment) as for_a_file:
            check_document(document("", {path: value}), "the run's parameters")
        with pytest.raises(SystemExit) as told:
            _start(tmp_path, **given)
        assert str(told.value) == f"katibflow: {for_a_file.value}"
        assert path in str(told.value)

    def test_refuses_more_rounds_than_a_run_holds(self, tmp_path: Path) -> None:
        with pytest.raises(SystemExit, match=r"spec\.parallelTrialCount: found 3, with which 271"):
            _start(tmp_path, maxTrialCount="271")


def _trials(count: int) -> tuple[Trial, ...]:
    seen = {"loss": Observation(1.0, 1.0, 1.0)}
    return tuple(
        Trial(number, TrialState.COMPLETE, {"x": str(number)}, seen) for number in range(count)
    )


class TestLoop:
    def test_goes_on_below_the_last_round(self, tmp_path: Path) -> None:
        assert self._decision(tmp_path, rounds=89) == (True, "")

    def test_ends_without_max_trial_count_at_the_last_round(self, tmp_path: Path) -> None:
        proceed, said = self._decision(tmp_path, rounds=90)
        assert not proceed
        assert said.startswith("PipelineRoundsUsedUp: 90 rounds with 90 trials are over")
        assert "larger parallelTrialCount" in said

    def _decision(self, tmp_path: Path, rounds: int) -> tuple[bool, str]:
        tried = experiment("", {"spec.maxTrialCount": None, "spec.parallelTrialCount": 1})
        path = str(tmp_path / "study")
        write_study(path, History(tried, "00000000", 1, _trials(rounds), rounds))
        return loop(path)


def test_summary_shows_its_round_whatever_the_study_has_become(tmp_path: Path) -> None:
    study, page, text = (str(tmp_path / name) for name in ("study", "page", "text"))
    history = History(experiment(""), "00000000", 1, _trials(5), 3)
    better = replace(history.trials[4], observations={"loss": Observation(0.1, 0.1, 0.1)})
    write_study(study, history.with_trials([better]))
    assert summary(study, 2, 4, page, text) == {
        "round": 2,
        "trials": 4,
        "failed trials": 0,
        "best trial": 0,
        "best loss": 1,
    }
    assert "Round 2" in Path(page).read_text(encoding="utf-8")
    shown = Path(text).read_text(encoding="utf-8")
    assert shown.startswith("# sample, round 2\n")
    assert "| 3 |" in shown
    assert "| 4 |" not in shown
