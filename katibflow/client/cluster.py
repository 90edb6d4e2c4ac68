"""How the cluster behind an installation is reached: runs' trials, Workflows and pods.

Where a context is named it must lead there. Without one a cluster is welcome and not needed; what
hinders the view is said once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from katibflow.client.access import Access
from katibflow.client.base import Pipelines, Run
from katibflow.client.logs import failed_steps
from katibflow.client.reading import Sweep
from katibflow.client.records import NAMESPACE, JobRecords, Records, cluster_of
from katibflow.client.run_view import RunView, Standing, now_in_utc
from katibflow.client.stalls import is_overdue
from katibflow.client.workflow_reader import WorkflowReader
from katibflow.errors import InputError, KatibflowError, RunnerError
from katibflow.runners.kubernetes.api import Api
from katibflow.runners.kubernetes.job_object import check_name
from katibflow.study.history import History

__all__ = ["Cluster", "Say", "access_of", "unsaid"]

Say = Callable[[KatibflowError], None]
"""Tells a person why the trials' jobs cannot be seen."""


def unsaid(error: KatibflowError) -> None:
    """Says nothing: for those who ask for the trials later, and are told then."""


def access_of(
    host: str | None, namespace: str | None, context: str | None, ca_file: str | Path | None
) -> Access:
    """Returns what a user says of the installation.

    Args:
        host: Its address.
        namespace: Of the runs and their jobs.
        context: The kubeconfig's.
        ca_file: Certificates to trust in place of the usual ones.

    Raises:
        InputError: The namespace is no name.
    """
    if namespace is not None:
        check_name("--namespace", namespace)
    return Access(host, namespace, context, None if ca_file is None else Path(ca_file))


class Cluster:
    """The jobs and pods of runs, in the cluster that the kubeconfig names.

    Args:
        pipelines: Where the runs are.
        access: What the user says of the installation.
        say: Told why there is no cluster to be seen, each reason once.
    """

    def __init__(self, pipelines: Pipelines, access: Access, say: Say = unsaid) -> None:
        self._pipelines = pipelines
        self._access = access
        self._tell = say
        self._said: set[str] = set()
        self._readers: dict[str, WorkflowReader] = {}
        self._written: dict[str, Mapping[str, datetime]] = {}

    def api(self, run: Run | None = None) -> Api | None:
        """Returns the namespace of a run, or of one that is to come; None if there is no cluster.

        Raises:
            InputError: The context names none.
        """
        there = self._pipelines
        namespace = there.namespace if run is None else there.namespace_of(run)
        try:
            return cluster_of(self._access.namespace or namespace, self._access.context)
        except InputError as error:
            self._say(error)
            return None

    def if_readable(self, look: Callable[[Api], None]) -> None:
        """Shows the namespace of a run that is to come to ``look``, if it can be read.

        Raises:
            InputError: What is seen there is wrong.
            RunnerError: The context names a cluster that cannot be read.
        """
        api = self.api()
        try:
            if api is not None:
                look(api)
        except RunnerError as error:
            self._say(error)

    def records(self, sweep: Sweep) -> Records | None:
        """Returns a run's trials, or None if there is no cluster to read them from.

        Raises:
            InputError: The context names none.
        """
        api = self.api(sweep.run)
        return JobRecords(api, sweep) if api is not None else None

    def reader(self, run: Run) -> WorkflowReader | None:
        """Returns what reads a run's Workflow, or None if there is no cluster.

        Raises:
            InputError: The context names none.
        """
        api = self.api(run)
        if api is None:
            return None
        return self._readers.setdefault(api.namespace, WorkflowReader(api))

    def view(self, sweep: Sweep) -> RunView:
        """Returns what tells how a run stands, with no cluster by Kubeflow Pipelines' word alone.

        Raises:
            InputError: The context names none.
        """
        return RunView(sweep, self.records(sweep), self.reader(sweep.run))

    def standing_if_suspect(self, sweep: Sweep, history: History | None) -> Standing | None:
        """Returns how a run stands if, by what is cheap to see, it may stand still; or else None.

        All Workflows' metadata are one request; one is read only if nothing wrote it for long.
        """
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
        """Returns what the failed steps of a run printed last; nothing if it cannot be read."""
        api = self.api(run)
        try:
            found = list(failed_steps(api, run)) if api is not None else []
        except RunnerError:
            return []
        return [line for name, lines in found for line in (f"==> {name} <==", *lines)]

    def history(self, sweep: Sweep) -> History | None:
        """Returns a run's trials as they are now, or None if they cannot be read.

        Raises:
            InputError: The context names no cluster.
            RunnerError: They cannot be read from the one that it names.
        """
        records = self.records(sweep)
        try:
            return self.believed(sweep.run, records.history()) if records is not None else None
        except RunnerError as error:
            self._say(error)
            return None

    def believed(self, run: Run, history: History | None) -> History | None:
        """Returns the trials, or None if there are none of a run that must have had some.

        Raises:
            RunnerError: The context names a cluster that has none.
        """
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
            self._tell(error)
            self._said.add(str(error))
