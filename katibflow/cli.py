"""The command line: ``katibflow run | validate | compile | report``.

Exit status: 0 when the goal was met or the trials or combinations are used up, 1 when the
experiment failed or could not be run, 2 for bad input, 128 + the signal's number when interrupted.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from katibflow import __version__
from katibflow.errors import InputError, KatibflowError

if TYPE_CHECKING:
    from katibflow.engine import Result
    from katibflow.experiment import Experiment
    from katibflow.history import History, Trial
    from katibflow.report import Ending
    from katibflow.runfolder import RunFolder
    from katibflow.runners.base import StopRequest

__all__ = ["BAD_INPUT", "EXPERIMENT_FAILED", "Backend", "Layout", "app", "main"]

EXPERIMENT_FAILED = 1
BAD_INPUT = 2


class Backend(StrEnum):
    """Where trials run."""

    LOCAL = "local"
    KUBERNETES = "kubernetes"


class Layout(StrEnum):
    """How a compiled pipeline runs the trials."""

    ROUNDS = "rounds"
    CONTROLLER = "controller"


app = typer.Typer(
    name="katibflow",
    help="Runs Katib Experiments on this machine, and compiles them to Kubeflow pipelines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ExperimentFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A Katib Experiment (YAML).", show_default=False)
]
ConfigMapFile = Annotated[
    Path | None,
    typer.Option(
        "--config-map",
        metavar="FILE",
        help="The ConfigMap with the trial template, as `kubectl get configmap -o yaml` prints it; "
        "for an Experiment with trialTemplate.configMap.",
    ),
]
RunsFolder = Annotated[Path, typer.Option(help="Folder that holds a folder for each run.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, and all else to standard error.")
]


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Runs Katib Experiments on this machine, and compiles them to Kubeflow pipelines."""


@app.command()
def run(
    file: ExperimentFile,
    name: Annotated[
        str | None, typer.Option(help="Run it under another name than the file's.")
    ] = None,
    runs: RunsFolder = Path("runs"),
    path_map: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="CONTAINER=HERE",
            help="A path inside the trial's image and what stands for it here, as "
            "/opt/pytorch-mnist=trial_image. May be given several times.",
        ),
    ] = None,
    on: Annotated[
        Backend, typer.Option(help="Where trials run: processes here, or jobs in a cluster.")
    ] = Backend.LOCAL,
    namespace: Annotated[
        str | None,
        typer.Option(help="Of the jobs; by default the Experiment's, or else the kubeconfig's."),
    ] = None,
    context: Annotated[
        str | None, typer.Option(help="The kubeconfig's context; by default the current one.")
    ] = None,
    trial_timeout: Annotated[
        float | None,
        typer.Option(min=0.001, help="Seconds a trial may take; no limit by default."),
    ] = None,
    trial_start_timeout: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Seconds within which a trial's replicas must have started and connected; "
            "600 by default.",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="all|RUN",
            help="Begin with the trials of this name's earlier runs in the cluster, of all or of "
            "one (its label katibflow/run).",
        ),
    ] = None,
    drain: Annotated[
        bool, typer.Option(help="Let running trials finish when the experiment is over.")
    ] = False,
    config_map: ConfigMapFile = None,
    as_json: AsJson = False,
) -> None:
    """Run an Experiment, its trials as processes of this machine or as jobs of a cluster.

    A run that was interrupted, or killed, goes on where it was when it is started again.

    Example: katibflow run examples/mnist.yaml --map /opt/pytorch-mnist=trial_image
    """
    from katibflow.algorithms import check_packages
    from katibflow.backends import Options, in_the_cluster, on_this_machine
    from katibflow.board import Board
    from katibflow.engine import run_experiment
    from katibflow.limits import limits_of
    from katibflow.progress import progress_for
    from katibflow.reading import map_in_cluster, map_in_file, read_experiment
    from katibflow.runfolder import RunFolder
    from katibflow.runners.base import StopRequest
    from katibflow.runners.local import RunLock

    if on is Backend.KUBERNETES and config_map is None:
        experiment = read_experiment(file, name, map_in_cluster(context))
    else:
        experiment = read_experiment(file, name, map_in_file(config_map))
    check_packages(experiment.spec.algorithm)
    options = Options(str(file), path_map or [], namespace, context, resume)
    place = (in_the_cluster if on is Backend.KUBERNETES else on_this_machine)(experiment, options)
    limits = limits_of(experiment)
    limits = replace(
        limits, trial=trial_timeout or limits.trial, start=trial_start_timeout or limits.start
    )
    folder = RunFolder(runs / experiment.name)
    stop = StopRequest()
    with RunLock(folder.path), _signals(stop):
        history = folder.begin(str(file), experiment, place.begin)
        runner = place.runner(history, folder.path)
        try:
            history = history.with_trials(runner.records())
            board = Board.of(experiment, history.trials)
            stream = sys.stderr if as_json else sys.stdout
            with progress_for(board, stream) as watch:
                result = run_experiment(
                    history, runner, watch=watch, stop=stop, limits=limits, drain=drain
                )
        finally:
            runner.close()
        folder.save(result.history)
        ending = _ending_of(result)
        _write_report(folder, result.history, ending, folder.report)
    _print_result(folder, result.history, ending, as_json)
    if result.interrupted is not None:
        raise typer.Exit(128 + int(result.interrupted.split()[-1]))
    raise typer.Exit(0 if result.decision.succeeded else EXPERIMENT_FAILED)


