"""The `launcher` step: runs one trial's job to its end. A failed trial is data, not an error."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import katibflow
from katibflow.collectors import collector_for
from katibflow.engine.trial import collect, conclude, run_trial
from katibflow.errors import InputError, RunnerError
from katibflow.experiment.timeouts import limits_of
from katibflow.runners.base import Runner
from katibflow.runners.events import Event, LogLine, Notice
from katibflow.runners.log_copies import copied
from katibflow.runners.stopping import StopRequest
from katibflow.steps.files import Artifact, read_study, says_what_is_wrong
from katibflow.steps.messages import read_item
from katibflow.study.files import write_atomically
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.resume import search_text

if TYPE_CHECKING:
    from katibflow.runners.kubernetes.runner import KubernetesRunner

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
def launcher(study_path: str, item: str, log: Artifact) -> str:
    """Runs a trial, follows its job and puts it on record; prints and keeps its output.

    Args:
        study_path: The study before the round.
        item: The trial, as `suggestion` returned it.
        log: Where the output of its primary container goes.

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
            known = _followed(runner, history, trial, Path(log.path))
        else:
            # An earlier try of this step was cut off after it had put the trial on record, and by
            # now the output may be gone with the pods.
            Path(log.path).write_text("(in the log of this step's first try)\n", encoding="utf-8")
    finally:
        runner.close()
    print(f"trial {known.number}: {known.state} {known.reason} {known.message}".rstrip())
    return f"{known.number} {known.state} {known.reason}"


def _followed(runner: Runner, history: History, trial: Trial, path: Path) -> Trial:
    """Runs the trial's job; keeps its output in a file, and the finished trial on record."""
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
            StopRequest(),
            limits_of(experiment),
            earlier=history.trials,
        )
    finished = conclude(experiment, trial, outcome, metrics)
    runner.record(finished)
    return finished


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
        from katibflow.runners.local.runner import LocalRunner, parse_map
    except ModuleNotFoundError as error:  # the packed library is for clusters
        raise RunnerError(
            "trials on this machine need katibflow in the steps' Python: "
            f"pip install katibflow=={katibflow.__version__}"
        ) from error

    maps = os.environ.get("KATIBFLOW_MAPS") or ""
    folder = run_folder(history.experiment.name, history.run)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / SEARCH_FILE).exists():
        write_atomically(folder / SEARCH_FILE, search_text(history.experiment))
    return LocalRunner(folder, tuple(parse_map(text) for text in maps.split(os.pathsep) if text))


def kubernetes_runner(history: History) -> KubernetesRunner:
    """The runner of this run's trials in the cluster.

    Raises:
        RunnerError: There is no cluster to be reached from here.
    """
    from katibflow.runners.kubernetes.runner import KubernetesRunner, connect

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
