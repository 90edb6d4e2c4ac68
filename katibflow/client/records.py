"""The trials of a run, from their job objects, which are the record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from katibflow.client.reading import Sweep
from katibflow.errors import InputError
from katibflow.runners.kubernetes.api import Api, Timing
from katibflow.runners.kubernetes.runner import KubernetesRunner, connect
from katibflow.steps.run_parameters import with_more
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.resume import ALL, NONE, EarlierTrial, read_resume, run_name, take_over

__all__ = ["NAMESPACE", "JobRecords", "Records", "cluster_of", "with_earlier"]

NAMESPACE = "kubeflow"
"""Where runs are in an installation without users, unless it says otherwise."""

_TIMING = Timing(give_up=20.0)


class Records(Protocol):
    """The trials of one run as they are now."""

    def history(self) -> History:
        """The run's trials, and those that it took over from earlier runs.

        Raises:
            RunnerError: They cannot be read.
        """

    def going(self) -> Sequence[str]:
        """Names of the run's jobs that have not ended.

        Raises:
            RunnerError: They cannot be read.
        """

    def stop(self, reason: str) -> Sequence[str]:
        """Stops the run's jobs that have not ended; their names.

        Args:
            reason: Why, for their records.

        Raises:
            RunnerError: Not all of them could be stopped.
        """


def cluster_of(namespace: str, context: str | None) -> Api:
    """The cluster that the kubeconfig names, or that this process runs in.

    Args:
        namespace: Of the runs; empty for that of an installation without users.
        context: The kubeconfig's context; by default the current one.

    Raises:
        InputError: There is none.
    """
    return connect(namespace or NAMESPACE, context, _TIMING)


class JobRecords:
    """A run's trials by the labels of their jobs; a `Records`."""

    def __init__(self, api: Api, sweep: Sweep) -> None:
        experiment = sweep.experiment
        self._empty = History(experiment, run_name(sweep.run.run_id), 0)
        self._resume = sweep.resume
        self._parameters = {name: str(text) for name, text in sweep.run.parameters.items()}
        self._taken: tuple[Trial, ...] | None = None
        self._runner = KubernetesRunner(
            api,
            experiment=experiment.name,
            run=self._empty.run,
            template=experiment.spec.trial_template,
        )

    def history(self) -> History:
        """The run's trials, and those that it took over."""
        own = self._runner.records()
        if own and self._taken is None:
            self._taken = ()
            if own[0].number > 0:
                self._taken = with_earlier(
                    self._empty, self._resume, own[0].number, self._runner.earlier()
                )
        begun = with_more(self._empty.with_trials(self._taken or ()), self._parameters)
        return begun.with_trials(own)

    def going(self) -> Sequence[str]:
        """Names of the run's jobs that have not ended."""
        return self._runner.going()

    def stop(self, reason: str) -> Sequence[str]:
        """Stops them, as the step `finish` does."""
        going = self._runner.going()
        self._runner.sweep((), reason)
        return going


def with_earlier(
    empty: History, resume: str, count: int, earlier: Iterable[EarlierTrial]
) -> tuple[Trial, ...]:
    """The trials that a run began with, numbered as it did.

    Trials that ended after it began are no part of it: it took over those that had ended first.

    Args:
        empty: The run's history without trials.
        resume: The run's parameter of that name.
        count: How many it began with.
        earlier: All trials on record of the Experiment's name.
    """
    try:
        wanted = read_resume(resume)
        ended = sorted(
            (
                each
                for each in earlier
                if each.run != empty.run
                and wanted in (ALL, each.run)
                and each.trial.state.is_finished
                and each.trial.state is not TrialState.KILLED
            ),
            key=lambda each: each.trial.end or "",
        )
        taken = take_over(resume, empty, wanted, ended[:count]).trials if wanted != NONE else ()
    except InputError:  # what it took over was deleted or changed since
        return ()
    return taken if len(taken) == count else ()