@app.command()
def validate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Katib Experiments (YAML).", show_default=False),
    ],
    config_map: ConfigMapFile = None,
    as_json: AsJson = False,
) -> None:
    """Check Experiments, list all that is wrong with them, and note what differs from Katib.

    Example: katibflow validate examples/*.yaml
    """
    from katibflow.errors import InvalidExperiment
    from katibflow.notes import notes_on
    from katibflow.reading import map_in_file, read_experiment

    read = map_in_file(config_map)
    reports: list[dict[str, Any]] = []
    for file in files:
        faults: list[dict[str, str]] = []
        notes: tuple[str, ...] = ()
        try:
            experiment = read_experiment(file, read=read, needs_template=False)
        except InvalidExperiment as error:
            faults = [
                {"path": fault.path, "found": fault.found, "allowed": fault.allowed}
                for fault in error.faults
            ]
            print(error, file=sys.stderr)
        except InputError as error:
            faults = [{"path": "", "found": str(error), "allowed": ""}]
            print(error, file=sys.stderr)
        else:
            if not as_json:
                print(f"{file}: {_summary(experiment)}")
            notes = notes_on(experiment)
            for note in notes:
                print(f"{file}: note: {note}", file=sys.stderr)
        report = {"file": str(file), "valid": not faults, "faults": faults, "notes": notes}
        reports.append(report)
    if as_json:
        print(json.dumps({"files": reports}))
    if not all(report["valid"] for report in reports):
        raise typer.Exit(BAD_INPUT)


@app.command("compile")
def compile_(
    file: ExperimentFile,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The pipeline's file to write.", show_default=False),
    ],
    image: Annotated[
        str | None,
        typer.Option(help="Image with katibflow for all steps, in place of the code in the file."),
    ] = None,
    package: Annotated[
        str | None,
        typer.Option(metavar="katibflow==X", help="Install this release in each step, likewise."),
    ] = None,
    layout: Annotated[
        Layout,
        typer.Option(help="rounds: a step for each trial; controller: one step for all of them."),
    ] = Layout.ROUNDS,
    config_map: ConfigMapFile = None,
) -> None:
    """Compile an Experiment to a pipeline that Kubeflow Pipelines runs.

    Example: katibflow compile examples/mnist.yaml -o compiled/mnist.yaml
    """
    from katibflow.compiler.emit import compile_experiment
    from katibflow.reading import map_in_file, read_experiment
    from katibflow.runners.kubernetes_checkpoints import check_checkpoints

    if image is not None and package is not None:
        raise InputError("--image and --package: found both; allowed: one of them")
    if output.is_dir() or not output.resolve().parent.is_dir():
        what = "a folder" if output.is_dir() else f"no folder {output.parent}"
        raise InputError(f"--output {output}: found {what}; allowed: a file in a folder")
    experiment = read_experiment(file, read=map_in_file(config_map))
    check_checkpoints(experiment, str(file))
    compiled = compile_experiment(experiment, image=image, package=package, layout=layout)
    for warning in compiled.warnings:
        print(f"{file}: {warning}", file=sys.stderr)
    _write(output, compiled.text)
    print(f"{output}: {len(compiled.text.encode()) / 1024:.0f} KB")


