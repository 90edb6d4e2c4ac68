"""``katibflow list | show | best | logs | stop``: runs in Kubeflow Pipelines."""

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
from katibflow.errors import InputError, RunnerError

if TYPE_CHECKING:
    from katibflow.client.reading import Sweep
    from katibflow.client.run_view import Standing
    from katibflow.study.history import History

__all__ = ["best", "list_", "logs", "show", "stop"]

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
    from katibflow.client.reading import latest_sweeps

    access = access_of(host, namespace, context, ca_file)
    pipelines = connect(access)
    cluster = cluster_for(pipelines, access)
    found = []
    for sweep in latest_sweeps(pipelines, limit):
        history = cluster.history(sweep)
        standing = cluster.standing_if_suspect(sweep, history)
        link = link_of(pipelines, sweep.run)
        ending = ending_of(sweep.run, history)
        data = run_data(sweep, sweep.run, history, ending, link, standing)
        found.append((sweep, history, standing, data))
    if as_json:
        print(json.dumps({"runs": [data for *_, data in found]}))
        return
    rows = [_row(sweep, history, standing) for sweep, history, standing, _ in found]
    head = ("NAME", "RUN", "EXPERIMENT", "STATE", "TRIALS", "BEST", "AGE")
    print(*table_lines(head, rows), sep="\n")
    for sweep, _, standing, _ in found:
        if standing is not None and standing.stall is not None:
            print(f"{sweep.run.name}: {standing.message}", file=sys.stderr)


def _row(sweep: Sweep, history: History | None, standing: Standing | None) -> tuple[str, ...]:
    from katibflow.progress.status import Status

    run = sweep.run
    trials = best = ""
    if history is not None:
        status = Status.of(history.experiment, history.trials)
        most = history.experiment.spec.max_trial_count
        trials = f"{status.ended}" if most is None else f"{status.ended}/{most}"
        best = status.best.short
    age = age_text((datetime.now(UTC) - run.created).total_seconds())
    state = "STALLED" if standing is not None and standing.stall is not None else run.state
    return run.name, run.run_id[:8], sweep.experiment.name, state, trials, best, age


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
    pipelines, sweep = found_run(run, access)
    if follow:
        raise follow_to_end(pipelines, sweep, cluster_for(pipelines, access), poll, as_json)
    cluster = cluster_for(pipelines, access)
    history = cluster.history(sweep)
    view = cluster.view(sweep)
    standing = view.standing(sweep.run, history)
    if sweep.run.state != "SUCCEEDED":
        for reason in view.untold():
            print(reason, file=sys.stderr)
    link = link_of(pipelines, sweep.run)
    ending = ending_of(standing.run, history)
    if as_json:
        data = run_data(sweep, standing.run, history, ending, link, standing)
        trials = trials_data(history) if history else None
        print(json.dumps({**data, "history": trials}))
        return
    if history is not None:
        print(*trial_lines(history), sep="\n")
        for line in cluster.failed_steps(standing.run):
            print(line, file=sys.stderr)
    print(f"{ending.reason}: {ending.message}")
    if standing.stall is not None:
        print(standing.message)
    if history is not None:
        print(*best_lines(history), sep="\n")
    print(f"run: {link}")


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
    pipelines, sweep = found_run(run, access)
    history = cluster_for(pipelines, access).history(sweep)
    if history is None:
        raise RunnerError(
            f"{_UNSEEN}; the run's last step, report, has them: {link_of(pipelines, sweep.run)}"
        )
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


_UNSEEN = "Kubeflow Pipelines' API has no trials: they are read from their jobs, by a kubeconfig"


def logs(
    run: RunName,
    trial: Annotated[
        int | None,
        typer.Argument(min=0, help="A trial's number; without it, the pipeline's steps."),
    ] = None,
    host: Host = None,
    namespace: Namespace = None,
    context: Context = None,
    ca_file: CaFile = None,
) -> None:
    """Print what a trial printed, or the pipeline's steps, as long as their pods are there.

    \b
    Examples:
      katibflow logs mnist-20260131-093000 3
      katibflow logs 0a1b2c3d
    """
    from katibflow.client.logs import step_logs, trial_logs
    from katibflow.client.records import JobRecords, cluster_of

    access = access_of(host, namespace, context, ca_file)
    pipelines, sweep = found_run(run, access)
    cluster = cluster_of(access.namespace or pipelines.namespace_of(sweep.run), access.context)
    if trial is None:
        found = step_logs(cluster, sweep.run.run_id)
        what = f"no pod of a step of {sweep.run.name} is left, or has begun"
    else:
        known = {each.number: each for each in JobRecords(cluster, sweep).history().trials}
        if trial not in known:
            numbers = f"0 to {max(known)}" if known else "none yet"
            raise InputError(f"TRIAL: found {trial}; allowed: {numbers}")
        template = sweep.experiment.spec.trial_template
        found = trial_logs(
            cluster, known[trial], template.trial_spec or {}, template.primary_container_name
        )
        state = f"{known[trial].state} {known[trial].reason} {known[trial].message}".rstrip()
        what = f"no pod of trial {trial} is left, or has begun; on record it is {state}"
    printed = False
    for name, lines in found:
        print(f"==> {name} <==")
        for line in lines:
            print(line)
        printed = True
    if not printed:
        raise RunnerError(f"{what}; {link_of(pipelines, sweep.run)} keeps logs as artifacts")


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
    pipelines, sweep = found_run(run, access)
    records = reader = None
    if not sweep.run.is_over:
        cluster = cluster_for(pipelines, access)
        records, reader = cluster.records(sweep), cluster.reader(sweep.run)
    pause = threading.Event()
    stopped = stop_run(pipelines, sweep, records, reader, lambda: pause.wait(_STOP_POLL))
    print(*stopped.lines(), sep="\n")
    if not stopped.is_done:
        raise typer.Exit(EXPERIMENT_FAILED)
