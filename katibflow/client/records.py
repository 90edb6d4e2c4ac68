"""Reads and stops the trials of a run in Kubeflow Pipelines, by their job objects.

The job objects are the record of the trials. What Kubeflow Pipelines says of a run is in `api`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from katibflow.client.reading import ExperimentRun
from katibflow.errors import RunnerError
from katibflow.runners.kubernetes.api import Api, ApiError, Timing
from katibflow.runners.kubernetes.hindrances import Hindrance, hindrances
from katibflow.runners.kubernetes.job_object import Identity
from katibflow.runners.kubernetes.runner import KubernetesRunner, connect
from katibflow.steps.run_parameters import with_more
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.resume import ALL, run_name, taken_over_before

__all__ = ["NAMESPACE", "JobRecords", "Records", "cluster_of"]

NAMESPACE = "kubeflow"
"""The namespace of all runs in an installation without users, unless the user names another."""

_TIMING = Timing(give_up=20.0)
_NONE: Mapping[str, str] = {}


class Records(Protocol):
    """Reads and stops the trials of one run."""

    def history(self) -> History:
        """Returns the run's trials, and those that it took over from earlier runs.

        The message of a running trial says what hinders it, as an image that cannot be pulled.

        Raises:
            RunnerError: The jobs cannot be read.
        """

    def going(self) -> Sequence[str]:
        """Returns the names of the run's jobs that have not ended.

        Raises:
            RunnerError: The jobs cannot be read.
        """

    def stop(self, reason: str) -> Sequence[str]:
        """Stops the run's jobs that have not ended, and returns their names.

        Args:
            reason: Why they are stopped, for their records.

        Raises:
            RunnerError: Not all of them could be stopped.
        """


def cluster_of(namespace: str, context: str | None) -> Api:
    """Returns the API of the cluster that the kubeconfig names, or that this process runs in.

    Args:
        namespace: The runs' namespace; "" for that of an installation without users.
        context: The kubeconfig's context; None for the current one.

    Raises:
        InputError: There is no cluster, or no such context.
    """
    return connect(namespace or NAMESPACE, context, _TIMING)


class JobRecords:
    """Finds a run's trials by the labels of their jobs; implements `Records`.

    Args:
        api: Requests in the namespace of the jobs.
        empty: The run's history without trials; its ``run`` is the jobs' label.
        resume: The run's parameter ``resume``; `ALL` also where nobody knows it.
        parameters: The run's parameters.
    """

    def __init__(
        self, api: Api, empty: History, resume: str = ALL, parameters: Mapping[str, str] = _NONE
    ) -> None:
        experiment = empty.experiment
        self._empty = empty
        self._resume = resume
        self._parameters = parameters
        self._taken: Sequence[Trial] | None = None
        self._api = api
        self._may_read_pods = True
        self._told: dict[int, Hindrance] = {}
        self._runner = KubernetesRunner(
            api,
            experiment=experiment.name,
            run=self._empty.run,
            template=experiment.spec.trial_template,
        )

    @classmethod
    def of(cls, api: Api, experiment_run: ExperimentRun) -> JobRecords:
        """Returns the records of a run in Kubeflow Pipelines."""
        run = experiment_run.run
        return cls(
            api,
            History(experiment_run.experiment, run_name(run.run_id), 0),
            experiment_run.resume,
            {name: str(text) for name, text in run.parameters.items()},
        )

    def history(self) -> History:
        """Returns the run's trials, and those that it took over from earlier runs."""
        own = self._with_hindrances(self._runner.records())
        if own and self._taken is None:
            self._taken = ()
            if own[0].number > 0:
                self._taken = taken_over_before(
                    self._empty, self._resume, own[0].number, self._runner.earlier()
                )
        taken_over = with_more(self._empty.with_trials(self._taken or ()), self._parameters)
        return taken_over.with_trials(own)

    def _with_hindrances(self, trials: Sequence[Trial]) -> tuple[Trial, ...]:
        """Returns the trials; the message of a running one says what hinders it."""
        if not any(trial.state is TrialState.RUNNING for trial in trials):
            return tuple(trials)
        found = self._hindrances()
        return tuple(
            replace(trial, message=self._words(trial.number, found[trial.number]))
            if trial.state is TrialState.RUNNING and trial.number in found
            else trial
            for trial in trials
        )

    def _words(self, number: int, found: Hindrance) -> str:
        """Returns a hindrance in the words that were found first, as its reasons may take turns."""
        told = self._told.get(number)
        if told is None or told.topic is None or told.topic != found.topic:
            self._told[number] = told = found
        return told.text

    def _hindrances(self) -> Mapping[int, Hindrance]:
        """Returns what hinders trials; none if this account may not read the pods."""
        if not self._may_read_pods:
            return {}
        empty = self._empty
        identity = Identity(self._api.namespace, empty.experiment.name, empty.run)
        try:
            template = empty.experiment.spec.trial_template
            return hindrances(self._api, identity, template, datetime.now(UTC))
        except RunnerError as error:
            refused = isinstance(error, ApiError) and error.status in (401, 403, 404)
            self._may_read_pods = not refused
            return {}

    def going(self) -> Sequence[str]:
        """Returns the names of the run's jobs that have not ended."""
        return self._runner.going()

    def stop(self, reason: str) -> Sequence[str]:
        """Stops the jobs that have not ended, as the step `finish` does; returns their names."""
        return self._runner.interrupt(reason)

    def halt(self, reason: str) -> Sequence[str]:
        """Stops the jobs that have not ended; returns their names.

        The trials stay on record as running, so that the run goes on with them later. A program
        that runs them sees that, and ends.

        Raises:
            RunnerError: Not all of them could be stopped.
        """
        names = self._runner.going()
        self._runner.sweep((), reason)
        return names
