"""Options and output that the commands on runs in Kubeflow Pipelines share."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from katibflow.cli.options import EXPERIMENT_FAILED, interrupted
from katibflow.cli.results import best_lines
from katibflow.engine.signals import caught
from katibflow.errors import KatibflowError, RunnerError

if TYPE_CHECKING:
    from katibflow.client.access import Access
    from katibflow.client.base import Pipelines, Run
    from katibflow.client.cluster import Cluster
    from katibflow.client.reading import ExperimentRun
    from katibflow.client.run_view import RunStatus
    from katibflow.study.ending import Ending
    from katibflow.study.history import History

__all__ = [
    "CaFile",
    "Context",
    "Host",
    "Namespace",
    "Poll",
    "RunName",
    "access_of",
    "cluster_for",
    "follow_to_end",
    "found_run",
    "link_of",
    "print_unavailable",
    "run_data",
]

Host = Annotated[
    str | None,
    typer.Option(
        help="Address of Kubeflow Pipelines, as http://localhost:8080; by default "
        "KF_PIPELINES_ENDPOINT, the cluster that this runs in, or the kubeconfig's.",
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(help="Of the runs and their jobs; needed where users have their own."),
]
Context = Annotated[
    str | None,
    typer.Option(
        help="The kubeconfig's context, for the trials' jobs; by default the current one."
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Certificates (PEM) to trust in place of the usual ones."),
]
Poll = Annotated[
    float, typer.Option(min=0.05, help="Seconds between two looks at a run that is followed.")
]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id, its first letters, or its name; RUN/NAME for one of several.",
        show_default=False,
    ),
]


def access_of(
    host: str | None, namespace: str | None, context: str | None, ca_file: Path | None
) -> Access:
    """Returns the options as an `Access`; raises what `client.cluster.access_of` raises."""
    from katibflow.client import cluster

    return cluster.access_of(host, namespace, context, ca_file)


def found_run(run: str, access: Access) -> tuple[Pipelines, ExperimentRun]:
    """Connects and returns the installation and the run; raises what `find_experiment_run` does."""
    from katibflow.client.api import connect
    from katibflow.client.reading import find_experiment_run

    pipelines = connect(access)
    return pipelines, find_experiment_run(pipelines, run)


def cluster_for(pipelines: Pipelines, access: Access) -> Cluster:
    """Returns the cluster of the runs, which prints once why it cannot be read."""
    from katibflow.client.cluster import Cluster

    return Cluster(pipelines, access, print_unavailable)


def print_unavailable(error: KatibflowError) -> None:
    """Prints why the trials' jobs cannot be read; what else it says is for who runs trials."""
    why = str(error).partition("\n")[0]
    print(f"the trials' jobs cannot be seen from here: {why}", file=sys.stderr)


def link_of(pipelines: Pipelines, run: Run) -> str:
    """Returns the address of a run's page in the UI, or its id if the address is not known."""
    from katibflow.client import reading

    return reading.link_of(pipelines, run)


def follow_to_end(
    pipelines: Pipelines,
    experiment_run: ExperimentRun,
    cluster: Cluster,
    poll: float,
    as_json: bool,
) -> typer.Exit:
    """Shows a run until it is over, prints how it ended, and returns the exit status.

    A signal ends the command, not the run.
    """
    from katibflow.client.following import ending_of
    from katibflow.client.watching import watch
    from katibflow.runners.stopping import StopRequest

    stop, stopped = StopRequest(), threading.Event()
    stop.subscribe(stopped.set)
    run, link = experiment_run.run, link_of(pipelines, experiment_run.run)
    how = (
        f"the run goes on: {link}\n"
        f"  katibflow show {run.run_id} --follow\n"
        f"  katibflow stop {run.run_id}"
    )
    try:
        with caught(stop):
            run, history = watch(
                pipelines,
                experiment_run,
                cluster.records(experiment_run),
                cluster.view(experiment_run),
                lambda: stopped.wait(poll),
                lambda: sys.stderr if as_json else sys.stdout,
            )
    except RunnerError as error:
        raise RunnerError(f"{error}\n{how}") from error
    if stop.reason is not None and not run.is_over:
        print(how, file=sys.stderr)
        return interrupted(stop.reason)
    history = cluster.history_at_end(experiment_run, run, history)
    ending = ending_of(run, history, experiment_run.fault)
    for line in cluster.failed_steps(run, experiment_run.fault):
        print(line, file=sys.stderr)
    if as_json:
        import json

        print(json.dumps(run_data(experiment_run, run, history, ending, link)))
    else:
        print(f"{ending.reason}: {ending.message}")
        if history is not None:
            print(*best_lines(history), sep="\n")
        print(f"run: {link}")
    return typer.Exit(0 if ending.succeeded else EXPERIMENT_FAILED)


def run_data(
    experiment_run: ExperimentRun,
    run: Run,
    history: History | None,
    ending: Ending,
    link: str,
    status: RunStatus | None = None,
) -> dict[str, Any]:
    """Returns a run as JSON data; ``best`` and ``trials`` are null where they cannot be read.

    With several objectives ``front`` replaces ``best``; ``stall`` is null without a stall.
    """
    from collections import Counter

    from katibflow.client.stalls import stall_data
    from katibflow.report.data import best_data

    counts = Counter(trial.state.value for trial in history.trials) if history else {}
    return {
        "experiment": experiment_run.experiment.name,
        "run": run.run_id,
        "name": run.name,
        "state": run.state,
        "created": run.created.isoformat(),
        "succeeded": ending.succeeded,
        "reason": ending.reason,
        "message": ending.message,
        **(best_data(history) if history is not None else {"best": None}),
        "trials": dict(sorted(counts.items())) if history is not None else None,
        "stall": stall_data(status.stall, status.message) if status is not None else None,
        "link": link,
    }
