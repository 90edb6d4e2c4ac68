"""The steps as functions: what `start` refuses, when `loop` ends a run, what each hands on."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import katibflow
from katibflow.errors import InvalidExperiment
from katibflow.experiment.timeouts import Limits, limits_of
from katibflow.steps import collector, loop, start, suggestion, summary
from katibflow.steps.backends import runner_for
from katibflow.steps.capacity import MAX_ROUNDS, Capacity
from katibflow.steps.files import HISTORY, LIBRARY, read_study, write_study
from katibflow.steps.messages import read_item
from katibflow.study.history import History, Observation, Trial, TrialState
from katibflow.validation.rules import check_document
from tests.shell_trials import ROOM, Output, document, experiment, outputs


def _start(
    tmp_path: Path, room: int = ROOM, layout: str = "rounds", library: str = "", **given: str
) -> History:
    (study,) = outputs(tmp_path, "study")
    start(json.dumps(document("")), given, layout, "some-run", library, room, study)
    assert study.shown == "study at the start"
    return read_study(study.path)


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


def looped(history: History, folder: Path) -> tuple[bool, str, Output]:
    """What `loop` makes of a study: whether to go on, the reason not to, the table."""
    study, text = outputs(folder, "study", "text")
    write_study(study.path, history)
    proceed = loop(study.path, text, str(folder / "reason"))
    return proceed, (folder / "reason").read_text(encoding="utf-8"), text


class TestLoop:
    @pytest.mark.parametrize(
        ("most", "last"), [(None, MAX_ROUNDS), (7, 7)], ids=["argo's depth", "its size"]
    )
    def test_ends_in_order_when_a_run_holds_no_more_rounds(
        self, tmp_path: Path, most: int | None, last: int
    ) -> None:
        tried = experiment("", {"spec.maxTrialCount": None, "spec.parallelTrialCount": 1})
        history = History(tried, "0a1b2c3d", 1, _trials(last), last, most)
        proceed, reason, text = looped(replace(history, rounds=last - 1), tmp_path)
        assert (proceed, reason) == (True, "")
        assert "PipelineRoundsUsedUp" not in text.text
        assert len(suggestion(str(tmp_path / "study"))) == 1
        proceed, reason, text = looped(history, tmp_path)
        assert not proceed
        assert reason.startswith(f"PipelineRoundsUsedUp: {last} rounds with {last} trials are over")
        assert "katibflow submit FILE --resume 0a1b2c3d (in the UI" in reason
        assert "a run with resume=0a1b2c3d), or --layout controller" in reason
        assert "PipelineRoundsUsedUp" in text.text
        assert suggestion(str(tmp_path / "study")) == []

    def test_ends_when_too_many_trials_failed(self, tmp_path: Path) -> None:
        tried = experiment("", {"spec.maxFailedTrialCount": 2})
        history = History(tried, "00000000", 1, _trials(3), 1)
        for count, why in ((1, ""), (2, "ExperimentFailed: 2 trials failed")):
            failed = [replace(each, state=TrialState.FAIL) for each in history.trials[:count]]
            proceed, reason, _ = looped(history.with_trials(failed), tmp_path)
            assert proceed == (not why)
            assert reason.startswith(why)
            assert bool(reason) == bool(why)

    def test_shows_the_trials_so_far(self, tmp_path: Path) -> None:
        history = History(experiment(""), "00000000", 1, _trials(3), 1)
        better = replace(history.trials[2], observations={"loss": Observation(0.1, 0.1, 0.1)})
        proceed, reason, text = looped(history.with_trials([better]), tmp_path)
        assert (proceed, reason, text.shown) == (True, "", "round 1")
        shown = text.text
        assert shown.startswith("# sample, round 1\n\n3 trials.\n")
        assert "Best: trial 2, loss 0.1 with x=2" in shown
        assert [line[:3] for line in shown.splitlines() if line[:3] in ("| 0", "| 1", "| 2")] == [
            *("| 0", "| 1", "| 2")
        ]


class TestCollector:
    @pytest.fixture(autouse=True)
    def local(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KATIBFLOW_RUNNER", "local")
        monkeypatch.setenv("KATIBFLOW_RUNS", str(tmp_path / "runs"))

    @pytest.fixture
    def history(self) -> History:
        return History(experiment(""), "00000000", 1, _trials(1), 1, 9)

    def recorded(self, history: History, study: Output) -> list[Trial]:
        """The next round's trials, as they are on record once they have ended."""
        write_study(study.path, history)
        runner, ended = runner_for(history), []
        seen = {"loss": Observation(0.5, 0.5, 0.5)}
        for item in suggestion(study.path):
            trial = replace(
                read_item(item, history), state=TrialState.COMPLETE, observations=seen, reason="OK"
            )
            runner.record(trial)
            ended.append(trial)
        runner.close()
        return ended

    def test_hands_the_library_on_and_writes_the_next_study(
        self, history: History, tmp_path: Path
    ) -> None:
        before, after = outputs(tmp_path, "before", "after")
        trials = self.recorded(history, before)
        Path(before.path, LIBRARY).write_bytes(b"the code")
        collector(before.path, ["3 COMPLETE OK", "1 COMPLETE OK", "2 COMPLETE OK"], after)
        assert after.shown == "study after round 2"
        now = read_study(after.path)
        assert now == replace(history.with_trials(trials), rounds=2)
        assert [trial.number for trial in now.trials] == [0, 1, 2, 3]
        assert {file.name for file in Path(after.path).iterdir()} == {HISTORY, LIBRARY}
        assert Path(after.path, LIBRARY).read_bytes() == b"the code"
        assert read_study(before.path) == history

    def test_takes_this_round_s_trials_only_and_only_those_on_record(
        self, history: History, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before, after = outputs(tmp_path, "before", "after")
        self.recorded(history, before)
        shutil.rmtree(tmp_path / "runs" / "sample-00000000" / "trials" / "0002")
        capsys.readouterr()
        collector(before.path, ["1 COMPLETE OK", "2 COMPLETE OK"], after)
        assert capsys.readouterr().out.splitlines() == [
            "trial 1: COMPLETE OK",
            "trial 2: its job is not there any more, so it does not count",
        ]
        now = read_study(after.path)
        assert [trial.number for trial in now.trials] == [0, 1]
        assert now.rounds == 2

    def test_a_round_of_which_nothing_is_left_is_a_round(
        self, history: History, tmp_path: Path
    ) -> None:
        before, after = outputs(tmp_path, "before", "after")
        write_study(before.path, history)
        collector(before.path, ["1 COMPLETE OK"], after)
        assert read_study(after.path) == replace(history, rounds=2)


def test_without_a_library_there_is_none_to_hand_on(tmp_path: Path) -> None:
    history = History(experiment(""), "00000000", 1)
    write_study(str(tmp_path / "before"), history)
    write_study(str(tmp_path / "after"), history, str(tmp_path / "before"))
    assert [file.name for file in (tmp_path / "after").iterdir()] == [HISTORY]


def test_a_summary_shows_the_study_after_its_round(tmp_path: Path) -> None:
    study, page = outputs(tmp_path, "study", "page")
    write_study(study.path, History(experiment(""), "00000000", 1, _trials(5), 3))
    summary(study.path, page)
    assert page.shown == "round 3"
    assert "Round 3" in page.text and "5 trials so far" in page.text
