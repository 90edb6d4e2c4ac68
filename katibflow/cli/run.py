"""``katibflow run``: runs an Experiment here or in a cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from katibflow.cli.options import (
    EXPERIMENT_FAILED,
    AsJson,
    Backend,
    ConfigMapFile,
    ExperimentFile,
    RunsFolder,
)
from katibflow.cli.results import print_result
from katibflow.engine.signals import caught

__all__ = ["run"]


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
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL|FILE",
            help="Mirror the run, while it goes on, into the study of its name in this Optuna "
            "storage, as sqlite:///studies.db, postgresql://USER@HOST/DATABASE, or a journal's "
            "file; made if it is not there.",
        ),
    ] = None,
    config_map: ConfigMapFile = None,
    as_json: AsJson = False,
) -> None:
    """Run an Experiment, its trials as processes of this machine or as jobs of a cluster.

    A run that was interrupted, or killed, goes on where it was when it is started again.

    \b
    Examples:
      katibflow run examples/mnist.yaml --map /opt/pytorch-mnist=trial_image
      katibflow run examples/mnist.yaml --on kubernetes --namespace kubeflow
      katibflow run examples/mnist.yaml --storage sqlite:///studies.db
    """
    from katibflow.progress.display import progress_for
    from katibflow.runners.backends import Options
    from katibflow.runners.stopping import StopRequest
    from katibflow.runs.running import run_to_end
    from katibflow.validation.reading import map_in_cluster, map_in_file, read_experiment

    if on is Backend.KUBERNETES and config_map is None:
        experiment = read_experiment(file, name, map_in_cluster(context))
    else:
        experiment = read_experiment(file, name, map_in_file(config_map))
    options = Options(
        source=str(file),
        on=on,
        maps=path_map or [],
        namespace=namespace,
        context=context,
        resume=resume,
        trial_timeout=trial_timeout,
        trial_start_timeout=trial_start_timeout,
        drain=drain,
        storage=storage,
    )
    stream = sys.stderr if as_json else sys.stdout
    stop = StopRequest()
    with caught(stop):
        done = run_to_end(
            experiment, runs, options, show=lambda board: progress_for(board, stream), stop=stop
        )
    print_result(done, as_json, done.folder.report)
    if done.interrupted is not None:
        raise typer.Exit(128 + int(done.interrupted.split()[-1]))
    raise typer.Exit(0 if done.ending.succeeded else EXPERIMENT_FAILED)
