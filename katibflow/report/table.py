"""The columns of the table of trials, each with a value for programs and a text for people.

A terminal, the report, Markdown, pandas and JSON show the same table. Each of them takes its
columns from here and decides how it writes numbers and times; this module prints nothing. A new
column is one entry of `COLUMNS`. All outputs show a column that does not name its outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from katibflow.experiment.types import (
    Experiment,
    Objective,
    Parameter,
    ParameterType,
    StrategyValue,
)
from katibflow.study.best import Best, best_of
from katibflow.study.failures import cause_of
from katibflow.study.history import Trial, TrialState
from katibflow.study.objectives import objective_values, value_text
from katibflow.study.optuna_study import typed_value

__all__ = [
    "COLUMNS",
    "Column",
    "Kind",
    "Output",
    "Row",
    "Style",
    "columns_of",
    "fitting",
    "rows_of",
]


class Output(StrEnum):
    """The outputs that show the table."""

    SHOW = "show"  # `katibflow show`
    LIVE = "live"  # on a terminal, while the trials run
    PAGE = "page"  # the report
    MARKDOWN = "markdown"  # beside a step of the pipeline
    FRAME = "frame"  # pandas
    JSON = "json"  # beside the record of each trial, which has its own keys


_EVERYWHERE = frozenset(Output)


class Kind(StrEnum):
    """The kind of a column's values."""

    TEXT = "text"
    NUMBER = "number"
    LENGTH = "length"  # seconds
    TIME = "time"  # UTC, ISO 8601


@dataclass(frozen=True)
class Style:
    """The functions and texts with which an output writes values.

    Attributes:
        number: Returns the text of a number.
        length: Returns the text of a length in seconds.
        nothing: The text of a cell without a value; a dash by default.
        message: Cuts a sentence to the length of a cell; None if cells show no sentences.
        waits: Whether a length is shown with the time in the queue, if above 1 s; True by default.
    """

    number: Callable[[float], str] = value_text
    length: Callable[[float], str] = "{:.0f} s".format
    nothing: str = "-"
    message: Callable[[str], str] | None = None
    waits: bool = True


@dataclass(frozen=True)
class Row:
    """A row of the table: a trial, with values that its record does not have.

    Attributes:
        trial: The trial.
        objective: The experiment's objective.
        is_best: Whether the trial is the best one, or on the Pareto front.
        now: The time (UTC, ISO 8601), to show how long a running trial has run; None not to.
        latest: Metric name to its last reported value, for a running trial.
        notice: The last notice about the trial; empty by default.
        logs: Replica name to the path or address of its log.
        is_stopped: Whether the trial is on record as running though nobody runs it now.
    """

    trial: Trial
    objective: Objective
    is_best: bool = False
    now: str | None = None
    latest: Mapping[str, float] = field(default_factory=dict)
    notice: str = ""
    logs: Mapping[str, str] = field(default_factory=dict)
    is_stopped: bool = False

    @property
    def state(self) -> str:
        """The trial's state in words: a trial that was stopped is not RUNNING for a person."""
        return "INTERRUPTED" if self.is_stopped else self.trial.state.value

    def seen(self, metric: str) -> float | None:
        """Returns a metric's value by its strategy, or None if the trial does not have it."""
        observation = self.trial.observations.get(metric)
        return None if observation is None else observation.value(self.objective.strategy(metric))

    def last(self, metric: str) -> float | None:
        """Returns a metric's last value, whatever its strategy, or None without one."""
        observation = self.trial.observations.get(metric)
        return None if observation is None else observation.latest

    def shown(self, metric: str) -> float | None:
        """Returns an objective's value, or its last reported value while the trial runs."""
        if self.trial.state is TrialState.RUNNING:
            return self.latest.get(metric)
        metrics = [aim.metric for aim in self.objective.aims]
        return objective_values(self.objective, self.trial)[metrics.index(metric)]

    @cached_property
    def seconds(self) -> float | None:
        """The seconds that the trial took, or has taken up to ``now``; None if unknown."""
        if self.is_stopped:
            return None
        if self.trial.end or not self.now:
            return self.trial.duration
        return replace(self.trial, end=self.now).duration


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        name: The column's name for programs.
        heading: The column's name for people.
        value: Returns a row's value as plain data, or None if there is none.
        text: Returns a row's text for people; by default the value in the style of its kind.
        kind: The kind of the values; text by default.
        is_given: Whether the heading is a name from the Experiment, which outputs must not change.
        is_objective: Whether the column holds an objective.
        is_parameter: Whether the column holds a parameter, of which narrow outputs leave some out.
        is_kept: Whether the column stays however narrow the output is.
        outputs: The outputs that show the column; all by default.
    """

    name: str
    heading: str
    value: Callable[[Row], Any]
    text: Callable[[Row, Style], str] | None = None
    kind: Kind = Kind.TEXT
    is_given: bool = False
    is_objective: bool = False
    is_parameter: bool = False
    is_kept: bool = False
    outputs: frozenset[Output] = _EVERYWHERE

    @property
    def is_number(self) -> bool:
        """Whether the cells are numbers, which outputs align at the right."""
        return self.kind in (Kind.NUMBER, Kind.LENGTH)

    def cell(self, row: Row, style: Style) -> str:
        """Returns the text of a row's cell."""
        text = self.text(row, style) if self.text is not None else self._plain(row, style)
        return text or style.nothing

    def _plain(self, row: Row, style: Style) -> str:
        value = self.value(row)
        if value is None:
            return ""
        writers = {Kind.NUMBER: style.number, Kind.LENGTH: style.length}
        return writers.get(self.kind, str)(value)


