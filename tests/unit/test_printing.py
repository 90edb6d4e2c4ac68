"""Tests that what others wrote does nothing to a terminal."""

from __future__ import annotations

import io
from datetime import datetime

from rich.console import Console

from katibflow.engine.events import TrialEnded, TrialStarted
from katibflow.printing import say, visible
from katibflow.progress.display import LineProgress, TableProgress
from katibflow.progress.status import Status
from katibflow.study.best import best_of
from katibflow.study.history import Observation, Trial, TrialState
from tests.samples import experiment

CLIPBOARD = "\x1b]52;c;cm0gLXJm\x07"
VALUE = f"0.1\n12:00:00 trial 9 complete{CLIPBOARD}\r\x9b2J\u202e"
METRIC = "loss[/x][link=http://e]"
FOREIGN = experiment(
    {
        "spec.objective.objectiveMetricName": METRIC,
        "spec.parameters.0.name": "[/]",
        "spec.trialTemplate.trialParameters.0.reference": "[/]",
    }
)
RUNNING = Trial(0, TrialState.RUNNING, {"[/]": VALUE}, start="2026-01-01T00:00:00.000+00:00")
ENDED = Trial(
    0,
    TrialState.COMPLETE,
    {"[/]": VALUE},
    {METRIC: Observation(1, 1, 1)},
    start="2026-01-01T00:00:00.000+00:00",
    end="2026-01-01T00:00:01.000+00:00",
    reason="Done",
    message=f"first\n12:00:00 trial 8 complete {CLIPBOARD}",
)


def test_what_cannot_be_printed_is_shown() -> None:
    assert visible("a\tb\nc") == "a\tb\nc"
    assert visible("a\tb\nc", lines=False) == r"a\tb\nc"
    assert visible(VALUE, lines=False).isprintable()
    assert visible("\udcff ä 漢") == r"\udcff ä 漢"
    stream = io.StringIO()
    say("a", CLIPBOARD, file=stream)
    assert stream.getvalue() == "a\n\\x1b]52;c;cm0gLXJm\\x07\n"


def test_the_lines_of_a_run_are_its_own() -> None:
    stream = io.StringIO()
    status = Status.of(FOREIGN, ())
    with LineProgress(status, stream, clock=lambda: datetime(2026, 1, 1, 7)) as shown:
        shown(TrialStarted(RUNNING, resumed=False))
        shown(TrialEnded(ENDED, {}))
    lines = stream.getvalue().splitlines()
    assert [line[:8] for line in lines] == ["07:00:00", "07:00:00", "  12:00:"]
    assert all(line.isprintable() for line in lines)
    assert all(line.isprintable() for line in best_of(FOREIGN.spec.objective, [ENDED]).lines())


def test_no_name_is_markup_in_the_table() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=300, height=40, _environ={})
    with TableProgress(Status.of(FOREIGN, ()), console) as shown:
        shown(TrialStarted(RUNNING, resumed=False))
        shown(TrialEnded(ENDED, {}))
    text = stream.getvalue()
    assert METRIC in text
    assert "[/]" in text
    for sequence in ("\x1b]5", "\x07", "\x9b", "\u202e"):
        assert sequence not in text