@app.command()
def report(
    run_folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run's folder, as runs/mnist.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page; RUN/report.html by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a run, over or not: one HTML page that needs no network.

    Example: katibflow report runs/mnist
    """
    from katibflow.runfolder import RunFolder
    from katibflow.runners.local import LocalRunner

    folder = RunFolder(run_folder)
    if output is not None and (output.is_dir() or not output.resolve().parent.is_dir()):
        raise InputError(f"--output {output}: allowed: a file in a folder")
    history = folder.history(LocalRunner(folder.path, ()).records())
    ending = _ending_on_record(history)
    _write_report(folder, history, ending, output or folder.report)
    _print_result(folder, history, ending, as_json, output)


def main() -> NoReturn:
    """Runs the command line; an error that katibflow raises on purpose is one message."""
    try:
        app(standalone_mode=True)
    except InputError as error:
        _fail(error, BAD_INPUT)
    except KatibflowError as error:
        _fail(error, EXPERIMENT_FAILED)
    sys.exit(0)


def _fail(error: Exception, status: int) -> NoReturn:
    print(error, file=sys.stderr)
    sys.exit(status)


def _summary(experiment: Experiment) -> str:
    spec = experiment.spec
    trials = "without a limit" if spec.max_trial_count is None else f"{spec.max_trial_count} trials"
    return (
        f"valid: {experiment.name}, {len(spec.parameters)} parameters, "
        f"{spec.algorithm.algorithm_name}, {trials}, {spec.parallelism} at a time"
    )


@contextmanager
def _signals(stop: StopRequest) -> Iterator[None]:
    """Turns the signals that end a program into a stop request while the block runs."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set(f"interrupted by signal {number}")

    kept = {
        number: signal.signal(number, handle)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _ending_of(result: Result) -> Ending:
    from katibflow.report import Ending

    decision = result.decision
    if decision.finished:
        return Ending(decision.succeeded, decision.reason, decision.message)
    reason = result.interrupted or ""
    return Ending(None, "Interrupted", f"{reason}; the same command goes on from here")


def _ending_on_record(history: History) -> Ending:
    from katibflow.decision import decide, used_up
    from katibflow.history import TrialState
    from katibflow.report import Ending
    from katibflow.suggest import is_used_up, why_over

    decision = decide(history.experiment, history.trials)
    running = sum(trial.state is TrialState.RUNNING for trial in history.trials)
    if not decision.finished and not running and is_used_up(history):
        decision = used_up(why_over(history.experiment))
    if decision.finished:
        return Ending(decision.succeeded, decision.reason, decision.message)
    return Ending(None, "NotFinished", f"{running} trials are on record as running")


def _write_report(folder: RunFolder, history: History, ending: Ending, path: Path) -> None:
    import os

    from katibflow.errors import RunnerError
    from katibflow.report import render_report, write_report

    start = path.resolve().parent
    logs = {
        number: {
            replica: os.path.relpath((folder.path / place).resolve(), start)
            for replica, place in places.items()
        }
        for number, places in folder.logs().items()
    }
    try:
        write_report(path, render_report(history, ending, logs))
    except OSError as error:
        raise RunnerError(f"{path}: cannot be written: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def _print_result(
    folder: RunFolder, history: History, ending: Ending, as_json: bool, report: Path | None = None
) -> None:
    from katibflow.board import metric_text
    from katibflow.history import best_trial, objective_value

    objective = history.experiment.spec.objective
    best = best_trial(objective, history.trials)
    value = objective_value(objective, best) if best else None
    page = report or folder.report
    if as_json:
        print(json.dumps(_result_data(folder, history, ending, best, value, page)))
        return
    print(f"{ending.reason}: {ending.message}")
    if best is None:
        print("no trial has a finite objective value")
    else:
        name = objective.objective_metric_name
        print(f"best trial: {best.number}, {name}={metric_text(value)}")
        for parameter, text in best.assignments.items():
            print(f"  {parameter}={text}")
    print(f"report: {page}")


def _result_data(
    folder: RunFolder,
    history: History,
    ending: Ending,
    best: Trial | None,
    value: float | None,
    page: Path,
) -> dict[str, Any]:
    counts = Counter(trial.state.value for trial in history.trials)
    return {
        "experiment": history.experiment.name,
        "succeeded": ending.succeeded,
        "reason": ending.reason,
        "message": ending.message,
        "best": None
        if best is None
        else {
            "trial": best.number,
            "objective": value,
            "assignments": dict(best.assignments),
        },
        "trials": dict(sorted(counts.items())),
        "folder": str(folder.path),
        "history": str(folder.study),
        "report": str(page),
    }
