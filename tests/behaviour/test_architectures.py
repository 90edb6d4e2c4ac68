"""A search of architectures from a file to its report, with trials that are processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from katibflow import Experiment
from katibflow.study.history import TrialState
from tests.nas import FEW, QUICK, darts, enas

# It reads its two arguments as Katib's images do, and prefers the first operation.
TRAIN = """
import json, sys
architecture, network = (
    json.loads(each.partition("=")[2].replace("'", '"')) for each in sys.argv[1:]
)
assert len(architecture) == network["num_layers"] == 2
used = [network["embedding"][str(layer[0])]["opt_params"] for layer in architecture]
print(f"Validation-Accuracy={sum('filter_size' in each for each in used) / 2}")
"""
FOUND = "Genotype(normal=[[('max_pooling_3x3',0),('max_pooling_3x3',1)]],reduce=[])"
SEARCH = """
import json, sys
settings, space, layers = (
    json.loads(each.partition("=")[2].replace("'", '"')) for each in sys.argv[1:]
)
assert (settings["num_epochs"], space, layers) == ("1", ["max_pooling_3x3"], 1)
print("Best-Genotype=%s")
"""


def trained_by(document: dict[str, Any], script: str) -> dict[str, Any]:
    """The document with a script of Python's in place of the program of Katib's image."""
    pod = document["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    arguments = [each for each in container["command"] if "trialParameters" in each]
    container["command"] = [sys.executable, "-c", script, *arguments]
    return document


def test_enas_runs_to_its_end_and_goes_on_where_it_was(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    document = trained_by(enas("enas", 2, FEW, QUICK, (2, 3, 1)), TRAIN)
    document["spec"]["objective"].pop("goal")
    result = Experiment(document).run(runs=tmp_path)
    assert {trial.state for trial in result.trials} == {TrialState.COMPLETE}
    assert '<section class="card" id="architecture">' in result.report.read_text("utf-8")
    document["spec"]["maxTrialCount"] = 5
    result = Experiment(document).run(runs=tmp_path)
    learnt = [trial.attributes.get("enas:learnt_from", []) for trial in result.history.trials]
    assert len(learnt) == 5
    numbers = [number for numbers in learnt for number in numbers]
    assert {0, 1, 2} <= {*numbers} and len(numbers) == len({*numbers})


def test_darts_keeps_the_genotype_that_its_trial_found(tmp_path: Path) -> None:
    settings = {"num_epochs": "1"}
    document = trained_by(darts("darts", settings=settings), SEARCH % FOUND)
    result = Experiment(document).run(runs=tmp_path)
    assert result.succeeded
    (trial,) = result.history.trials
    assert trial.observations["Best-Genotype"].text == FOUND
    assert "max_pooling_3x3" in result.report.read_text("utf-8").partition('class="graph"')[2]
    assert dict(result.best.assignments) == dict(trial.assignments)
