"""The page of very many trials: what the plots draw, and the packed table."""

from __future__ import annotations

import base64
import re
import zlib
from itertools import pairwise

from katibflow.report.drawn import drawn_of
from katibflow.report.plots import figure_of
from katibflow.report.trials_html import trials_html
from katibflow.study.best import best_of
from katibflow.study.history import History, Observation, Trial, TrialState
from tests.samples import experiment


def many(count: int) -> History:
    """The best trial is one of the last, and every 40th trial failed."""
    made = []
    for number in range(count):
        loss = abs(number - (count - 7)) / count + (number % 3) / 2
        failed = number % 40 == 3
        made.append(
            Trial(
                number,
                TrialState.FAIL if failed else TrialState.COMPLETE,
                {"lr": f"0.{number + 1:05}"},
                {} if failed else {"loss": Observation(loss, loss, loss)},
            )
        )
    return History(experiment(), "r", 7, tuple(made))


def test_a_drawn_part_has_the_best_each_record_and_all_that_failed() -> None:
    of = many(3000)
    drawn = drawn_of(of, 400)
    kept = {trial.number for trial in drawn.history.trials}
    assert 400 <= len(kept) <= 600
    assert drawn.count_text == f"{len(kept)} of 3,000 trials"
    assert {trial.number for trial in of.trials if trial.state is TrialState.FAIL} <= kept
    objective = of.experiment.spec.objective
    assert best_of(objective, drawn.history.trials) == best_of(objective, of.trials)
    best, records = float("inf"), set()
    for trial in of.trials:
        seen = trial.observations.get("loss")
        if seen is not None and seen.min < best:
            best = seen.min
            records.add(trial.number)
    assert len(records & kept) >= 90
    assert max(number - before for before, number in pairwise(sorted(kept))) < 30


def test_a_run_with_few_trials_is_drawn_whole() -> None:
    assert drawn_of(many(40), 40).count_text == ""
    assert drawn_of(many(40), 40).history == many(40)


def test_very_many_rows_are_packed_and_the_first_and_the_best_stand_there() -> None:
    table = trials_html(many(1001), {}, False)
    found = re.search(r'id="packed">([^<]*)<', table)
    assert found is not None
    rows = zlib.decompress(base64.b64decode(found[1])).decode()
    assert rows.count("<tr id=") == 1001
    assert '<th scope="row">1000</th>' in rows
    assert "The table shows 101 of 1,001 trials" in table
    assert re.findall(r'id="trial-(\d+)"', table)[99:] == ["99", "993"]
    assert "packed" not in trials_html(many(1000), {}, False)


def test_a_plot_of_a_part_says_so_in_its_title_and_every_value_is_at_its_trial() -> None:
    of = many(1600)
    figure = figure_of(of, "history")
    assert re.fullmatch(
        r"Optimization History Plot \(1,\d{3} of 1,600 trials\)", figure.layout.title.text
    )
    values, best = figure.data[0], figure.data[1]
    losses = {t.number: t.observations["loss"].min for t in of.trials if t.observations}
    assert all(losses[number] == value for number, value in zip(values.x, values.y, strict=True))
    assert best.x[-1] == 1599
    assert best.y[-1] == min(losses.values())
