"""Reaches the cluster behind an installation: finds runs' trials, Workflows and pods there.

If the user names a kubeconfig's context, a cluster that cannot be read is an error. Otherwise the
cluster is optional, and each reason why it cannot be read is reported once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from katibflow.client.access import Access
from katibflow.client.base import Pipelines, Run
from katibflow.client.kfp_logs import kfp_logs, kfp_workflow, published_history
from katibflow.client.logs import failed_steps, last_lines, names_of_failed, titled
from katibflow.client.reading import FIRST_STEPS, ExperimentRun
from katibflow.client.records import NAMESPACE, JobRecords, Records, cluster_of
from katibflow.client.run_view import RunStatus, RunView, now_in_utc
from katibflow.client.stalls import is_overdue
from katibflow.client.workflow_reader import WorkflowReader
from katibflow.errors import InputError, KatibflowError, RunnerError
from katibflow.runners.kubernetes.api import Api
from katibflow.runners.kubernetes.job_object import check_name
from katibflow.study.history import History

__all__ = ["Cluster", "OnUnavailable", "access_of", "ignore_unavailable"]

OnUnavailable = Callable[[KatibflowError], None]
"""Receives the reason why the trials' jobs cannot be read."""


def ignore_unavailable(error: KatibflowError) -> None:
    """Ignores the reason, for callers that read the trials later and get the error then."""


def access_of(
    host: str | None, namespace: str | None, context: str | None, ca_file: str | Path | None
) -> Access:
    """Returns the user's options as an `Access`.

    Args:
        host: The installation's address; None to take it from the environment.
        namespace: The namespace of the runs and their jobs; None for the user's own.
        context: The kubeconfig's context; None for the current one.
        ca_file: File with the certificates to trust; None for the usual ones.

    Raises:
        InputError: The namespace is not a valid name.
    """
    if namespace is not None:
        check_name("--namespace", namespace)
    return Access(host, namespace, context, None if ca_file is None else Path(ca_file))


