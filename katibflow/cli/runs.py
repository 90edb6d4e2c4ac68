"""The commands ``list``, ``show``, ``best`` and ``stop``: runs in Kubeflow Pipelines."""

from __future__ import annotations

import json
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from katibflow.cli.kubeflow import (
    CaFile,
    Context,
    Host,
    Namespace,
    Poll,
    RunName,
    access_of,
    cluster_for,
    follow_to_end,
    found_run,
    link_of,
    run_data,
)
from katibflow.cli.options import EXPERIMENT_FAILED, AsJson
from katibflow.cli.results import best_lines, trial_lines
from katibflow.cli.tables import age_text, table_lines
from katibflow.errors import RunnerError

if TYPE_CHECKING:
    from katibflow.client.base import Run
    from katibflow.client.reading import ExperimentRun
    from katibflow.client.run_view import RunStatus
    from katibflow.study.history import History

__all__ = ["best", "list_", "show", "stop"]

_STOP_POLL = 2.0  # seconds


def list_(
    host: Host = None,
    namespace: Namespace = None,
    context: Context = None,
    ca_file: CaFile = None,
    limit: Annotated[
        int, typer.Option(min=1, help="How many of the latest runs are looked at.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """List the latest runs of Experiments in Kubeflow Pipelines, the newest first.

    \b
    Examples:
      katibflow list --host http://localhost:8080
      katibflow list --limit 100 --json
    """
    from katibflow.client.api import connect
    from katibflow.client.following import ending_of
    from katibflow.client.reading import latest_experiment_runs

    access = access_of(host, namespace, context, ca_file)
    pipelines = connect(access)
    cluster = cluster_for(pipelines, access)
    found = []
    missing: list[None] = []
    for experiment_run in latest_experiment_runs(pipelines, limit):
        history = cluster.history(experiment_run, lambda: missing.append(None))
        status = cluster.status_if_overdue(experiment_run, history)
        link = link_of(pipelines, experiment_run.run)
        ending = ending_of(experiment_run.run, history, experiment_run.fault)
        data = run_data(experiment_run, experiment_run.run, history, ending, link, status)
        found.append((experiment_run, history, status, data))
    if as_json:
        print(json.dumps({"runs": [data for *_, data in found]}))
        return
    rows = [_row(experiment_run, history, status) for experiment_run, history, status, _ in found]
    head = ("NAME", "RUN", "EXPERIMENT", "STATE", "TRIALS", "BEST", "AGE")
    print(*table_lines(head, rows), sep="\n")
    for experiment_run, _, status, _ in found:
        if status is not None and status.stall is not None:
            print(f"{experiment_run.run.name}: {status.message}", file=sys.stderr)
    if missing:
        print(
            f"runs that succeeded and have no jobs in this cluster: {len(missing)}; their jobs "
            "were deleted, or are elsewhere (--context, --namespace)",
            file=sys.stderr,
        )


def _row(
    experiment_run: ExperimentRun, history: History | None, status: RunStatus | None
) -> tuple[str, ...]:
    from katibflow.progress.status import Status

    run = experiment_run.run
    trials = best = ""
    if history is not None:
        progress = Status.of(history.experiment, history.trials)
        most = history.experiment.spec.max_trial_count
        trials = f"{progress.ended}" if most is None else f"{progress.ended}/{most}"
        best = progress.best.short
    age = age_text((datetime.now(UTC) - run.created).total_seconds())
    state = run.state
    if status is not None and status.stall is not None:
        state = "GONE" if status.stall.is_gone else "STALLED"
    return run.name, run.run_id[:8], experiment_run.experiment.name, state, trials, best, age


def show(
    run: RunName,
    host: Host = None,
    namespace: Namespace = None,
    context: Context = None,
    ca_file: CaFile = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow it to its end, as `submit` does.")
    ] = False,
    poll: Poll = 5.0,
    as_json: AsJson = False,
) -> None:
    """Show a run's trials, and why it ended or how it stands.

    \b
    Examples:
      katibflow show mnist-20260131-093000
      katibflow show 0a1b2c3d --follow
    """
    from katibflow.client.following import ending_of
    from katibflow.report.data import trials_data

    access = access_of(host, namespace, context, ca_file)
    pipelines, experiment_run = found_run(run, access)
    if follow:
        raise follow_to_end(
            pipelines, experiment_run, cluster_for(pipelines, access), poll, as_json
        )
    cluster = cluster_for(pipelines, access)
    history = cluster.history_at_end(
        experiment_run, experiment_run.run, cluster.history(experiment_run)
    )
    view = cluster.view(experiment_run)
    status = view.status(experiment_run.run, history)
    if experiment_run.run.state != "SUCCEEDED":
        for reason in view.new_problems():
            print(reason, file=sys.stderr)
    link = link_of(pipelines, experiment_run.run)
    ending = ending_of(status.run, history, experiment_run.fault)
    if as_json:
        data = run_data(experiment_run, status.run, history, ending, link, status)
        trials = trials_data(history) if history else None
        print(json.dumps({**data, "history": trials}))
        return
    if history is not None:
        print(*trial_lines(history), sep="\n")
    else:
        print(*_step_lines(status.run), sep="\n")
    for line in (
        cluster.failed_steps(status.run, experiment_run.fault)
        if status.run.is_over
        else ([] if history is not None else cluster.lines_of("controller", status.run))
    ):
        print(line, file=sys.stderr)
    print(f"{ending.reason}: {ending.message}")
    if status.stall is not None:
        print(status.message)
    if history is not None:
        print(*best_lines(history), sep="\n")
    print(f"run: {link}")


def _step_lines(run: Run) -> list[str]:
    """Returns the lines of the table of a run's steps: how often each is in which state."""
    from collections import Counter

    from katibflow.client.tasks import DRIVER, PASSED, is_frame

    steps = [
        each
        for each in run.steps
        if not (is_frame(each.name) or (each.name.endswith(DRIVER) and each.state in PASSED))
    ]
    counts = Counter((each.name, each.state) for each in steps)
    rows = [(name, state, str(count)) for (name, state), count in counts.items()]
    return table_lines(("STEP", "STATE", "TIMES"), rows) if rows else ["no step has begun"]


def best(
    run: RunName,
    host: Host = None,
    namespace: Namespace = None,
    context: Context = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Print a run's best parameters, one NAME=VALUE a line; exit status 1 if there are none yet.

    Of several objectives it prints the Pareto front.

    \b
    Examples:
      katibflow best mnist-20260131-093000
      katibflow best 0a1b2c3d --json
    """
    from katibflow.report.data import best_data

    access = access_of(host, namespace, context, ca_file)
    pipelines, experiment_run = found_run(run, access)
    cluster = cluster_for(pipelines, access)
    history = cluster.history_at_end(
        experiment_run, experiment_run.run, cluster.history(experiment_run)
    )
    if history is None:
        link = link_of(pipelines, experiment_run.run)
        raise RunnerError(f"{_UNSEEN}: {link}")
    (data,) = best_data(history).values()
    if as_json:
        print(json.dumps(data))
    elif isinstance(data, list) and data:
        print(*best_lines(history), sep="\n")
    elif data:
        print(*(f"{name}={value}" for name, value in data["assignments"].items()), sep="\n")
    if not data:
        print(*best_lines(history), sep="\n", file=sys.stderr)
        raise typer.Exit(EXPERIMENT_FAILED)


_UNSEEN = (
    "no trials can be read: their jobs are read by a kubeconfig, and Kubeflow Pipelines' API has "
    "trials once a round, or the run, is over"
)


def stop(
    run: RunName,
    host: Host = None,
    namespace: Namespace = None,
    context: Context = None,
    ca_file: CaFile = None,
) -> None:
    """Stop a run: its pipeline is terminated, and its exit handler stops the trials' jobs.

    Of a run whose steps have not changed for long, or whose Workflow is full, it is seen whether
    the engine acts; if not, the jobs are stopped from here. Exit status 1 if that cannot be done.

    \b
    Examples:
      katibflow stop mnist-20260131-093000
      katibflow stop 0a1b2c3d --host http://localhost:8080
    """
    from katibflow.client.stopping import stop_run

    access = access_of(host, namespace, context, ca_file)
    pipelines, experiment_run = found_run(run, access)
    records = reader = None
    if not experiment_run.run.is_over:
        cluster = cluster_for(pipelines, access)
        records, reader = cluster.records(experiment_run), cluster.reader(experiment_run.run)
    pause = threading.Event()
    stopped = stop_run(pipelines, experiment_run, records, reader, lambda: pause.wait(_STOP_POLL))
    print(*stopped.lines(), sep="\n")
    if not stopped.is_done:
        raise typer.Exit(EXPERIMENT_FAILED)
