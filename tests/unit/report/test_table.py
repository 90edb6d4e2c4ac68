"""The table of trials: one registry of columns behind everything that shows trials."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from katibflow.api.result import Result
from katibflow.cli.results import trial_lines
from katibflow.engine.events import MetricReported, TrialStarted
from katibflow.progress.display import TableProgress
from katibflow.progress.status import Status
from katibflow.report import table
from katibflow.report.data import trials_data
from katibflow.report.page import render_report
from katibflow.report.table import Column, Kind, Output, Row, Style, columns_of, rows_of
from katibflow.steps.markdown import markdown
from katibflow.study.ending import Ending
from katibflow.study.history import History, Observation, Point, Trial, TrialState
from tests.samples import experiment

TIMES = [f"2026-01-01T00:00:{second:02}.000+00:00" for second in (0, 30, 42)]


def seen(value: float) -> Observation:
    return Observation(value, value, value)


def history() -> History:
    of = experiment({"spec.objective.additionalMetricNames": ["acc"]})
    return History(
        of,
        "r",
        1,
        (
            Trial(0, TrialState.COMPLETE, {"lr": "0.1"}, {"loss": seen(0.5), "acc": seen(0.75)}),
            Trial(
                1,
                TrialState.FAIL,
                {"lr": "0.25"},
                {"loss": seen(0.1)},
                queued=TIMES[0],
                start=TIMES[1],
                end=TIMES[2],
                reason="OOMKilled",
                message="exit code 137\nlast line",
            ),
            Trial(2, TrialState.RUNNING, {"lr": "0.3"}),
        ),
    )


def live(of: History) -> str:
    console = Console(file=io.StringIO(), width=150, height=40, force_terminal=False)
    progress = TableProgress(Status.of(of.experiment, of.trials), console)
    with console.capture() as shown:
        console.print(progress._render())
    return shown.get()


def frame(of: History) -> str:
    pytest.importorskip("pandas")
    return Result(of, Ending(None, "", "")).trials_dataframe().to_string()


def page(of: History) -> str:
    return (
        render_report(of, Ending(None, "", ""), {})
        .split('<table id="trials">')[1]
        .split("</table>")[0]
    )


RENDERED: dict[Output, Callable[[History], str]] = {
    Output.SHOW: lambda of: "\n".join(trial_lines(of)),
    Output.LIVE: live,
    Output.PAGE: page,
    Output.MARKDOWN: lambda of: markdown("t", of, ""),
    Output.FRAME: frame,
    Output.JSON: lambda of: str(trials_data(of)),
}


def test_every_output_is_rendered_here() -> None:
    assert set(RENDERED) == set(Output)


@pytest.mark.slow
@pytest.mark.parametrize("output", Output)
def test_a_new_column_is_one_line_and_is_shown_everywhere(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = RENDERED[output](history())
    assert "4711" not in before
    new = Column("added", "added", lambda row: 4710 + row.trial.number, is_given=True)
    monkeypatch.setattr(table, "COLUMNS", (*table.COLUMNS, new))
    after = RENDERED[output](history())
    assert "added" in after
    assert all(str(number) in after for number in (4710, 4711, 4712))


@pytest.mark.parametrize("output", Output)
def test_a_column_that_is_taken_out_is_shown_nowhere(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No output writes a column of the table by itself."""
    names = {column.name for column in columns_of(history().experiment, (), output)}
    monkeypatch.setattr(table, "COLUMNS", table.COLUMNS[:2])
    left = {column.name for column in columns_of(history().experiment, (), output)}
    assert left == names & {"number", "state"}
    rendered = RENDERED[output](history())
    if output is not Output.JSON:  # there the record tells it
        assert "0.25" not in rendered


def test_what_the_terminal_shows() -> None:
    assert trial_lines(history()) == [
        "TRIAL  STATE     loss (min)  lr    acc (min)  TIME                         REASON",
        "0      COMPLETE  0.5         0.1   0.75       -                            -",
        "1      FAIL      -           0.25  -          12s, after 30s in the queue  "
        "OOMKilled last line",
        "2      RUNNING   -           0.3   -          queued                       -",
    ]


def test_what_markdown_shows() -> None:
    assert markdown("t", history(), "").splitlines()[4:] == [
        "Best: trial 0, loss 0.5 with lr=0.1",
        "",
        "| trial | state | loss (min) | lr | acc (min) | reason |",
        "| --- | --- | --- | --- | --- | --- |",
        "| 0 | COMPLETE | 0.5 | 0.1 | 0.75 | - |",
        "| 1 | FAIL | - | 0.25 | - | OOMKilled |",
        "| 2 | RUNNING | - | 0.3 | - | - |",
    ]


def test_what_pandas_is_given() -> None:
    pytest.importorskip("pandas")
    shown = Result(history(), Ending(None, "", "")).trials_dataframe()
    assert list(shown.index) == [0, 1, 2]
    assert list(shown["params_lr"]) == [0.1, 0.25, 0.3]
    assert list(shown["metrics_loss"])[:2] == [0.5, 0.1]
    assert math.isnan(shown["metrics_acc"][1])
    assert [str(value) for value in shown["start"]] == ["NaT", "2026-01-01 00:00:30+00:00", "NaT"]


def test_a_trial_without_trials_around_it_has_a_table_too() -> None:
    empty = replace(history(), trials=())
    assert len(trial_lines(empty)) == 1
    assert trials_data(empty) == []
    assert frame(empty)


