"""The step `launcher`: runs one trial's job to its end. A failed trial does not fail the step."""

from __future__ import annotations

from pathlib import Path

from katibflow.collectors import collector_for
from katibflow.engine.trial import collect, conclude, run_trial
from katibflow.experiment.timeouts import limits_of
from katibflow.runners.base import Runner
from katibflow.runners.events import Event, LogLine, Notice
from katibflow.runners.log_copies import copied
from katibflow.runners.stopping import StopRequest
from katibflow.steps.backends import runner_for
from katibflow.steps.files import Artifact, exits_with_message, read_study
from katibflow.steps.messages import read_item
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.interruption import interrupted

__all__ = ["launcher"]


@exits_with_message
def launcher(study_path: str, item: str, log: Artifact, stop: StopRequest | None = None) -> str:
    """Runs a trial, follows its job, puts it on record, and prints and stores its output.

    A request to stop ends the trial, which is then on record as interrupted.

    Args:
        study_path: The study before the round.
        item: The trial, as `suggestion` returned it.
        log: The output for the log of the trial's primary container.
        stop: Ends the trial early when set.

    Returns:
        The trial's number, state and reason.
    """
    history = read_study(study_path)
    trial = read_item(item, history)
    log.metadata["display_name"] = f"log of trial {trial.number}, round {history.rounds + 1}"
    runner = runner_for(history)
    try:
        known = next((each for each in runner.records() if each.number == trial.number), trial)
        if known.state in (TrialState.RUNNING, TrialState.KILLED):
            known = _followed(runner, history, trial, Path(log.path), stop or StopRequest())
        else:
            # An earlier attempt of this step ended after it had put the trial on record, and the
            # trial's pods may be gone, and their output with them.
            Path(log.path).write_text("(in the log of this step's first try)\n", encoding="utf-8")
    finally:
        runner.close()
    print(f"trial {known.number}: {known.state} {known.reason} {known.message}".rstrip())
    return f"{known.number} {known.state} {known.reason}"


def _followed(
    runner: Runner, history: History, trial: Trial, path: Path, stop: StopRequest
) -> Trial:
    """Runs the trial's job, writes its output to a file, and puts the finished trial on record."""
    experiment = history.experiment
    metrics = collector_for(experiment.spec)

    def observe(event: Event) -> None:
        collect(metrics, event)
        if isinstance(event, LogLine):
            print(event.text, flush=True)
        elif isinstance(event, Notice):
            print(f"katibflow: {event.text}", flush=True)

    with copied({LogLine: path}, observe) as keep:
        outcome = run_trial(
            runner,
            experiment,
            trial,
            keep,
            stop,
            limits_of(experiment),
            earlier=history.trials,
        )
    finished = conclude(experiment, trial, outcome, metrics)
    if stop.reason is not None and finished.state is TrialState.KILLED:
        finished = interrupted(finished, stop.reason.text)
    runner.record(finished)
    return finished
