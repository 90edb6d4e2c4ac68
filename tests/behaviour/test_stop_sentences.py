"""The sentences of requests to stop are for people: whatever they say, all else stays the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from katibflow.cli import app
from katibflow.cli.options import EXPERIMENT_FAILED, interrupted
from katibflow.engine import loop
from katibflow.engine.events import TrialEnded, Update
from katibflow.engine.loop import Result, run_experiment
from katibflow.runners.local.runner import LocalRunner
from katibflow.runners.stopping import StopKind, StopReason, StopRequest
from katibflow.study.history import History, Point, Trial, TrialState
from katibflow.study.reasons import TrialReason
from tests.shell_trials import document, experiment, processes_below

SENTENCES = [
    "interrupted by signal 15",
    "interrupted by signal 9",
    "SIGTERM",
    "",
    "the best loss is 8, the median of 3 earlier trials is 1",
]
RUN = "0a1b2c3d"
ONE_BY_ONE = {"spec.parallelTrialCount": 1, "spec.maxTrialCount": 2}


@pytest.mark.parametrize("text", SENTENCES)
def test_the_exit_status_is_the_signals_whatever_the_sentence(text: str) -> None:
    assert interrupted(StopReason(text, StopKind.SIGNAL, 15)).exit_code == 143
    assert interrupted(StopReason(text)).exit_code == EXPERIMENT_FAILED


@pytest.mark.parametrize("text", SENTENCES)
def test_a_command_ends_with_the_signals_status_whatever_the_sentence(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def caught(stop: StopRequest, again: Callable[[int], None]) -> Iterator[None]:
        stop.set(text, StopKind.SIGNAL, 15)
        yield

    monkeypatch.setattr("katibflow.cli.run.caught", caught)
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(document("sleep 600", ONE_BY_ONE)), encoding="utf-8")
    done = CliRunner().invoke(app, ["run", str(file), "--runs", str(tmp_path / "runs")])
    assert done.exit_code == 143
    assert f"Interrupted: {text}; the same command goes on from here" in done.stdout
    assert processes_below(tmp_path) == []


def _run(folder: Path, script: str, stop: StopRequest, watch: Callable[[Update], None]) -> Result:
    runner = LocalRunner(folder)
    try:
        history = History(experiment(script, ONE_BY_ONE), RUN, 1)
        return run_experiment(history, runner, watch=watch, stop=stop)
    finally:
        runner.close()


@pytest.mark.parametrize("text", SENTENCES)
def test_an_interrupted_run_stands_the_same_whatever_the_sentence(
    text: str, tmp_path: Path
) -> None:
    stop = StopRequest()

    def watch(update: Update) -> None:
        if isinstance(update, TrialEnded):
            stop.set(text)

    script = 'case "$KATIB_TRIAL_NAME" in *-0) echo loss=1;; *) sleep 600;; esac'
    result = _run(tmp_path, script, stop, watch)
    states = [trial.state for trial in result.history.trials]
    assert states[0] is TrialState.COMPLETE
    assert set(states[1:]) <= {TrialState.RUNNING}
    assert result.interrupted == StopReason(text)
    assert not result.decision.finished


@pytest.mark.parametrize("text", [each for each in SENTENCES if each])
def test_a_trial_is_pruned_the_same_whatever_the_rule_says(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rule_for(*_: object) -> Callable[[Point], str | None]:
        return lambda point: text

    monkeypatch.setattr(loop, "rule_for", rule_for)
    result = _run(tmp_path, "echo loss=1; sleep 600", StopRequest(), lambda update: None)

    def rest(trial: Trial) -> tuple[object, ...]:
        return trial.state, trial.reason, trial.observations["loss"].min

    first, second = result.history.trials
    assert first.message == text
    assert rest(first) == rest(second) == (TrialState.PRUNED, TrialReason.EARLY_STOPPED, 1)
    assert result.interrupted is None
