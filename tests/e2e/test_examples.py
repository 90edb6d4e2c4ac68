"""The examples, run as their first lines say; the MNIST ones run in the README's tests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from katibflow import Result
from katibflow.study.history import TrialState
from tests.paths import ROOT
from tests.warm import client as warm

EXAMPLES = ROOT / "examples"


def run_as_it_says(name: str, runs: Path) -> dict[str, Any]:
    """Runs the command in the file's comment, and gives what it prints with --json."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    (command,) = re.findall(rf"^#   katibflow (run examples/{name}.*)$", text, re.MULTILINE)
    done = warm.run(*command.split(), "--json", "--runs", runs, cwd=ROOT, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.long
def test_a_job_with_scikit_learn_is_tuned(tmp_path: Path) -> None:
    result = run_as_it_says("sklearn.yaml", tmp_path)
    assert result["trials"] == {"COMPLETE": 10}
    assert result["best"]["objective"] > 0.95


@pytest.mark.long
def test_hyperband_gives_more_epochs_to_the_better_half(tmp_path: Path) -> None:
    run_as_it_says("hyperband.yaml", tmp_path)
    trials = Result.load(tmp_path / "hyperband").history.trials
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    epochs = [int(trial.assignments["epochs"]) for trial in trials]
    assert epochs[:9] == [1] * 9
    first = [trial.observations["accuracy"].latest for trial in trials[:9]]
    best = sorted(range(9), key=lambda number: -first[number])[:3]
    promoted = [trial for trial in trials[9:] if trial.assignments["epochs"] == "3"][:3]
    settings = [trial.assignments["lr"] for trial in promoted]
    assert sorted(settings) == sorted(trials[number].assignments["lr"] for number in best)
    assert all(len(trial.intermediate) == int(trial.assignments["epochs"]) for trial in trials)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.long
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    notebook = nbformat.read(EXAMPLES / "tune.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = "".join(
        output.get("text", "") + str(output.get("data", ""))
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    result = Result.load(tmp_path / "runs" / "digits")
    assert len(result.trials) == 8
    assert f"trial {result.best.number}: accuracy {result.best.value:.3f}" in outputs
    assert repr(result.best.params["lr"]) in outputs
    assert "plotly" in outputs
    assert (tmp_path / "digits-pipeline.yaml").is_file()


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = json.loads((EXAMPLES / "tune.ipynb").read_text(encoding="utf-8"))
    assert all(not cell.get("outputs") for cell in notebook["cells"])
