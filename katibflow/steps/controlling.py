"""The step `controller`: runs a whole experiment in one step, a new trial as soon as one ends.

The trials are on record where they run, so a controller that is restarted goes on with them, and
takes up again those that `finish` had to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from katibflow.engine.events import MetricReported, Update
from katibflow.engine.loop import run_experiment
from katibflow.experiment.timeouts import limits_of
from katibflow.progress.status import Status, describe
from katibflow.runners.base import TrialJob
from katibflow.runners.events import LogLine
from katibflow.runners.log_copies import LoggedRunner, Logs
from katibflow.runners.stopping import StopRequest
from katibflow.steps.backends import runner_for
from katibflow.steps.files import Artifact, exits_with_message, read_study, write_study
from katibflow.steps.stopping import write_left_logs
from katibflow.study.history import History, Trial
from katibflow.study.interruption import taken_up_again
from katibflow.study.objectives import value_text
from katibflow.study.reasons import ExperimentReason

__all__ = ["controller"]


@exits_with_message
def controller(
    before_path: str, study: Artifact, logs: Artifact, stop: StopRequest | None = None
) -> str:
    """Runs the experiment to its end, whatever its trials do, and prints a line for each event.

    A request to stop ends the trials, which are then on record as interrupted.

    Args:
        before_path: The study as the run started with it.
        study: The output for the study with all trials.
        logs: The output folder for the trials' logs, as ``0007.log`` for trial 7.
        stop: Ends the experiment early when set.

    Returns:
        Why the experiment ended: Katib's reason and a sentence.
    """
    history = read_study(before_path)
    Path(logs.path).mkdir(parents=True, exist_ok=True)
    runner = runner_for(history)
    try:
        known = taken_up_again(runner.records())
        _earlier_logs(history, known, Path(logs.path))
        history = history.with_trials(known)
        result = run_experiment(
            history,
            LoggedRunner(runner, partial(_log_of, Path(logs.path))),
            watch=_lines(Status.of(history.experiment, history.trials)),
            stop=stop or StopRequest(),
            limits=limits_of(history.experiment),
            records_interrupted=True,
        )
    finally:
        runner.close()
    write_study(study.path, result.history, before_path)
    study.metadata["display_name"] = "study at the end"
    logs.metadata["display_name"] = "logs of the trials"
    if result.interrupted is not None:
        return f"{ExperimentReason.PIPELINE_RUN_STOPPED}: {result.interrupted.text}"
    return f"{result.decision.reason}: {result.decision.message}"


def _earlier_logs(history: History, known: Iterable[Trial], folder: Path) -> None:
    """Writes the logs of the trials that ended in an earlier try of the step, if their pods stay.

    Where the pods went, a file says so.
    """
    ended = {f"{trial.number:04}" for trial in known if trial.state.is_finished}
    if not ended:
        return
    experiment = history.experiment
    write_left_logs(folder, experiment.name, history.run, experiment.spec.trial_template)
    written = [*folder.iterdir()]
    for path in written:
        if path.name[:4] not in ended:
            path.unlink()  # the trial is followed from here on, and its log with it
    for number in ended - {path.name[:4] for path in written}:
        (folder / f"{number}.log").write_text(
            "(this trial had ended in an earlier try of this step, and its log went with that; "
            "retain: true in the trialTemplate keeps the trials' pods)\n",
            encoding="utf-8",
        )


def _log_of(folder: Path, job: TrialJob) -> Logs:
    return {LogLine: folder / f"{job.trial.number:04}.log"}


def _lines(status: Status) -> Callable[[Update], None]:
    """Returns a watcher that prints a line for each event and each metric."""

    def tell(update: Update) -> None:
        nonlocal status
        status = status.after(update)
        if isinstance(update, MetricReported):
            value = value_text(update.point.value)
            text: str | None = f"trial {update.number}: {update.metric}={value}"
        else:
            text = describe(status, update)
        if text is not None:
            print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}", flush=True)

    return tell
