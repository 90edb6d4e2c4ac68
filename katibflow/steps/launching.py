"""The `launcher` step: runs one trial's job to its end. A failed trial is data, not an error."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import katibflow
from katibflow.collectors import collector_for
from katibflow.errors import InputError, RunnerError
from katibflow.history import History, Trial, TrialState
from katibflow.limits import limits_of
from katibflow.resume import search_text
from katibflow.runners.base import Event, JobOutcome, LogLine, Notice, Runner, StopRequest
from katibflow.steps.files import read_study, says_what_is_wrong
from katibflow.steps.transcript import record_text, transcribed
from katibflow.trials import collect, conclude, run_trial

if TYPE_CHECKING:
    from katibflow.runners.kubernetes import KubernetesRunner

__all__ = [
    "LIBRARY_COPY",
    "RUNNERS",
    "SEARCH_FILE",
    "include_installed",
    "kubernetes_runner",
    "launcher",
    "run_folder",
    "runner_for",
    "runner_name",
]

LIBRARY_COPY = "library.zip"
"""The library's copy in a local run folder, for `finish`, which is handed nothing."""

SEARCH_FILE = "search.json"
"""What a local run searches (`resume.search_text`), in its folder."""

_MESSAGE_LENGTH = 500


@says_what_is_wrong
def launcher(batch_path: str, item: str, log_path: str) -> tuple[str, dict[str, Any]]:
    """Runs a trial and follows its job; prints and keeps its primary container's output.

    Args:
        batch_path: The study with the trial in it, running.
        item: The trial as `suggestion` returned it.
        log_path: Where the output goes, and what was read beside it (`transcript`).

    Returns:
        The outcome as JSON (``trial``: the number, ``state`` of the job, ``reason``, ``message`` of
        at most 500 characters, the trial's ``start`` and ``end``; or ``recorded`` when the file
        holds the finished trial), and what the log's artifact says of itself: ``trial``, ``round``
        and ``display_name``.
    """
    history = read_study(batch_path)
    number = json.loads(item)["number"]
    trial = next(trial for trial in history.trials if trial.number == number)
    metadata = {
        "trial": number,
        "round": history.rounds + 1,
        "display_name": f"log of trial {number}, round {history.rounds + 1}",
    }
    runner = runner_for(history)
    try:
        known = next((each for each in runner.records() if each.number == number), trial)
        if known.state in (TrialState.RUNNING, TrialState.KILLED):
            return _told(*_followed(runner, history, trial, Path(log_path))), metadata
    finally:
        runner.close()
    # An earlier try of this step was cut off after it had put the trial on record, and by now the
    # output may be gone with the pods.
    Path(log_path).write_text(record_text(known), encoding="utf-8", errors="replace")
    return _told(known, None), metadata


def _followed(
    runner: Runner, history: History, trial: Trial, path: Path
) -> tuple[Trial, JobOutcome]:
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

        outcome = run_trial(
            runner,
            experiment,
            trial,
            observe,
            StopRequest(),
            limits_of(experiment),
            earlier=[other for other in history.trials if other.number != trial.number],
        )
    finished = conclude(experiment, trial, outcome, metrics)
    runner.record(finished)
    return finished, outcome


def _told(trial: Trial, outcome: JobOutcome | None) -> str:
    """The outcome as `collector` reads it; without one, the trial is in the file."""
    print(f"trial {trial.number}: {trial.state} {trial.reason} {trial.message}".rstrip())
    data: dict[str, Any] = {"trial": trial.number}
    if outcome is None:
        data["recorded"] = True
    else:
        data["state"] = outcome.state.value
        data["reason"] = outcome.reason
        data["message"] = _shortened(outcome.message)
        data["start"] = trial.start
        data["end"] = trial.end
    return json.dumps(data, ensure_ascii=False)


def _shortened(text: str) -> str:
    """The text without its middle; the start says what happened, the end how."""
    if len(text) <= _MESSAGE_LENGTH:
        return text
    part = (_MESSAGE_LENGTH - 5) // 2
    return f"{text[:part]} ... {text[-part:]}"


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
    include_installed()
    from katibflow.runners.local import LocalRunner, parse_map

    maps = os.environ.get("KATIBFLOW_MAPS") or ""
    folder = run_folder(history.experiment.name, history.run)
    folder.mkdir(parents=True, exist_ok=True)
    _keep_library(folder)
    if not (folder / SEARCH_FILE).exists():
        draft = folder / f"{SEARCH_FILE}.{os.getpid()}"
        draft.write_text(search_text(history.experiment), encoding="utf-8")
        draft.replace(folder / SEARCH_FILE)
    return LocalRunner(folder, tuple(parse_map(text) for text in maps.split(os.pathsep) if text))


def include_installed() -> None:
    """Lets the packed library import what only the installed one has: the local runner.

    Raises:
        RunnerError: katibflow is not installed, or in another version.
    """
    archive = getattr(katibflow.__loader__, "archive", None)
    if archive is None:
        return
    elsewhere = [entry for entry in sys.path if entry != archive]
    specs = (finder.find_spec("katibflow", elsewhere) for finder in sys.meta_path)
    origin = next((spec.origin for spec in specs if spec and spec.origin), None)
    wanted = f"pip install katibflow=={katibflow.__version__}"
    if origin is None:
        raise RunnerError(f"trials on this machine need katibflow in the steps' Python: {wanted}")
    folder = Path(origin).parent
    if f'"{katibflow.__version__}"' not in (folder / "__init__.py").read_text(encoding="utf-8"):
        raise RunnerError(f"{folder} is another version than the compiled pipeline's: {wanted}")
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == katibflow.__name__ and hasattr(module, "__path__"):
            place = str(folder.joinpath(*name.split(".")[1:]))
            if place not in module.__path__:
                module.__path__.append(place)


def _keep_library(folder: Path) -> None:
    archive = getattr(katibflow.__loader__, "archive", None)
    copy = folder / LIBRARY_COPY
    if archive is None or copy.exists():
        return
    draft = folder / f"{LIBRARY_COPY}.{os.getpid()}"
    shutil.copyfile(archive, draft)
    draft.replace(copy)


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
