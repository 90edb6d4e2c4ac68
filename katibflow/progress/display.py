"""Shows a running experiment: a live table on a terminal, or else one line for each event.

The state that is shown is in `progress.status`. Import this module late: it imports rich.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import TracebackType
from typing import Literal, Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from katibflow.engine.events import TrialEnded, Update
from katibflow.printing import say, visible
from katibflow.progress.status import Row, Status, describe
from katibflow.report.table import Column, Output, Style, columns_of, fitting
from katibflow.report.table import Row as TableRow
from katibflow.study.counts import ended_text, left_text
from katibflow.study.history import Trial, TrialState, time_text
from katibflow.study.objectives import goals_text

__all__ = ["LineProgress", "Progress", "TableProgress", "bar", "progress_for", "time_left"]

_STYLES = {
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAIL: "red",
    TrialState.KILLED: "dim",
}
_STYLE = Style(waits=False)
_LINES_AROUND_THE_TABLE = 9
_BAR = 40
"""Characters of the bar."""
_REFRESHES_PER_SECOND = 4
_NARROWEST = 6
"""Characters of a column at least."""
_BETWEEN = 2
"""Characters between two columns."""


class Progress(Protocol):
    """A watcher of the engine that shows a run, from ``with`` to the end of its block."""

    def __call__(self, update: Update) -> None:
        """Shows an update of the engine."""

    def __enter__(self) -> Progress:
        """Begins to show the run."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leaves the last state on the screen."""


