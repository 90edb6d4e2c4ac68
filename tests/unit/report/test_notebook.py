"""What a notebook shows of an Experiment and of a result."""

from __future__ import annotations

import pytest

from katibflow.api.experiment import Experiment
from katibflow.api.result import Result
from katibflow.errors import KatibflowError
from katibflow.study.ending import Ending
from tests.samples import DOCUMENT
from tests.unit.report.test_page import history


def test_an_experiment_shows_its_objective_and_its_space() -> None:
    shown = Experiment(DOCUMENT)._repr_html_()
    assert "<b>sample</b>: minimize loss, algorithm random" in shown
    assert "<td>lr</td><td>double</td><td>0.1 to 0.5</td>" in shown


def test_a_result_shows_how_it_ended_its_best_and_its_best_trials_first() -> None:
    result = Result(history(*(1 / (number + 2) for number in range(12))), Ending(True, "", "Done."))
    shown = result._repr_html_()
    assert "<b>sample</b>: Succeeded. Done." in shown
    assert "14 of 15 trials succeeded" in shown.replace("&quot;", "")
    table = shown[shown.rindex("<tbody>") :]
    assert table.startswith("<tbody><tr><td>11</td>")
    assert "and 5 more trials" in table
    assert "<b>bad" not in shown


def test_the_plots_are_figures_made_when_asked_for() -> None:
    result = Result(history(0.5, 0.4), Ending(True, "", ""))
    assert [trace.name for trace in result.plots.history().data][:2] == ["loss", "Best Value"]
    assert result.plots.names[0] == "history"
    with pytest.raises(KatibflowError, match="found front; allowed: history"):
        result.plots.front()
