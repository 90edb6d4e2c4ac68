"""The steps as functions: what `start` refuses, when `loop` ends a run, what each hands on."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

import katibflow
from katibflow.errors import InvalidExperiment
from katibflow.history import History, Observation, Trial, TrialState
from katibflow.limits import Limits, limits_of
from katibflow.runners.base import JobOutcome, JobState
from katibflow.steps import collector, loop, start, suggestion, summary
from katibflow.steps.capacity import MAX_ROUNDS, Capacity
from katibflow.steps.files import HISTORY, LIBRARY, read_study, write_study
from katibflow.steps.messages import Outcome, outcome_text, read_item
from katibflow.validation import check_document
from tests.shell_trials import ROOM, document, experiment


def _start(
    tmp_path: Path, room: int = ROOM, layout: str = "rounds", library: str = "", **given: str
) -> History:
    path = str(tmp_path / "study")
    start(json.dumps(document("")), given, layout, "some-run", library, room, path)
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
            ({"name": ""}, "metadata.name", ""),
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

    def test_more_trials_than_a_run_holds_are_no_fault(self, tmp_path: Path) -> None:
        history = _start(tmp_path, maxTrialCount="100000")
        assert history.experiment.spec.max_trial_count == 100_000
        assert history.most_rounds == MAX_ROUNDS

    @pytest.mark.parametrize("parallel", [1, 3])
    def test_counts_the_rounds_that_its_room_holds(self, tmp_path: Path, parallel: int) -> None:
        size = Capacity.of(experiment("")).of_rounds(4, parallel)
        for room, most in ((math.ceil(size), 4), (math.floor(size) - 1, 3)):
            history = _start(tmp_path, room, parallelTrialCount=str(parallel))
            assert history.most_rounds == most

    def test_refuses_rounds_of_which_not_one_fits(self, tmp_path: Path) -> None:
        capacity = Capacity.of(experiment(""))
        room = math.ceil(capacity.of_rounds(1, 2))
        assert _start(tmp_path, room, parallelTrialCount="2").most_rounds == 1
        with pytest.raises(SystemExit, match=r"parallelTrialCount: found 3; allowed: at most 2"):
            _start(tmp_path, room, parallelTrialCount="3")
        assert _start(tmp_path, 0, layout="controller").most_rounds is None

    def test_refuses_to_run_with_another_version_than_compiled(self, tmp_path: Path) -> None:
        _start(tmp_path, library=f"katibflow-{katibflow.__version__}-0123456789ab")
        with pytest.raises(SystemExit, match=r"compiled by katibflow 9\.9\.0-rc1.*==9\.9\.0-rc1"):
            _start(tmp_path, library="katibflow-9.9.0-rc1-0123456789ab")


def _trials(count: int) -> tuple[Trial, ...]:
    seen = {"loss": Observation(1.0, 1.0, 1.0)}
    return tuple(
        Trial(number, TrialState.COMPLETE, {"x": str(number)}, seen) for number in range(count)
    )


class TestLoop:
    @pytest.mark.parametrize(
        ("most", "last"), [(None, MAX_ROUNDS), (7, 7)], ids=["argo's depth", "its size"]
    )
    def test_ends_in_order_when_a_run_holds_no_more_rounds(
        self, tmp_path: Path, most: int | None, last: int
    ) -> None:
        study, text = str(tmp_path / "study"), tmp_path / "text"
        tried = experiment("", {"spec.maxTrialCount": None, "spec.parallelTrialCount": 1})
        history = History(tried, "00000000", 1, _trials(last), last, most)
        write_study(study, replace(history, rounds=last - 1))
        proceed, said, _ = loop(study, str(text))
        assert (proceed, said) == (True, "")
        assert len(suggestion(study)) == 1
        write_study(study, history)
        proceed, said, _ = loop(study, str(text))
        assert not proceed
        assert said.startswith(f"PipelineRoundsUsedUp: {last} rounds with {last} trials are over")
        assert "resume=all" in said and "larger parallelTrialCount" in said
        assert "PipelineRoundsUsedUp" in text.read_text(encoding="utf-8")
        assert suggestion(study) == []

    def test_ends_when_too_many_trials_failed(self, tmp_path: Path) -> None:
        study, text = str(tmp_path / "study"), tmp_path / "text"
        tried = experiment("", {"spec.maxFailedTrialCount": 2})
        history = History(tried, "00000000", 1, _trials(3), 1)
        for count, reason in ((1, ""), (2, "ExperimentFailed: 2 trials failed")):
            failed = [replace(each, state=TrialState.FAIL) for each in history.trials[:count]]
            write_study(study, history.with_trials(failed))
            proceed, said, _ = loop(study, str(text))
            assert proceed == (not reason)
            assert said.startswith(reason)

    def test_shows_the_trials_so_far(self, tmp_path: Path) -> None:
        study, text = str(tmp_path / "study"), tmp_path / "text"
        history = History(experiment(""), "00000000", 1, _trials(3), 1)
        better = replace(history.trials[2], observations={"loss": Observation(0.1, 0.1, 0.1)})
        write_study(study, history.with_trials([better]))
        assert loop(study, str(text)) == (True, "", {"display_name": "round 1"})
        shown = text.read_text(encoding="utf-8")
        assert shown.startswith("# sample, round 1\n\n3 trials.\n")
        assert "Best: trial 2, loss 0.1 with x=2" in shown
        assert [line[:3] for line in shown.splitlines() if line[:3] in ("| 0", "| 1", "| 2")] == [
            *("| 0", "| 1", "| 2")
        ]


class TestTheStudysFolder:
    def test_a_round_hands_the_library_on_and_writes_the_next_study(self, tmp_path: Path) -> None:
        before, after, log = (tmp_path / name for name in ("before", "after", "log"))
        history = History(experiment(""), "00000000", 1, _trials(1), 1, 9)
        write_study(str(before), history)
        (before / LIBRARY).write_bytes(b"the code")
        items = suggestion(str(before))
        trials = [read_item(item, history) for item in items]
        assert [trial.number for trial in trials] == [1, 2, 3]
        job = JobOutcome(JobState.SUCCEEDED, "", "")
        outcomes = [outcome_text(Outcome(trial, job, "2026-01-01T00:00:00Z")) for trial in trials]
        log.write_text("loss=0.5\n", encoding="utf-8")
        told = collector(str(before), outcomes, dict.fromkeys((1, 2, 3), str(log)), str(after))
        assert told == {"display_name": "study after round 2"}
        now = read_study(str(after))
        assert (now.rounds, now.most_rounds, len(now.trials)) == (2, 9, 4)
        assert {file.name for file in after.iterdir()} == {HISTORY, LIBRARY}
        assert (after / LIBRARY).read_bytes() == b"the code"
        assert read_study(str(before)) == history

    def test_without_a_library_there_is_none_to_hand_on(self, tmp_path: Path) -> None:
        history = History(experiment(""), "00000000", 1)
        write_study(str(tmp_path / "before"), history)
        write_study(str(tmp_path / "after"), history, str(tmp_path / "before"))
        assert [file.name for file in (tmp_path / "after").iterdir()] == [HISTORY]


def test_a_summary_shows_the_study_after_its_round(tmp_path: Path) -> None:
    study, page = str(tmp_path / "study"), tmp_path / "page"
    write_study(study, History(experiment(""), "00000000", 1, _trials(5), 3))
    assert summary(study, str(page)) == {"display_name": "round 3"}
    shown = page.read_text(encoding="utf-8")
    assert "Round 3" in shown and "5 trials so far" in shown