def test_a_running_trial_shows_its_last_reports_and_the_time_it_runs() -> None:
    of = history()
    status = Status.of(of.experiment, ())
    started = Trial(3, TrialState.RUNNING, {"lr": "0.3"}, queued=TIMES[0], start=TIMES[0])
    for update in (TrialStarted(started, False), MetricReported(3, "loss", Point(0, 0.625))):
        status = status.after(update)
    row = status.table_row(status.rows[3], TIMES[2])
    cells = {
        each.name: each.cell(row, Style(waits=False))
        for each in columns_of(of.experiment, (), Output.LIVE)
    }
    assert (cells["metrics_loss"], cells["time"]) == ("0.625", "42 s")


def test_the_last_value_is_at_hand_where_another_one_is_shown() -> None:
    of = history()
    several = replace(of.trials[0], observations={"loss": Observation(0.75, 0.5, 0.75)})
    columns = {each.name: each for each in columns_of(of.experiment, [several], Output.PAGE)}
    (row,) = rows_of(of.experiment, [several])
    assert columns["metrics_loss"].heading == "loss (min)"
    assert columns["metrics_loss"].value(row) == 0.5
    assert (columns["latest_loss"].heading, columns["latest_loss"].value(row)) == (
        "loss (latest)",
        0.75,
    )
    assert "latest_loss" not in {
        each.name for each in columns_of(of.experiment, of.trials, Output.PAGE)
    }


def test_numbers_have_six_digits_and_counts_all_of_theirs() -> None:
    of = replace(
        history(),
        trials=(Trial(0, TrialState.COMPLETE, {"lr": "0.0123456789", "n": "12345678"}),),
    )
    (_, line) = trial_lines(of)
    assert line.split()[3:5] == ["0.0123457", "12345678"]


def test_a_stopped_trial_is_interrupted_and_its_time_does_not_go_on() -> None:
    of = history()
    begun = replace(of.trials[2], start=TIMES[0])
    (row,) = rows_of(of.experiment, [begun], now=TIMES[2], is_stopped=True)
    cells = {
        each.name: each.cell(row, Style()) for each in columns_of(of.experiment, (), Output.LIVE)
    }
    assert (cells["state"], cells["time"]) == ("INTERRUPTED", "-")


def test_a_narrow_terminal_loses_parameters_from_the_right_and_never_the_objective() -> None:
    names = [f"parameter{number}" for number in range(8)]
    space = {"parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}
    of = experiment({"spec.parameters": [{"name": name, **space} for name in names]})
    trial = Trial(0, TrialState.COMPLETE, dict.fromkeys(names, "0.123456789"), {"loss": seen(0.5)})
    console = Console(file=io.StringIO(), width=60, height=20, force_terminal=False)
    with console.capture() as shown:
        console.print(TableProgress(Status.of(of, (trial,)), console)._render())
    first = shown.get().splitlines()[0].split()
    assert first[:5] == ["trial", "state", "loss", "(min)", "parameter0"]
    assert "parameter7" not in first
    assert "no room for" in shown.get()
    assert "0.5" in shown.get().splitlines()[1]


@pytest.mark.parametrize("width", [70, 45, 20])
def test_show_on_a_narrow_terminal_loses_the_same_and_keeps_every_reason_whole(width: int) -> None:
    first, *rows, note = trial_lines(history(), width)
    assert first.split()[:4] == ["TRIAL", "STATE", "loss", "(min)"]
    kept = {70: ["acc", "(min)", "TIME"], 45: ["acc", "(min)"], 20: []}[width]
    assert first.split()[4:] == [*kept, "REASON"]
    assert rows[1].endswith("OOMKilled last line")
    assert note.startswith("(no room for lr")
    assert trial_lines(history(), 200) == trial_lines(history())


def test_show_calls_a_stopped_runs_trial_interrupted() -> None:
    assert trial_lines(history(), is_stopped=True)[3].split()[:2] == ["2", "INTERRUPTED"]


def test_a_terminal_too_narrow_for_all_keeps_the_objective_and_the_state_whole() -> None:
    of = history()
    console = Console(file=io.StringIO(), width=30, height=20, force_terminal=False)
    with console.capture() as shown:
        console.print(TableProgress(Status.of(of.experiment, of.trials), console)._render())
    lines = [line.split() for line in shown.get().splitlines()[:4]]
    assert lines[0] == ["trial", "state", "loss", "(min)"]
    assert lines[1] == ["0", "*", "complete", "0.5"]


def test_the_live_table_shows_what_a_trial_died_of() -> None:
    message = "job-0 failed with exit code 1; the last lines of job-0:\n  a\n  ValueError: bad x"
    of = replace(
        history(), trials=(Trial(0, TrialState.FAIL, {"lr": "0.1"}, reason="R", message=message),)
    )
    assert "ValueError: bad x" in live(of)


def test_the_best_trial_is_marked_in_its_row() -> None:
    of = history()
    assert [row.is_best for row in rows_of(of.experiment, of.trials)] == [True, False, False]


def test_a_value_is_written_as_its_kind_is() -> None:
    row = Row(history().trials[1], history().experiment.spec.objective)
    style = Style(number="{:.1f}".format, length="{:.0f} seconds".format, nothing="none")
    for kind, value, text in (
        (Kind.NUMBER, 0.25, "0.2"),
        (Kind.LENGTH, 12.0, "12 seconds"),
        (Kind.TEXT, "a", "a"),
        (Kind.TEXT, None, "none"),
    ):
        assert Column("x", "X", lambda _, value=value: value, kind=kind).cell(row, style) == text
