"""What the commands on runs in Kubeflow Pipelines share: their options, and what they show."""

from __future__ import annotations

import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from katibflow.cli.options import EXPERIMENT_FAILED, interrupted
from katibflow.cli.results import best_lines
from katibflow.engine.signals import caught
from katibflow.errors import InputError, KatibflowError, RunnerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from katibflow.client.access import Access
    from katibflow.client.base import Pipelines, Run
    from katibflow.client.reading import Sweep
    from katibflow.client.records import Records
    from katibflow.client.run_view import RunView, Standing
    from katibflow.client.submitting import Ready
    from katibflow.client.workflow_reader import WorkflowReader
    from katibflow.runners.kubernetes.api import Api
    from katibflow.study.ending import Ending
    from katibflow.study.history import History

__all__ = [
    "CaFile",
    "Cluster",
    "Context",
    "Host",
    "Namespace",
    "Poll",
    "RunName",
    "access_of",
    "follow_to_end",
    "found_run",
    "link_of",
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
    """What the options say of the installation.

    Raises:
        InputError: The namespace is no name.
    """
    from katibflow.client.access import Access
    from katibflow.runners.kubernetes.job_object import check_name

    if namespace is not None:
        check_name("--namespace", namespace)
    return Access(host, namespace, context, ca_file)


def found_run(run: str, access: Access) -> tuple[Pipelines, Sweep]:
    """The installation, and the run in it that a user means; errors as of `find_sweep`."""
    from katibflow.client.api import connect
    from katibflow.client.reading import find_sweep

    pipelines = connect(access)
    return pipelines, find_sweep(pipelines, run)


class Cluster:
    """The jobs and pods of runs, in the cluster that the kubeconfig names; says once why not."""

    def __init__(self, pipelines: Pipelines, access: Access) -> None:
        self._pipelines = pipelines
        self._access = access
        self._said: set[str] = set()
        self._readers: dict[str, WorkflowReader] = {}
        self._written: dict[str, Mapping[str, datetime]] = {}

    def api(self, run: Run | None = None) -> Api | None:
        """The namespace of a run, or of one that is to come; None where there is no cluster.

        Raises:
            InputError: ``--context`` names none.
        """
        from katibflow.client.records import cluster_of

        there = self._pipelines
        namespace = there.namespace if run is None else there.namespace_of(run)
        try:
            return cluster_of(self._access.namespace or namespace, self._access.context)
        except InputError as error:
            self._say(error)
            return None

    def check_earlier(self, ready: Ready, resume: str) -> None:
        """Refuses what a run's first step would refuse for the trials that it finds.

        Raises:
            InputError: Earlier trials do not fit, or leave nothing to do.
        """
        from katibflow.client.records import check_earlier

        api = self.api()
        try:
            if api is not None:
                check_earlier(api, ready, resume)
        except RunnerError as error:
            self._say(error)

    def records(self, sweep: Sweep) -> Records | None:
        """A run's trials; None where there is no cluster to read them from.

        Raises:
            InputError: ``--context`` names none.
        """
        from katibflow.client.records import JobRecords

        api = self.api(sweep.run)
        return JobRecords(api, sweep) if api is not None else None

    def reader(self, run: Run) -> WorkflowReader | None:
        """What reads a run's Workflow; None where there is no cluster.

        Raises:
            InputError: ``--context`` names none.
        """
        from katibflow.client.workflow_reader import WorkflowReader

        api = self.api(run)
        if api is None:
            return None
        return self._readers.setdefault(api.namespace, WorkflowReader(api))

    def view(self, sweep: Sweep) -> RunView:
        """What tells how a run stands; with no cluster, by what Kubeflow Pipelines says alone.

        Raises:
            InputError: ``--context`` names none.
        """
        from katibflow.client.run_view import RunView

        return RunView(sweep, self.records(sweep), self.reader(sweep.run))

    def standing_if_suspect(self, sweep: Sweep, history: History | None) -> Standing | None:
        """How a run stands, if what is cheap to see lets it seem to stand still; or else None.

        All Workflows' metadata are one request; one is read only if nothing wrote it for long.
        """
        from katibflow.client.run_view import now_in_utc
        from katibflow.client.stalls import is_overdue

        run = sweep.run
        if run.is_over or not is_overdue(run, now_in_utc(), run.created):
            return None
        reader = self.reader(run)
        if reader is None:
            return None
        if reader.namespace not in self._written:
            self._written[reader.namespace] = reader.written()
        written = self._written[reader.namespace].get(run.run_id)
        if written is None or not is_overdue(run, now_in_utc(), written):
            return None
        return self.view(sweep).standing(run, history)

    def failed_steps(self, run: Run) -> list[str]:
        """What the failed steps of a run printed last; nothing where it cannot be read."""
        from katibflow.client.logs import failed_steps

        api = self.api(run)
        try:
            found = list(failed_steps(api, run)) if api is not None else []
        except RunnerError:
            return []
        return [line for name, lines in found for line in (f"==> {name} <==", *lines)]

    def history(self, sweep: Sweep) -> History | None:
        """A run's trials as they are now; None where they cannot be read.

        Raises:
            InputError: ``--context`` names no cluster.
            RunnerError: They cannot be read from the one that it names.
        """
        records = self.records(sweep)
        try:
            return self.believed(sweep.run, records.history()) if records is not None else None
        except RunnerError as error:
            self._say(error)
            return None

    def believed(self, run: Run, history: History | None) -> History | None:
        """The trials, unless there are none of a run that must have had some.

        Raises:
            RunnerError: ``--context`` names a cluster that has none.
        """
        from katibflow.client.records import NAMESPACE

        if history is None or history.trials or run.state != "SUCCEEDED":
            return history
        where = self._access.namespace or self._pipelines.namespace_of(run) or NAMESPACE
        self._say(
            RunnerError(
                f"no job of {run.name} is in namespace {where} of the kubeconfig's cluster; "
                "--context and --namespace say where they are"
            )
        )
        return None

    def _say(self, error: KatibflowError) -> None:
        if self._access.context is not None:
            raise error
        if str(error) not in self._said:
            print(f"the trials' jobs cannot be seen from here: {error}", file=sys.stderr)
            self._said.add(str(error))


def link_of(pipelines: Pipelines, run: Run) -> str:
    """A run's page in the UI, or else its id."""
    return pipelines.link(f"runs/details/{run.run_id}") or run.run_id


def follow_to_end(
    pipelines: Pipelines, sweep: Sweep, access: Access, poll: float, as_json: bool
) -> typer.Exit:
    """Shows a run until it is over and prints how it ended; the exit status for that.

    A signal ends the following and leaves the run alone.
    """
    from katibflow.client.following import ending_of, follow
    from katibflow.client.terminal import Terminal
    from katibflow.progress.display import progress_for
    from katibflow.progress.status import Board
    from katibflow.runners.stopping import StopRequest

    stream = sys.stderr if as_json else sys.stdout
    stop, stopped = StopRequest(), threading.Event()
    stop.subscribe(stopped.set)
    run, link = sweep.run, link_of(pipelines, sweep.run)
    how = (
        f"the run goes on: {link}\n"
        f"  katibflow show {run.run_id} --follow\n"
        f"  katibflow stop {run.run_id}"
    )
    cluster = Cluster(pipelines, access)
    records = cluster.records(sweep)
    progress = None
    if records is not None:
        progress = progress_for(Board.of(sweep.experiment, ()), stream, since=run.created)
    try:
        with caught(stop), progress or nullcontext():
            run, history = follow(
                pipelines,
                run.run_id,
                records,
                Terminal(progress, lambda: sys.stderr if as_json else sys.stdout),
                lambda: stopped.wait(poll),
                view=cluster.view(sweep),
            )
    except RunnerError as error:
        raise RunnerError(f"{error}\n{how}") from error
    if stop.reason is not None and not run.is_over:
        print(how, file=sys.stderr)
        return interrupted(stop.reason)
    history = cluster.believed(run, history)
    ending = ending_of(run, history)
    if history is not None:
        for line in cluster.failed_steps(run):
            print(line, file=sys.stderr)
    if as_json:
        import json

        print(json.dumps(run_data(sweep, run, history, ending, link)))
    else:
        print(f"{ending.reason}: {ending.message}")
        if history is not None:
            print(*best_lines(history), sep="\n")
        print(f"run: {link}")
    return typer.Exit(0 if ending.succeeded else EXPERIMENT_FAILED)


def run_data(
    sweep: Sweep,
    run: Run,
    history: History | None,
    ending: Ending,
    link: str,
    standing: Standing | None = None,
) -> dict[str, Any]:
    """A run as JSON data; ``best`` and ``trials`` are null where they cannot be seen.

    With several objectives ``front`` stands in place of ``best``; ``stall`` is null while it moves.
    """
    from collections import Counter

    from katibflow.client.stalls import stall_data
    from katibflow.report.data import best_data

    counts = Counter(trial.state.value for trial in history.trials) if history else {}
    return {
        "experiment": sweep.experiment.name,
        "run": run.run_id,
        "name": run.name,
        "state": run.state,
        "created": run.created.isoformat(),
        "succeeded": ending.succeeded,
        "reason": ending.reason,
        "message": ending.message,
        **(best_data(history) if history is not None else {"best": None}),
        "trials": dict(sorted(counts.items())) if history is not None else None,
        "stall": stall_data(standing.stall, standing.message) if standing is not None else None,
        "link": link,
    }
