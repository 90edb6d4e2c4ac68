"""What the report says beside its plots, and what the plots show beside Optuna's own."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from katibflow.engine.events import MetricReported, TrialEnded, TrialStarted
from katibflow.errors import InputError, KatibflowError
from katibflow.report.drawing import spans_decades
from katibflow.report.page import render_report
from katibflow.report.plots import figure_of, plot_names
from katibflow.runs.live_page import LivePage
from katibflow.study.ending import Ending
from katibflow.study.history import History, Observation, Point, Trial, TrialState
from tests.samples import experiment

TRACEBACK = (
    "job-0 failed with exit code 1; the last lines of job-0:\n"
    'Traceback (most recent call last):\n  File "train.py", line 3\nValueError: <b>bad</b>'
)


def seen(value: float) -> Observation:
    return Observation(value, value, value)


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02}.000+00:00"


def history(*losses: float) -> History:
    of = experiment(
        {
            "spec.algorithm.algorithmSettings": [{"name": "random_state", "value": "7"}],
            "spec.maxTrialCount": 9,
            "spec.objective.goal": 0.001,
        }
    )
    trials = [
        Trial(
            number,
            TrialState.COMPLETE,
            {"lr": "0.12345678901"},
            {"loss": seen(loss), "acc": seen(0.87654321)},
            queued=at(number),
            start=at(number),
            end=at(number + 2),
        )
        for number, loss in enumerate(losses)
    ]
    count = len(trials)
    return History(
        of,
        "r",
        7,
        (
            *trials,
            Trial(count, TrialState.FAIL, {"lr": "0.3"}, reason="TrialFailed", message=TRACEBACK),
            Trial(count + 1, TrialState.PRUNED, {"lr": "0.3"}, {"loss": seen(9.0)}),
            Trial(count + 2, TrialState.PRUNED, {"lr": "0.4"}),
        ),
    )


def page(of: History) -> str:
    return render_report(of, Ending(True, "Over", ""), {})


def test_the_page_says_what_was_searched_with_which_settings_and_when() -> None:
    text = page(history(0.5))
    assert "<td>lr</td><td>double</td><td>0.1 to 0.5</td>" in text
    for name, value in (
        ("Objective", "minimize loss, goal 0.001"),
        ("Algorithm", "random (random_state=7)"),
        ("Seed", "7"),
        ("Trials at most", "9"),
        ("Failed trials at most", "no limit"),
        ("Started", "2026-01-01 00:00:00 UTC"),
        ("Ended", "2026-01-01 00:00:02 UTC"),
        ("In all", "2.0 s"),
    ):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in text, name


def test_the_best_card_has_all_metrics_and_every_exact_value_is_at_hand() -> None:
    text = page(history(0.11498765432))
    best = text[text.index('id="best"') :].split("</section>")[0]
    assert '<b><span title="0.11498765432">0.114988</span></b>' in best
    assert '<dt>lr</dt><dd><span title="0.12345678901">0.123457</span></dd>' in best
    assert '<dt>acc (min)</dt><dd><span title="0.87654321">0.876543</span></dd>' in best
    row = text[text.index('<tr id="trial-0"') :].split("</tr>")[0]
    assert '<td class="num" title="0.11498765432"><b>0.114988</b></td>' in row
    assert '<td class="num" title="0.12345678901">0.123457</td>' in row


def test_failures_stand_by_their_cause_with_the_traceback_as_it_was_printed() -> None:
    text = page(history(0.5))
    failures = text[text.index('id="failures"') :].split("</section>")[0]
    assert "<summary>1 trial: <b>ValueError: &lt;b&gt;bad&lt;/b&gt;</b></summary>" in failures
    lines = TRACEBACK.partition("\n")[2]
    shown = lines.replace("<", "&lt;").replace(">", "&gt;").replace(chr(34), "&quot;")
    assert f"<pre>{shown}</pre>" in failures
    assert '<a href="#trial-1">1</a>' in failures


def test_the_history_plot_marks_what_failed_and_what_was_pruned() -> None:
    figure = figure_of(history(0.5, 0.4), "history")
    marks = {trace.name: trace for trace in figure.data}
    assert list(marks["Failed"].x) == [2]
    assert "ValueError" in marks["Failed"].text[0]
    assert (list(marks["Pruned"].x), list(marks["Pruned"].y)) == ([3], [9.0])
    assert list(marks["Pruned, no value"].x) == [4]
    assert figure.layout.yaxis.type is None  # 0.4 to 9 spans no two decades


def test_an_axis_is_logarithmic_where_values_are_positive_and_span_decades() -> None:
    assert spans_decades([0.001, 0.5])
    assert not spans_decades([0.01, 0.5])
    assert not spans_decades([0.0, 0.5])
    assert not spans_decades([-1.0, 500.0])
    assert not spans_decades([])
    figure = figure_of(history(0.05, 0.4), "history")
    assert (figure.layout.yaxis.type, figure.layout.yaxis2.type) == ("log", None)


def test_a_plot_that_is_not_there_is_refused_with_those_that_are() -> None:
    assert plot_names(history(0.5))[0] == "history"
    with pytest.raises(InputError, match="plots: found hist; allowed: history, importance"):
        figure_of(history(0.5), "hist")
    with pytest.raises(KatibflowError, match="No trial has completed"):
        figure_of(history(), "history")


def test_only_a_page_of_a_run_that_goes_on_loads_itself_again() -> None:
    assert "data-refresh" not in page(history(0.5))
    live = render_report(history(0.5), Ending(None, "NotFinished", ""), {}, refresh=10.0)
    assert '<main data-refresh="10.0"' in live
    assert '<noscript><meta http-equiv="refresh" content="10.0"></noscript>' in live


def test_the_page_is_written_while_the_run_goes_on_with_the_reports_so_far() -> None:
    of = replace(history(), trials=())
    written: list[History] = []
    done = threading.Event()

    def write(now: History, refresh: float) -> None:
        written.append(now)
        if now.trials and now.trials[0].state is TrialState.COMPLETE:
            done.set()
        raise KatibflowError("a page that cannot be written harms no run")

    trial = Trial(0, TrialState.RUNNING, {"lr": "0.2"})
    with LivePage(of, write, period=0.001) as live:
        live(TrialStarted(trial, False))
        live(MetricReported(0, "loss", Point(0, 0.5)))
        live(TrialEnded(replace(trial, state=TrialState.COMPLETE), {}))
        assert done.wait(10)
    assert written[-1].trials[0].state is TrialState.COMPLETE


def test_a_short_run_has_no_page_before_its_end() -> None:
    written: list[History] = []
    with LivePage(history(0.5), lambda now, _: written.append(now)) as live:
        live(TrialStarted(Trial(9, TrialState.RUNNING, {}), False))
    assert written == []
