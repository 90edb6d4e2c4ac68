"""The commands ``list``, ``show``, ``best`` and ``stop``, on runs wherever they are."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from katibflow.cli.finding import Poll, RunName, with_where
from katibflow.cli.following import follow_to_end
from katibflow.cli.options import EXPERIMENT_FAILED, AsJson
from katibflow.cli.results import best_lines, terminal_width, trial_lines
from katibflow.cli.tables import age_text, table_lines
from katibflow.errors import KatibflowError, RunnerError
from katibflow.handles.base import Configured, Where
from katibflow.handles.registry import find_run, latest_runs, source_of
from katibflow.printing import say, visible

if TYPE_CHECKING:
    from katibflow.handles.base import Snapshot

__all__ = ["best", "list_", "show", "stop"]

_HEAD = ("NAME", "RUN", "ON", "EXPERIMENT", "STATE", "TRIALS", "BEST", "AGE")


@with_where
def list_(
    where: Where,
    limit: Annotated[
        int, typer.Option(min=1, help="How many of the latest runs are looked at, of each place.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """List the latest runs, the newest first: of this machine, then those elsewhere.

    Kubeflow Pipelines and clusters are asked where an address or a kubeconfig leads to them.

    \b
    Examples:
      katibflow list --limit 5
      katibflow list --on kfp --host http://localhost:8080 --limit 100 --json
    """
    data: list[dict[str, Any]] = []
    failures: list[KatibflowError] = []
    tables = 0
    for source, listed in groupby(latest_runs(where, limit), lambda each: each.source):
        shown: list[Snapshot] = []
        for each in listed:
            found = each.found
            if not isinstance(found, KatibflowError):
                try:
                    shown.append(found.snapshot(brief=True))
                except KatibflowError as error:  # the others of its source are listed all the same
                    say(f"left out, as it cannot be read: {error}", file=sys.stderr)
            elif each.configured is Configured.GIVEN:
                failures.append(found)
            else:
                what = source_of(source).summary
                say(f"runs {what} cannot be listed: {found}", file=sys.stderr)
        data += [run.data() for run in shown]
        if shown and not as_json:
            # Each source's as soon as they are known: another may take long to answer.
            lines = table_lines(_HEAD, [_row(run) for run in shown])
            say(*([""] if tables else []), *lines)
            tables += 1
        for run in shown:
            if run.stall is not None:
                say(f"{run.name}: {run.stall['message']}", file=sys.stderr)
    if as_json:
        print(json.dumps({"runs": data}))
    elif not tables and not failures:
        say(*table_lines(_HEAD, []))
    if failures:
        raise failures[0]


def _row(run: Snapshot) -> tuple[str, ...]:
    from katibflow.progress.status import Status

    trials = best = age = ""
    if run.history is not None:
        progress = Status.of(run.history.experiment, run.history.trials)
        most = run.history.experiment.spec.max_trial_count
        trials = (
            f"{progress.ended}"
            if most is None or progress.ended > most
            else f"{progress.ended}/{most}"
        )
        best = progress.best.short
    if run.created is not None:
        age = age_text((datetime.now(UTC) - run.created).total_seconds())
    state = run.state
    if run.stall is not None:
        state = "GONE" if run.stall.get("workflow_gone") else "STALLED"
    return run.name, run.run_id[:8], run.on, run.experiment, state, trials, best, age


@with_where
def show(
    run: RunName,
    where: Where,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow it to its end, as `submit` does.")
    ] = False,
    poll: Poll = None,
    as_json: AsJson = False,
) -> None:
    """Show a run's trials, and why it ended or how it stands.

    \b
    Examples:
      katibflow show runs/mnist
      katibflow show mnist-20260131-093000
      katibflow show 0a1b2c3d --follow
    """
    from katibflow.study.reasons import ExperimentReason

    found = find_run(run, where)
    if follow:
        raise follow_to_end(found, poll, as_json)
    now = found.snapshot()
    for line in now.problems:
        say(line, file=sys.stderr)
    if as_json:
        print(json.dumps(now.whole_data()))
        return
    if now.history is not None:
        is_stopped = now.ending.reason == ExperimentReason.INTERRUPTED
        say(*trial_lines(now.history, terminal_width(), is_stopped))
    elif now.steps:
        say(*table_lines(("STEP", "STATE", "TIMES"), now.steps))
    say(f"{now.ending.reason}: {now.ending.message}")
    if now.stall is not None:
        say(now.stall["message"])
    if now.history is not None:
        say(*best_lines(now.history))
    say(f"run: {now.link}")


@with_where
def best(run: RunName, where: Where, as_json: AsJson = False) -> None:
    """Print a run's best parameters, one NAME=VALUE a line; exit status 1 if there are none yet.

    Of several objectives it prints the Pareto front.

    \b
    Examples:
      katibflow best runs/mnist
      katibflow best mnist-20260131-093000
      katibflow best 0a1b2c3d --json
    """
    from katibflow.report.data import best_data

    now = find_run(run, where).snapshot(brief=True)
    if now.history is None:
        raise RunnerError(f"{now.name}: {now.unseen}")
    (data,) = best_data(now.history).values()
    if as_json:
        print(json.dumps(data))
    elif isinstance(data, list) and data:
        say(*best_lines(now.history))
    elif data:
        say(*(visible(f"{n}={v}", lines=False) for n, v in data["assignments"].items()))
    if not data:
        say(*best_lines(now.history), file=sys.stderr)
        raise typer.Exit(EXPERIMENT_FAILED)


@with_where
def stop(run: RunName, where: Where, as_json: AsJson = False) -> None:
    """Stop a run and its trials. Stopping a run that is over is no error.

    A run on this machine ends as by Ctrl-C in its own terminal, and can go on later. In Kubeflow
    Pipelines the run is terminated, in Argo stopped, and its exit handler stops the trials' jobs;
    where its engine does not act, the jobs are stopped from here. Of a run of which only the jobs
    are known here, the jobs are stopped, and the program that runs the trials ends. Exit status 1
    if that cannot be done.

    \b
    Examples:
      katibflow stop runs/mnist
      katibflow stop mnist-20260131-093000
      katibflow stop 0a1b2c3d --host http://localhost:8080
    """
    found = find_run(run, where)
    stopped = found.stop()
    if as_json:
        data = {"on": found.on, "run": found.run_id, "name": found.name}
        text = "\n".join(stopped.lines())
        say(json.dumps({**data, "asked": stopped.asked, "done": stopped.is_done, "message": text}))
    else:
        say(*stopped.lines())
    if not stopped.is_done:
        raise typer.Exit(EXPERIMENT_FAILED)
