"""A run that begins anew with an Optuna storage, or goes on in another place."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from katibflow import Experiment
from katibflow.errors import InputError
from katibflow.runs.folder import RunFolder
from katibflow.runs.options import Options
from katibflow.validation.rules import check_document
from tests.shell_trials import document


def test_a_run_that_begins_anew_has_a_study_of_its_own_and_goes_on_in_it(tmp_path: Path) -> None:
    made = Experiment(document("echo loss=$X"))
    url = f"sqlite:///{tmp_path}/studies.db"

    def run(fresh: bool = False, trials: int = 1) -> str:
        result = made.run(
            runs=tmp_path / "runs",
            storage=url,
            fresh=fresh,
            max_trial_count=trials,
            parallel_trial_count=1,
            progress=False,
        )
        return result.history.run

    first = run()
    second = run(fresh=True)
    assert first != second
    run(trials=2)
    names = {f"{made.name}": 1, f"{made.name}-{second}": 2}
    found = optuna.get_all_study_summaries(url)
    assert {each.study_name: each.n_trials for each in found} == names


def test_another_place_is_told(tmp_path: Path) -> None:
    experiment = check_document(document("true"), "e.yaml")
    folder = RunFolder(tmp_path)
    here = {"--on": "kubernetes", "--namespace": "a"}
    history, _ = folder.begin("e.yaml", experiment, place=here)
    folder.save(history)
    assert folder.begin("e.yaml", experiment, place=here)[1] == ()
    there = {**here, "--namespace": "b"}
    with pytest.raises(InputError, match="--namespace: found b"):
        folder.begin("e.yaml", experiment, place=there)
    history, kept = folder.begin("e.yaml", experiment, place=there, keep=True)
    assert [change.path for change in kept] == ["--namespace"]
    assert history.place == there
    with pytest.raises(InputError, match="--on: found local; the trials on record had kubernetes"):
        folder.begin("e.yaml", experiment, place={"--on": "local"})


def test_a_run_cannot_begin_anew_and_keep_its_trials() -> None:
    with pytest.raises(InputError, match="--fresh and --keep"):
        Options("e.yaml", fresh=True, keep=True)