Columns = Callable[[Experiment, Sequence[Trial]], Iterator[Column]]
"""Yields columns that depend on the experiment and its trials."""

_ALL_BUT_JSON = _EVERYWHERE - {Output.JSON}
"""The outputs of the columns that repeat a trial's record, which JSON contains itself."""


def _objectives(experiment: Experiment, _: Sequence[Trial]) -> Iterator[Column]:
    for aim in experiment.spec.objective.aims:

        def text(row: Row, style: Style, metric: str = aim.metric) -> str:
            value = row.shown(metric)
            return "" if value is None else style.number(value)

        column = _metric(aim.metric, experiment.spec.objective)
        yield replace(column, text=text, is_objective=True, is_kept=True)


def _metrics(experiment: Experiment, trials: Sequence[Trial]) -> Iterator[Column]:
    objective = experiment.spec.objective
    aims = {aim.metric for aim in objective.aims}
    observed = (name for trial in trials for name in trial.observations)
    for name in dict.fromkeys([*objective.metric_names, *observed]):
        if name not in aims:
            yield _metric(name, objective)


def _metric(name: str, objective: Objective) -> Column:
    strategy = objective.strategy(name)
    which = "" if strategy is StrategyValue.LATEST else f" ({strategy})"

    def text(row: Row, style: Style) -> str:
        is_running = row.trial.state is TrialState.RUNNING
        value = row.latest.get(name) if is_running else row.seen(name)
        return "" if value is None else style.number(value)

    return Column(
        f"metrics_{name}",
        f"{name}{which}",
        lambda row: row.seen(name),
        text,
        kind=Kind.NUMBER,
        is_given=True,
        outputs=_ALL_BUT_JSON,
    )


def _latest(experiment: Experiment, trials: Sequence[Trial]) -> Iterator[Column]:
    """Yields a column of last values for each metric of which another value is shown."""
    objective = experiment.spec.objective
    names = dict.fromkeys([*objective.metric_names, *(n for t in trials for n in t.observations)])
    for name in names:
        rows = (Row(trial, objective) for trial in trials if name in trial.observations)
        if any(repr(row.last(name)) != repr(row.seen(name)) for row in rows):  # NaN is NaN

            def value(row: Row, metric: str = name) -> float | None:
                return row.last(metric)

            yield Column(
                f"latest_{name}",
                f"{name} (latest)",
                value,
                kind=Kind.NUMBER,
                is_given=True,
                outputs=frozenset({Output.PAGE, Output.FRAME}),
            )


def _parameters(outputs: frozenset[Output]) -> Columns:
    """Returns what makes the parameters' columns for some outputs."""

    def columns(experiment: Experiment, trials: Sequence[Trial]) -> Iterator[Column]:
        known = {parameter.name: parameter for parameter in experiment.spec.parameters}
        assigned = (name for trial in trials for name in trial.assignments)
        for name in dict.fromkeys([*known, *assigned]):
            yield _parameter(name, known.get(name), outputs)

    return columns


_MOST_SHOWN = 60
"""Characters of an assignment that is no parameter's, as a network's description, in a cell."""


def _parameter(name: str, parameter: Parameter | None, outputs: frozenset[Output]) -> Column:
    def value(row: Row) -> Any:
        text = row.trial.assignments.get(name)
        return text if parameter is None or text is None else typed_value(parameter, text)

    def text(row: Row, style: Style) -> str:
        assigned = row.trial.assignments.get(name, "")
        if len(assigned) > _MOST_SHOWN and parameter is None:
            return f"{assigned[:_MOST_SHOWN]}..."
        if parameter is None or parameter.type is not ParameterType.DOUBLE or not assigned:
            return assigned
        try:
            return style.number(float(assigned))
        except ValueError:  # in a history of somebody else
            return assigned

    return Column(
        f"params_{name}",
        name,
        value,
        text,
        Kind.NUMBER,
        is_given=True,
        is_parameter=True,
        outputs=outputs,
    )


