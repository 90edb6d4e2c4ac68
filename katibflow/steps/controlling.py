"""The step `controller`: runs a whole experiment in one step, a new trial as soon as one ends.

The trials are on record where they run, so a controller that is restarted goes on with them. The
step `finish` stops the trials that a controller leaves behind.
"""

from __future__ import annotations

from collections.abc import Callable
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
from katibflow.study.interruption import taken_up_again
from katibflow.study.objectives import value_text

__all__ = ["controller"]


@exits_with_message
def controller(before_path: str, study: Artifact, logs: Artifact) -> str:
    """Runs the experiment to its end, whatever its trials do, and prints a line for each event.

    Args:
        before_path: The study as the run started with it.
        study: The output for the study with all trials.
        logs: The output folder for the trials' logs, as ``0007.log`` for trial 7.

    Returns:
        Why the experiment ended: Katib's reason and a sentence.
    """
    history = read_study(before_path)
    Path(logs.path).mkdir(parents=True, exist_ok=True)
    runner = runner_for(history)
    try:
        history = history.with_trials(taken_up_again(runner.records()))
        result = run_experiment(
            history,
            LoggedRunner(runner, partial(_log_of, Path(logs.path))),
            watch=_lines(Status.of(history.experiment, history.trials)),
            stop=StopRequest(),
            limits=limits_of(history.experiment),
        )
    finally:
        runner.close()
    write_study(study.path, result.history, before_path)
    study.metadata["display_name"] = "study at the end"
    logs.metadata["display_name"] = "logs of the trials"
    return f"{result.decision.reason}: {result.decision.message}"


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
