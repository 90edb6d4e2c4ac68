"""The command ``logs``: what a trial, or the pipeline's steps, printed."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
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
    found_run,
    link_of,
)
from katibflow.errors import InputError, RunnerError

if TYPE_CHECKING:
    from katibflow.client.base import Pipelines
    from katibflow.client.records import JobRecords
    from katibflow.study.history import Trial

__all__ = ["logs"]

Lines = Iterator[tuple[str, str]] | Iterator[tuple[str, str | None]]
"""The names of logs, each with a line; None at a log's beginning."""


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
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the trial, or the run, is over.")
    ] = False,
    poll: Poll = 5.0,
) -> None:
    """Print what a trial printed, or the pipeline's steps, as long as their pods are there.

    Of a step's log, the lines of Kubeflow Pipelines' launcher and of Argo are left out.

    \b
    Examples:
      katibflow logs mnist-20260131-093000 3 --follow
      katibflow logs 0a1b2c3d
    """
    from katibflow.client.log_following import follow_logs
    from katibflow.client.logs import step_logs, step_sources, trial_logs, trial_sources
    from katibflow.client.records import JobRecords, cluster_of
    from katibflow.client.step_output import StepOutput, own_lines

    access = access_of(host, namespace, context, ca_file)
    pipelines, experiment_run = found_run(run, access)
    name, run_id = experiment_run.run.name, experiment_run.run.run_id
    found: Lines
    try:
        cluster = cluster_of(
            access.namespace or pipelines.namespace_of(experiment_run.run), access.context
        )
    except InputError as error:
        if access.context is not None:
            raise
        if trial is not None:
            raise InputError(
                f"{error}\nthe log of a trial is in its pod, and in an artifact named log or logs "
                f"once its step is over: {link_of(pipelines, experiment_run.run)}; Kubeflow "
                "Pipelines' API has the logs of the steps alone: leave TRIAL out"
            ) from error
        if not _printed(_from_kfp(pipelines, run_id, poll if follow else None)):
            raise RunnerError(f"Kubeflow Pipelines' API has no log of a step of {name}") from error
        return
    if trial is None:
        what = f"no pod of a step of {name} is left, or has begun"
        if follow:
            found = follow_logs(
                cluster,
                lambda: step_sources(cluster, run_id),
                lambda: pipelines.run(run_id).is_over,
                poll,
                lambda: StepOutput().is_own,
            )
        else:
            found = _in_turn((step, own_lines(log)) for step, log in step_logs(cluster, run_id))
    else:
        records = JobRecords(cluster, experiment_run)
        known = _trial(records, trial)
        state = f"{known.state} {known.reason} {known.message}".rstrip()
        what = f"no pod of trial {trial} is left, or has begun; on record it is {state}"
        template = experiment_run.experiment.spec.trial_template
        manifest, container = template.trial_spec or {}, template.primary_container_name
        if follow:
            found = follow_logs(
                cluster,
                lambda: trial_sources(cluster, known, manifest, container),
                lambda: _has_ended(records, trial),
                poll,
                lambda: _every_line,
            )
        else:
            found = _in_turn(trial_logs(cluster, known, manifest, container))
    if not _printed(found):
        raise RunnerError(
            f"{what}; {link_of(pipelines, experiment_run.run)} keeps logs as artifacts"
        )


def _from_kfp(
    pipelines: Pipelines, run_id: str, poll: float | None
) -> Iterator[tuple[str, str | None]]:
    """Yields step and line of each step's log from Kubeflow Pipelines' API.

    Args:
        pipelines: The installation that has the run.
        run_id: The run's id.
        poll: Seconds between two looks until the run is over; None for one look.
    """
    from katibflow.client.kfp_logs import LogFeed

    feed, pause = LogFeed(pipelines, run_id), Event()
    while True:
        over = poll is None or pipelines.run(run_id).is_over
        yield from feed.news(lambda node: True)
        if over:
            return
        pause.wait(poll)


def _trial(records: JobRecords, number: int) -> Trial:
    """Returns a run's trial; raises InputError if the run has none of that number."""
    known = {each.number: each for each in records.history().trials}
    if number not in known:
        numbers = f"0 to {max(known)}" if known else "none yet"
        raise InputError(f"TRIAL: found {number}; allowed: {numbers}")
    return known[number]


def _has_ended(records: JobRecords, number: int) -> bool:
    return any(
        each.number == number and each.state.is_finished for each in records.history().trials
    )


def _every_line(line: str) -> bool:
    return True


def _in_turn(logs: Iterator[tuple[str, Iterator[str]]]) -> Iterator[tuple[str, str | None]]:
    """Yields name and line of each log, one log after the other; None at the log's beginning."""
    for name, lines in logs:
        yield name, None
        for line in lines:
            yield name, line


def _printed(lines: Lines) -> bool:
    """Prints each line, with the name of its log wherever the log changes; or returns False."""
    last: str | None = None
    for name, line in lines:
        if name != last or line is None:
            print(f"==> {name} <==", flush=True)
        if line is not None:
            print(line, flush=True)
        last = name
    return last is not None
