"""The `launcher` step: runs one trial's job to its end. A failed trial is data, not an error."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import katibflow
from katibflow.collectors import collector_for
from katibflow.errors import InputError, RunnerError
from katibflow.history import History, Trial, TrialState
from katibflow.limits import limits_of
from katibflow.resume import search_text
from katibflow.runners.base import Event, LogLine, Notice, Runner, StopRequest
from katibflow.steps.files import read_study, says_what_is_wrong
from katibflow.steps.messages import Outcome, outcome_text, read_item
from katibflow.steps.transcript import record_text, transcribed
from katibflow.trials import collect, conclude, run_trial

if TYPE_CHECKING:
    from katibflow.runners.kubernetes import KubernetesRunner

__all__ = [
    "RUNNERS",
    "SEARCH_FILE",
    "kubernetes_runner",
    "launcher",
    "run_folder",
    "runner_for",
    "runner_name",
]

SEARCH_FILE = "search.json"
"""What a local run searches (`resume.search_text`), in its folder."""


@says_what_is_wrong
def launcher(study_path: str, item: str, log_path: str) -> tuple[str, dict[str, Any]]:
    """Runs a trial and follows its job; prints and keeps its primary container's output.

    Args:
        study_path: The study before the round.
        item: The trial, as `suggestion` returned it.
        log_path: Where the output goes, and what was read beside it (`transcript`), or the finished
            trial where an earlier try of this step has put it on record.

    Returns:
        How it ended (`messages.outcome_text`), and what the log's artifact says of itself:
        ``trial`` and ``display_name``.
    """
    history = read_study(study_path)
    trial = read_item(item, history)
    metadata = {
        "trial": trial.number,
        "display_name": f"log of trial {trial.number}, round {history.rounds + 1}",
    }
    runner = runner_for(history)
    try:
        known = next((each for each in runner.records() if each.number == trial.number), trial)
        if known.state in (TrialState.RUNNING, TrialState.KILLED):
            outcome = _followed(runner, history, trial, Path(log_path))
        else:
            # An earlier try of this step was cut off after it had put the trial on record, and by
            # now the output may be gone with the pods.
            text = record_text(known)
            Path(log_path).write_text(text, encoding="utf-8", errors="replace")
            _tell(known)
            outcome = Outcome(trial)
    finally:
        runner.close()
    return outcome_text(outcome), metadata


def _followed(runner: Runner, history: History, trial: Trial, path: Path) -> Outcome:
    """Runs the trial's job; keeps what it tells in a file, and the finished trial on record."""
    experiment = history.experiment
    metrics = collector_for(experiment.spec)
    with path.open("w", encoding="utf-8", errors="replace") as log:

        def observe(event: Event) -> None:
            line = transcribed(event, metrics.reads_output)
            if line is not None:
                log.write(line + "\n")
            collect(metrics, event)
            if isinstance(event, LogLine):
                print(event.text, flush=True)
            elif isinstance(event, Notice):
                print(f"katibflow: {event.text}", flush=True)

        job = run_trial(
            runner,
            experiment,
            trial,
            observe,
            StopRequest(),
            limits_of(experiment),
            earlier=history.trials,
        )
    finished = conclude(experiment, trial, job, metrics)
    runner.record(finished)
    _tell(finished)
    return Outcome(trial, job, finished.end)


def _tell(trial: Trial) -> None:
    print(f"trial {trial.number}: {trial.state} {trial.reason} {trial.message}".rstrip())


def runner_for(history: History) -> Runner:
    """The runner of this run's trials.

    Raises:
        InputError: ``KATIBFLOW_RUNNER`` names no runner.
        RunnerError: That runner cannot be used here.
    """
    return RUNNERS[runner_name()](history)


def runner_name() -> str:
    """The runner that ``KATIBFLOW_RUNNER`` names; by default Kubernetes in a cluster, else local.

    Raises:
        InputError: It names none.
    """
    inside = "KUBERNETES_SERVICE_HOST" in os.environ
    name = os.environ.get("KATIBFLOW_RUNNER") or ("kubernetes" if inside else "local")
    if name not in RUNNERS:
        raise InputError(f'KATIBFLOW_RUNNER: found "{name}"; allowed: {", ".join(sorted(RUNNERS))}')
    return name


def run_folder(experiment: str, run: str) -> Path:
    """Where a pipeline run's local trials are kept: a folder of its own for every run."""
    return Path(os.environ.get("KATIBFLOW_RUNS") or "runs").absolute() / f"{experiment}-{run}"


def _local(history: History) -> Runner:
    try:
        from katibflow.runners.local import LocalRunner, parse_map
    except ModuleNotFoundError as error:  # the packed library is for clusters
        raise RunnerError(
            "trials on this machine need katibflow in the steps' Python: "
            f"pip install katibflow=={katibflow.__version__}"
        ) from error

    maps = os.environ.get("KATIBFLOW_MAPS") or ""
    folder = run_folder(history.experiment.name, history.run)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / SEARCH_FILE).exists():
        draft = folder / f"{SEARCH_FILE}.{os.getpid()}"
        draft.write_text(search_text(history.experiment), encoding="utf-8")
        draft.replace(folder / SEARCH_FILE)
    return LocalRunner(folder, tuple(parse_map(text) for text in maps.split(os.pathsep) if text))


def kubernetes_runner(history: History) -> KubernetesRunner:
    """The runner of this run's trials in the cluster.

    Raises:
        RunnerError: There is no cluster to be reached from here.
    """
    from katibflow.runners.kubernetes import KubernetesRunner, connect

    return KubernetesRunner(
        connect(),
        experiment=history.experiment.name,
        run=history.run,
        template=history.experiment.spec.trial_template,
        search=search_text(history.experiment),
    )


RUNNERS: Mapping[str, Callable[[History], Runner]] = {
    "kubernetes": kubernetes_runner,
    "local": _local,
}
"""Runner by the name that ``KATIBFLOW_RUNNER`` gives it."""