class Cluster:
    """The jobs and pods of runs, in the cluster that the kubeconfig names.

    Args:
        pipelines: Where the runs are.
        access: What the user says of the installation.
        on_unavailable: Told why there is no cluster to be seen, each reason once.
    """

    def __init__(
        self,
        pipelines: Pipelines,
        access: Access,
        on_unavailable: OnUnavailable = ignore_unavailable,
    ) -> None:
        self._pipelines = pipelines
        self._access = access
        self._on_unavailable = on_unavailable
        self._reported: set[str] = set()
        self._readers: dict[str, WorkflowReader] = {}
        self._namespaces: dict[str, str] = {}
        self._written: dict[str, Mapping[str, datetime] | None] = {}

    def api(self, run: Run | None = None) -> Api | None:
        """Returns the API for a run's namespace, or None if there is no cluster.

        Args:
            run: The run; None for one that is not started yet.

        Raises:
            InputError: The user names a context that the kubeconfig does not have.
        """
        namespace = self._pipelines.namespace if run is None else self._namespace_of(run)
        try:
            return cluster_of(self._access.namespace or namespace, self._access.context)
        except InputError as error:
            self._unavailable(error)
            return None

    @property
    def is_named(self) -> bool:
        """Whether the user names the cluster, so that it is not done without."""
        return self._access.context is not None

    def required_api(self, run: Run) -> Api:
        """Returns the API for a run's namespace, for what cannot be done without a cluster.

        Raises:
            InputError: There is no cluster, or no such context.
        """
        return cluster_of(self._access.namespace or self._namespace_of(run), self._access.context)

    def _namespace_of(self, run: Run) -> str:
        """Returns the namespace of a run's pods, asked once; "" if nobody says."""
        if run.run_id not in self._namespaces:
            self._namespaces[run.run_id] = self._pipelines.namespace_of(run)
        return self._namespaces[run.run_id]

    def if_readable(self, look: Callable[[Api], None]) -> None:
        """Calls ``look`` with the API for the namespace of a run that is not started yet.

        Does nothing where there is no cluster, or the cluster cannot be read.

        Raises:
            InputError: ``look`` finds a fault there.
            RunnerError: The user names a context, and its cluster cannot be read.
        """
        api = self.api()
        try:
            if api is not None:
                look(api)
        except RunnerError as error:
            self._unavailable(error)

    def records(self, experiment_run: ExperimentRun) -> Records | None:
        """Returns a run's trials, or None if there is no cluster to read them from.

        Raises:
            InputError: The user names a context that the kubeconfig does not have.
        """
        api = self.api(experiment_run.run)
        return JobRecords(api, experiment_run) if api is not None else None

    def reader(self, run: Run) -> WorkflowReader | None:
        """Returns the reader of a run's Workflow, or None if there is no cluster.

        Raises:
            InputError: The user names a context that the kubeconfig does not have.
        """
        api = self.api(run)
        if api is None:
            return None
        return self._readers.setdefault(api.namespace, WorkflowReader(api))

    def view(self, experiment_run: ExperimentRun) -> RunView:
        """Returns the view of a run; without a cluster it uses Kubeflow Pipelines' answers alone.

        Raises:
            InputError: The user names a context that the kubeconfig does not have.
        """
        reader = self.reader(experiment_run.run)
        return RunView(
            experiment_run,
            self.records(experiment_run),
            reader,
            reported=None
            if reader is not None
            else lambda run_id: kfp_workflow(self._pipelines, run_id),
        )

    def status_if_overdue(
        self, experiment_run: ExperimentRun, history: History | None
    ) -> RunStatus | None:
        """Returns a run's status if the run seems to have stalled, or else None.

        One request gets all Workflows' metadata; a Workflow itself is read only if its metadata
        show that nothing has written it for long, or if it seems to be gone.
        """
        run = experiment_run.run
        if run.is_over or not is_overdue(run, now_in_utc(), run.created):
            return None
        reader = self.reader(run)
        if reader is None:
            return None
        if reader.namespace not in self._written:
            self._written[reader.namespace] = reader.written()
        all_written = self._written[reader.namespace]
        written = (all_written or {}).get(run.run_id)
        if all_written is None:
            return None
        if written is not None and not is_overdue(run, now_in_utc(), written):
            return None
        return self.view(experiment_run).status(run, history)

    def failed_steps(self, run: Run, fault: str = "") -> list[str]:
        """Returns the last lines of a run's failed steps, or none if they cannot be read.

        Args:
            run: The run, with its steps.
            fault: What is wrong with the run's parameters; the first step would only repeat it.
        """
        api = self.api(run)
        try:
            found = list(failed_steps(api, run)) if api is not None else self._failed_steps(run)
        except RunnerError:
            found = self._failed_steps(run)
        return titled(found, FIRST_STEPS if fault else ())

    def lines_of(self, step: str, run: Run) -> list[str]:
        """Returns the last lines of a run's step, from Kubeflow Pipelines' API; none without one.

        Args:
            step: The step's name.
            run: The run.
        """
        try:
            logs = kfp_logs(self._pipelines, run.run_id, lambda node: node.step == step)
            return titled(last_lines((node.step, lines) for node, lines in logs))
        except RunnerError:
            return []

    def _failed_steps(self, run: Run) -> list[tuple[str, list[str]]]:
        """Returns the same as `logs.failed_steps`, from Kubeflow Pipelines' API."""
        wanted = names_of_failed(run)
        try:
            logs = dict(
                (node.step, lines)
                for node, lines in kfp_logs(
                    self._pipelines, run.run_id, lambda node: node.step in wanted
                )
            )
        except RunnerError:
            return []
        return list(last_lines(logs.items()))

    def history_at_end(
        self, experiment_run: ExperimentRun, run: Run, history: History | None
    ) -> History | None:
        """Returns the trials, or those that a step has published if the jobs cannot be read.

        Args:
            experiment_run: The run as it was found.
            run: The run as last read.
            history: The run's trials as the cluster has them; None if they could not be read.

        Raises:
            RunnerError: The user names a context, and its cluster has none of the run's trials.
        """
        found = self.plausible_history(run, history)
        if found is not None and (found.trials or not run.is_over):
            return found
        return published_history(self._pipelines, experiment_run) or found

    def history(
        self, experiment_run: ExperimentRun, on_missing: Callable[[], None] | None = None
    ) -> History | None:
        """Returns a run's trials as they are now, or None if they cannot be read.

        Args:
            experiment_run: The run.
            on_missing: Called for a run that succeeded and has no trials here, in place of the
                reason that is reported for one run; None to report it.

        Raises:
            InputError: The user names a context that the kubeconfig does not have.
            RunnerError: The user names a context, and its cluster cannot be read.
        """
        records = self.records(experiment_run)
        try:
            return (
                self.plausible_history(experiment_run.run, records.history(), on_missing)
                if records is not None
                else None
            )
        except RunnerError as error:
            self._unavailable(error)
            return None

    def plausible_history(
        self,
        run: Run,
        history: History | None,
        on_missing: Callable[[], None] | None = None,
    ) -> History | None:
        """Returns the trials, or None if a run that succeeded has none here: the wrong cluster.

        Args:
            run: The run.
            history: The run's trials as the cluster has them; None if they could not be read.
            on_missing: See `history`.

        Raises:
            RunnerError: The user names a context, and its cluster has none of the run's trials.
        """
        if history is None or history.trials or run.state != "SUCCEEDED":
            return history
        if on_missing is not None:
            on_missing()
            return None
        where = self._access.namespace or self._namespace_of(run) or NAMESPACE
        self._unavailable(
            RunnerError(
                f"no job of {run.name} is in namespace {where} of the kubeconfig's cluster; "
                "--context and --namespace say where they are"
            )
        )
        return None

    def _unavailable(self, error: KatibflowError) -> None:
        if self._access.context is not None:
            raise error
        if str(error) not in self._reported:
            self._on_unavailable(error)
            self._reported.add(str(error))
