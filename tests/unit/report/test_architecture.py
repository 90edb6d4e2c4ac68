"""The picture of the best architecture in the report."""

from __future__ import annotations

import math

import pytest

from katibflow.report.architecture import architecture_html, graphs_of
from katibflow.report.page import render_report
from katibflow.report.table import Output, Style, columns_of, rows_of
from katibflow.study.ending import Ending
from katibflow.study.history import History, Observation, Trial, TrialState
from tests.nas import KATIBS, model

GENOTYPE = (
    "Genotype(normal=[[('max_pooling_3x3',0),('skip<b>',1)],[('max_pooling_3x3',2)]],"
    "normal_concat=range(2,4),reduce=[],reduce_concat=range(2,4))"
)
NETWORK = (
    "{'num_layers': 3, 'input_sizes': [8, 8, 1], 'output_sizes': [10], 'embedding': {"
    "'5': {'opt_id': 5, 'opt_type': 'convolution', 'opt_params': {'filter_size': '3'}}, "
    "'0': {'opt_id': 0, 'opt_type': 'reduction', 'opt_params': {'pool_size': 2}}}}"
)


def drawn(architecture: str, network: str = NETWORK) -> Trial:
    assigned = {"architecture": architecture, "nn_config": network}
    seen = {"Validation-Accuracy": Observation(0.5, 0.5, 0.5)}
    return Trial(3, TrialState.COMPLETE, assigned, seen)


def test_layers_stand_below_each_other_with_what_is_joined() -> None:
    graph = graphs_of(drawn("[[5], [0, 1], [5, 0, 1]]"), "")["Network"]
    assert [box.label for box in graph.boxes] == [
        "input 8x8x1",
        "1: convolution",
        "2: reduction",
        "3: convolution",
        "output 10",
    ]
    assert graph.boxes[2].detail == "pool_size 2"
    assert sorted(graph.edges) == [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (3, 4)]


def test_a_cell_of_darts_has_its_operations_between_its_nodes() -> None:
    graphs = graphs_of(drawn("", ""), GENOTYPE)
    assert list(graphs) == ["Normal cell"]
    graph = graphs["Normal cell"]
    labels = [box.label for box in graph.boxes]
    assert labels[2:] == [
        *("max_pooling_3x3", "skip<b>", "node 1"),
        *("max_pooling_3x3", "node 2", "output"),
    ]
    assert {(0, 2), (2, 4), (1, 3), (3, 4), (4, 5), (5, 6), (4, 7), (6, 7)} == {*graph.edges}


@pytest.mark.parametrize(
    "architecture", ["", "[[5]", "[[9], [0, 1], [5, 0, 1]]", "[[5], 3]", "__import__('os')"]
)
def test_what_cannot_be_read_is_not_drawn(architecture: str) -> None:
    assert graphs_of(drawn(architecture), "") == {}
    assert graphs_of(drawn(architecture), "Genotype(normal=exit())") == {}


def test_a_long_text_is_cut_in_a_table_and_whole_for_programs() -> None:
    trials = (drawn("[[5]]", "x" * 500),)
    of = model(KATIBS["enas-cpu"])
    (column,) = (
        each for each in columns_of(of, trials, Output.SHOW) if each.name == "params_nn_config"
    )
    (row,) = rows_of(of, trials)
    assert column.cell(row, Style()) == "x" * 60 + "..."
    assert column.value(row) == "x" * 500


def test_the_report_draws_the_best_trial_without_a_script() -> None:
    history = History(model(KATIBS["enas-cpu"]), "r", 1, (drawn("[[5], [0, 1], [5, 0, 1]]"),))
    text = architecture_html(history)
    assert text.count("<rect") == 5
    assert 'href="#trial-3"' in text
    nothing = Observation(math.nan, math.nan, math.nan, GENOTYPE)
    found = Trial(0, TrialState.COMPLETE, {}, {"Best-Genotype": nothing})
    history = History(model(KATIBS["darts-cpu"]), "r", 1, (found,))
    page = render_report(history, Ending(True, "Done", ""), {})
    picture = page[page.index('<section class="card" id="architecture">') :]
    picture = picture[: picture.index("</section>")]
    assert "skip&lt;b&gt;" in picture
    assert not {"<script", "style=", "onload", "<b>"} & {*picture.split('"')}
    assert "<b>skip" not in page and "skip<b>" not in page
