"""The result of a run: the best trial, all trials as a table, the run as an Optuna study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from katibflow.api.plots import Plots
from katibflow.errors import KatibflowError
from katibflow.extras import missing
from katibflow.printing import counted
from katibflow.report.table import Kind, Output, columns_of, rows_of
from katibflow.runs.running import read_run
from katibflow.study.best import Best, best_of
from katibflow.study.failures import failures_of
from katibflow.study.history import TrialState
from katibflow.study.objectives import objective_value
from katibflow.study.optuna_study import study_of

if TYPE_CHECKING:
    import optuna
    import pandas

    from katibflow.runs.folder import RunFolder
    from katibflow.study.ending import Ending
    from katibflow.study.history import History

__all__ = ["Result", "TrialResult"]


@dataclass(frozen=True)
class TrialResult:
    """The result of one trial.

    Attributes:
        number: The trial's number, from 0.
        state: RUNNING, COMPLETE, PRUNED, FAIL or KILLED.
        value: The (first) objective; None when the trial has none.
        params: The parameters' values by name: numbers as numbers, list items as their type says.
        assignments: The texts that the trial was given, by the parameter's name.
        metrics: The metrics' values by name, each under the metric's strategy.
        latest: The metrics' last values by name.
        reason: Why the trial ended, as one word; "" for a trial that completed.
        message: The same as a sentence; "" for a trial that completed.
        logs: The logs' paths by replica, for a run on this machine; else empty.
    """

    number: int
    state: TrialState
    value: float | None
    params: Mapping[str, Any]
    assignments: Mapping[str, str]
    metrics: Mapping[str, float]
    latest: Mapping[str, float]
    reason: str
    message: str
    logs: Mapping[str, Path]


class Result:
    """The result of a run that is over, was interrupted, or goes on elsewhere.

    Args:
        history: The run's Experiment and trials.
        ending: How the run ended, or that it has not.
        folder: The run's folder; None for a run in Kubeflow Pipelines.
    """

    def __init__(self, history: History, ending: Ending, folder: RunFolder | None = None) -> None:
        self._history = history
        self._ending = ending
        self._folder = folder

    @classmethod
    def load(cls, folder: str | Path) -> Result:
        """Returns the result of the run in a folder, as ``runs/mnist``.

        Raises:
            InputError: The folder has no run.
            HistoryError: The run's history cannot be read.
        """
        run = read_run(Path(folder))
        return cls(run.history, run.ending, run.folder)

    @property
    def name(self) -> str:
        """The Experiment's name."""
        return self.history.experiment.name

    @property
    def succeeded(self) -> bool | None:
        """Whether the goal was met or the trials are used up; None if the run is not over."""
        return self._ending.succeeded

    @property
    def reason(self) -> str:
        """Why the run ended, in Katib's word, as ``ExperimentGoalReached``."""
        return self._ending.reason

    @property
    def message(self) -> str:
        """Why the run ended, as a sentence."""
        return self._ending.message

    @property
    def history(self) -> History:
        """The study history, which is the record of the run."""
        return self._history

    @property
    def folder(self) -> Path:
        """The run's folder.

        Raises:
            KatibflowError: The run is in Kubeflow Pipelines and has no folder here.
        """
        return self._files.path

    @property
    def report(self) -> Path:
        """The report, one HTML page.

        Raises:
            KatibflowError: The run is in Kubeflow Pipelines, where its last step has the report.
        """
        return self._files.report

    @property
    def _files(self) -> RunFolder:
        if self._folder is None:
            raise KatibflowError(
                f"{self.name}: has no folder here: it ran in Kubeflow Pipelines, whose page of the "
                "run has the report and the logs"
            )
        return self._folder

    @cached_property
    def study(self) -> optuna.Study:
        """All trials as an Optuna study in memory, with the same numbers."""
        return study_of(self.history)

    @cached_property
    def trials(self) -> tuple[TrialResult, ...]:
        """All trials by number."""
        objective = self.history.experiment.spec.objective
        params = {trial.number: trial.params for trial in self.study.trials}
        logs = self._folder.logs() if self._folder is not None else {}
        return tuple(
            TrialResult(
                number=trial.number,
                state=trial.state,
                value=objective_value(objective, trial),
                params=params[trial.number],
                assignments=trial.assignments,
                metrics={
                    name: seen.value(objective.strategy(name))
                    for name, seen in trial.observations.items()
                },
                latest={name: seen.latest for name, seen in trial.observations.items()},
                reason=trial.reason,
                message=trial.message,
                logs={
                    replica: self._files.path / path
                    for replica, path in logs.get(trial.number, {}).items()
                },
            )
            for trial in self.history.trials
        )

    @property
    def best(self) -> TrialResult:
        """The trial with the best finite objective, the earlier one on a tie.

        Raises:
            KatibflowError: There is none, and the error says why: the commonest cause of the
                failures. `front` is empty then. Or there are several objectives, so there is a
                `front` instead.
        """
        if self._best.is_front:
            raise KatibflowError("best: there are several objectives; allowed: front")
        if not self.front:
            raise KatibflowError(f"best: {self.name}: {self._best.none}: {self._why_none()}")
        return self.front[0]

    def _why_none(self) -> str:
        """Returns the commonest cause of the failures, or else how the run ended."""
        failures = failures_of(self.history.trials)
        if not failures:
            return self.message or "no trial has ended"
        logs = self._by_number[failures[0].trials[0].number].logs
        log = next(iter(logs.values()), None)
        return failures[0].text + ("" if log is None else f" (log: {log})")

    @property
    def front(self) -> tuple[TrialResult, ...]:
        """The Pareto front, ordered by the first objective; with one objective, the best trial."""
        trials = self._by_number
        return tuple(trials[trial.number] for trial in self._best.trials)

    @cached_property
    def _by_number(self) -> Mapping[int, TrialResult]:
        return {trial.number: trial for trial in self.trials}

    @cached_property
    def _best(self) -> Best:
        return best_of(self.history.experiment.spec.objective, self.history.trials)

    def trials_dataframe(self) -> pandas.DataFrame:
        """Returns all trials as a table, a row each, indexed by number.

        The columns are ``state``, ``metrics_<name>`` for each metric, ``params_<name>`` for each
        parameter, ``reason``, and the times (UTC) ``queued``: when the trial was made, ``start``:
        when its job was created, and ``end``. A value that a trial does not have is missing.

        Raises:
            MissingPackage: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise missing("pandas", "trials_dataframe") from error
        experiment, trials = self.history.experiment, self.history.trials
        columns = columns_of(experiment, trials, Output.FRAME)
        rows = rows_of(experiment, trials)
        values = {each.name: [each.value(row) for row in rows] for each in columns}
        table = pandas.DataFrame(values).set_index("number")
        for column in (each.name for each in columns if each.kind is Kind.TIME):
            table[column] = pandas.to_datetime(table[column], utc=True, format="ISO8601")
        return table

    @property
    def plots(self) -> Plots:
        """The report's plots as figures of Plotly, as ``result.plots.history()``."""
        return Plots(self.history)

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: how the run ended, its best trial, its best ten trials."""
        from katibflow.report.notebook import result_html

        return result_html(self.history, self._ending)

    def __repr__(self) -> str:
        best = self.front
        found = self._best.count_text if best else self._best.none
        if best and not self._best.is_front:
            params = ", ".join(f"{name}={value!r}" for name, value in best[0].params.items())
            found = f"best is trial {best[0].number}: {best[0].value!r} with {params}"
        return (
            f"<Result of {self.name}: {self.reason}; {counted(len(self.trials), 'trial')}; {found}>"
        )