def progress_for(status: Status, stream: TextIO, since: datetime | None = None) -> Progress:
    """Returns the table if the stream is a terminal, or else the lines.

    Args:
        status: The trials to begin with.
        stream: The stream that the run is shown on.
        since: When the run began, with a time zone; by default the time left is not shown.
    """
    console = Console(file=stream, highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        return TableProgress(status, console, since)
    return LineProgress(status, stream, since=since)


def time_left(status: Status, since: datetime, now: datetime) -> float | None:
    """Returns the seconds until the last trial ends, at the pace since the run's first trial.

    What came before that trial, as a pipeline whose pods wait for room, says nothing of the pace.
    Returns None while no trial has ended since then, or if the experiment has no maxTrialCount.

    Args:
        status: The trials as they are now.
        since: When the run began, with a time zone.
        now: The present time, with a time zone.
    """
    return _Pace(status, since).time_left(status, now)


class _Pace:
    """How many trials have ended since a run began, brought up to date by each that ends.

    Args:
        status: The trials to begin with.
        since: When the run began, with a time zone; None if nobody knows it.
    """

    def __init__(self, status: Status, since: datetime | None) -> None:
        self._since = since
        self._own = 0
        self._first: datetime | None = None
        for row in status.rows.values():
            self.add(row.trial)

    def add(self, trial: Trial) -> None:
        """Takes a trial; one that has not ended, or was killed, does not count."""
        end = trial.end
        if self._since is None or end is None or trial.state is TrialState.KILLED:
            return
        if datetime.fromisoformat(end) < self._since:
            return
        self._own += 1
        start = trial.queued or trial.start
        if start:
            begun = datetime.fromisoformat(start)
            self._first = begun if self._first is None else min(self._first, begun)

    def time_left(self, status: Status, now: datetime) -> float | None:
        """Returns the seconds until the last trial ends; see the function."""
        most = status.experiment.spec.max_trial_count
        if most is None or self._since is None or not self._own:
            return None
        first = max(self._since, self._first or self._since)
        return max(0, most - status.ended) * (now - first).total_seconds() / self._own


def bar(status: Status, since: datetime | None, now: datetime) -> list[RenderableType]:
    """Returns how far a run is as a bar with the time so far; none without maxTrialCount.

    Args:
        status: The trials as they are now.
        since: When the run began, with a time zone; None to leave out the time, as it is of a run
            that was over before.
        now: The present time, with a time zone.
    """
    most = status.experiment.spec.max_trial_count
    if most is None:
        return []
    ended = min(status.ended, most)
    row = Table.grid(padding=(0, 1))
    cells: list[RenderableType] = [ProgressBar(total=most, completed=ended, width=_BAR)]
    cells.append(Text(f"{100 * ended // most}%"))
    if since is not None and not status.was_over:
        seconds = round((now - since).total_seconds())
        cells.append(Text(f"{timedelta(seconds=seconds)} elapsed", style="dim"))
    row.add_row(*cells)
    return [row]


def _left_text(status: Status, pace: _Pace) -> str:
    """Returns the time left as the end of a line, or an empty text if nobody knows it."""
    if status.is_over:
        return ""
    return left_text(pace.time_left(status, datetime.now(UTC)))


def _never_began(before: Status, update: Update) -> bool:
    """Returns whether an update ends a trial that was made at the run's end and not told of."""
    match update:
        case TrialEnded(trial) if trial.state is TrialState.KILLED:
            return before.is_over and trial.number not in before.rows
    return False


class LineProgress:
    """Writes one line of plain text for each event, with the local time."""

    def __init__(
        self,
        status: Status,
        stream: TextIO,
        clock: Callable[[], datetime] = datetime.now,
        since: datetime | None = None,
    ) -> None:
        self._status = status
        self._stream = stream
        self._clock = clock
        self._pace = _Pace(status, since)

    def __call__(self, update: Update) -> None:
        """Writes the line of an update, if the update has one."""
        if _never_began(self._status, update):
            return
        self._status = self._status.after(update)
        left = ""
        if isinstance(update, TrialEnded):
            self._pace.add(update.trial)
            left = _left_text(self._status, self._pace)
        text = describe(self._status, update, left)
        if text is not None:
            self._print(text)

    def _print(self, text: str) -> None:
        say(f"{self._clock():%H:%M:%S} {text}", file=self._stream)

    def __enter__(self) -> LineProgress:
        for line in self._status.opening:
            self._print(line)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.flush()


class TableProgress:
    """Draws a table of the trials, four times a second."""

    def __init__(self, status: Status, console: Console, since: datetime | None = None) -> None:
        self._status = status
        self._since = since
        self._pace = _Pace(status, since)
        self._console = console
        self._live = Live(
            console=console,
            refresh_per_second=_REFRESHES_PER_SECOND,
            get_renderable=self._render,
            vertical_overflow="crop",
        )

    def __call__(self, update: Update) -> None:
        """Changes the status; the next refresh shows the change."""
        self._status = self._status.after(update)
        if isinstance(update, TrialEnded):
            self._pace.add(update.trial)

    def __enter__(self) -> TableProgress:
        for line in self._status.opening:
            self._console.print(_text(line))
        self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def _render(self) -> RenderableType:
        status = self._status
        room = max(3, self._console.height - _LINES_AROUND_THE_TABLE)
        shown = _most_telling(status, room)
        table = Table(box=None, header_style="bold", padding=(0, 1), expand=True)
        now = time_text(datetime.now(UTC))
        table_rows = [status.table_row(each, now) for each in shown]
        every = columns_of(status.experiment, (), Output.LIVE)
        widths = {column.name: _width(column, table_rows) for column in every}
        columns = fitting(every, lambda column: widths[column.name], self._console.width)
        for column in columns:
            heading = column.heading if column.is_given else column.heading.lower()
            side: Literal["left", "right"] = "right" if column.is_number else "left"
            # The column of notices has no heading. It takes the width that the others leave, so
            # that a long notice never pushes a value out.
            width, ratio = (widths[column.name] - _BETWEEN, None) if heading else (None, 1)
            table.add_column(
                _text(heading), justify=side, no_wrap=True, min_width=width, ratio=ratio
            )
        for row in table_rows:
            table.add_row(*(_cell(column, row) for column in columns))
        left_out = [each.heading for each in every if each not in columns]
        return Group(
            table,
            *bar(status, self._since, datetime.now(UTC)),
            *self._lines(len(status.rows) - len(shown), left_out),
        )

    def _lines(self, hidden: int, left_out: Sequence[str]) -> list[Text]:
        status = self._status
        spec = status.experiment.spec
        notes = [f"{hidden} more trials"] if hidden else []
        notes += [f"no room for {', '.join(left_out)}"] if left_out else []
        lines = [_text(f"({'; '.join(notes)})", "dim")] if notes else []
        text = ended_text(status.ended, spec.max_trial_count)
        facts = (status.standing, goals_text(spec.objective)) if status.best.trials else ()
        text += "".join(f", {each}" for each in facts if each)
        text += _left_text(status, self._pace)
        lines.append(_text(text, "bold"))
        if status.alarm:
            lines.append(_text(status.alarm, "bold red"))
        if status.decision is not None and not status.was_over:
            lines.append(_text(f"{status.decision.reason}: {status.decision.message}"))
        return lines


def _text(text: str, style: str = "") -> Text:
    """Returns a text as rich draws it: no markup in it counts, and no escape sequence."""
    return Text(visible(text), style=style)


def _cell(column: Column, row: TableRow) -> Text:
    text = visible(column.cell(row, _STYLE), lines=False)
    match column.name:
        case "number":
            return Text(f"{text} *", style="bold green") if row.is_best else Text(text)
        case "state":
            style = _STYLES[TrialState.PRUNED if row.is_stopped else row.trial.state]
            return Text(text.lower(), style=style)
        case "notice":
            return Text(text, style="dim")
    return Text(text, style="bold" if row.is_best and column.is_objective else "")


def _width(column: Column, rows: Sequence[TableRow]) -> int:
    """Returns the characters that a column takes; 0 for the one that takes what is left."""
    if not column.heading:
        return 0
    cells = (len(_cell(column, row)) for row in rows)
    return _BETWEEN + max(_NARROWEST, len(column.heading), *cells)


def _most_telling(status: Status, room: int) -> list[Row]:
    """Returns at most ``room`` rows: running trials first, then the best, then the newest."""
    running = sorted(status.running, reverse=True)
    best = sorted((trial.number for trial in status.best.trials), reverse=True)
    # They came nearly in the order of their numbers, and a run may have many thousands.
    newest = sorted(status.numbers[-room - len(running) :], reverse=True)
    chosen = islice(dict.fromkeys((*running, *best, *newest)), room)
    return [status.rows[number] for number in sorted(chosen)]