def _duration(row: Row, style: Style) -> str:
    """Returns how long a trial took, and how long it was queued if that was over a second."""
    if row.is_stopped:
        return ""
    if row.trial.state is TrialState.RUNNING and row.trial.start is None:
        return "queued"
    text = "" if row.seconds is None else style.length(row.seconds)
    if style.waits and row.trial.waited is not None and row.trial.waited > 1:
        text = f"{text}, after {style.length(row.trial.waited)} in the queue".removeprefix(", ")
    return text


def _reason(row: Row, style: Style) -> str:
    if style.message is None:
        return row.trial.reason
    is_failed = row.trial.state is TrialState.FAIL
    text = cause_of(row.trial) if is_failed else row.trial.message
    return style.message(f"{row.trial.reason} {text}".strip())


def _notice(row: Row, _: Style) -> str:
    if row.trial.state is TrialState.FAIL:
        return cause_of(row.trial)
    is_over = row.trial.state.is_finished
    return row.trial.message.split("\n")[0] if is_over else row.notice


_FRAME = frozenset({Output.FRAME})
_WHERE_TIMED = frozenset({Output.SHOW, Output.LIVE, Output.PAGE})
_WHERE_REASONED = frozenset({Output.SHOW, Output.MARKDOWN, Output.FRAME})

COLUMNS: tuple[Column | Columns, ...] = (
    Column("number", "Trial", lambda row: row.trial.number, is_kept=True, outputs=_ALL_BUT_JSON),
    Column(
        "state",
        "State",
        lambda row: row.trial.state.value,
        lambda row, _: row.state,
        is_kept=True,
        outputs=_ALL_BUT_JSON,
    ),
    _objectives,
    _parameters(_ALL_BUT_JSON - _FRAME),
    _metrics,
    _parameters(_FRAME),
    _latest,
    Column("queued", "Queued", lambda row: row.trial.queued, None, Kind.TIME, outputs=_FRAME),
    Column("start", "Start", lambda row: row.trial.start, None, Kind.TIME, outputs=_FRAME),
    Column("end", "End", lambda row: row.trial.end, None, Kind.TIME, outputs=_FRAME),
    Column("time", "Time", lambda row: row.seconds, _duration, Kind.LENGTH, outputs=_WHERE_TIMED),
    Column("reason", "Reason", lambda row: row.trial.reason, _reason, outputs=_WHERE_REASONED),
    Column("notice", "", lambda row: row.notice, _notice, outputs=frozenset({Output.LIVE})),
    Column("logs", "Logs", lambda row: dict(row.logs), outputs=frozenset({Output.PAGE})),
)
"""The columns in their order, and what makes those that depend on the experiment."""


def columns_of(experiment: Experiment, trials: Sequence[Trial], output: Output) -> list[Column]:
    """Returns the columns of an output for some trials of an experiment."""
    made: list[Column] = []
    for entry in COLUMNS:
        made += [entry] if isinstance(entry, Column) else entry(experiment, trials)
    return [column for column in made if output in column.outputs]


def fitting(columns: Sequence[Column], needed: Callable[[Column], int], width: int) -> list[Column]:
    """Returns the columns for which a narrow output has room.

    It loses parameters from the right, then other columns from the right, and never a trial's
    number, its state or an objective.

    Args:
        columns: The columns.
        needed: Returns the characters that a column takes, with what parts it from the next one;
            0 for one that takes what the others leave.
        width: The characters of the output.
    """
    left = list(columns)
    takes = {column.name: needed(column) for column in left}
    losable = [column for column in left if not column.is_kept and takes[column.name]]
    losable.sort(key=lambda column: column.is_parameter)
    while losable and sum(takes[column.name] for column in left) > width:
        left.remove(losable.pop())
    return left


def rows_of(
    experiment: Experiment,
    trials: Sequence[Trial],
    logs: Mapping[int, Mapping[str, str]] | None = None,
    now: str | None = None,
    best: Best | None = None,
    is_stopped: bool = False,
) -> list[Row]:
    """Returns a row for each trial.

    Args:
        experiment: The experiment of the trials.
        trials: The trials, in the rows' order.
        logs: Trial number to replica name to the path or address of its log; none by default.
        now: The time (UTC, ISO 8601), to show how long running trials have run; None not to.
        best: The best of all trials; by default the best of ``trials``.
        is_stopped: Whether nobody runs the trials that are on record as running.
    """
    objective = experiment.spec.objective
    best = best or best_of(objective, trials)
    numbers = {trial.number for trial in best.trials}
    return [
        Row(
            trial,
            objective,
            trial.number in numbers,
            now,
            logs=(logs or {}).get(trial.number, {}),
            is_stopped=is_stopped and trial.state is TrialState.RUNNING,
        )
        for trial in trials
    ]
