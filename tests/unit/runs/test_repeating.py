"""The options that repeat the start before, in the error about a run that differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from katibflow.errors import InputError
from katibflow.runs.folder import RunFolder
from katibflow.runs.overrides import Overrides, checked_with_overrides
from katibflow.runs.repeating import options_as_before
from katibflow.study.changes import Change
from katibflow.study.history import History
from katibflow.validation.rules import check_document
from tests.samples import DOCUMENT, experiment


def test_an_option_that_was_left_out_is_the_first_way_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    seeded = checked_with_overrides(DOCUMENT, Overrides(seed=7), "f.yaml", check_document)
    folder.save(History(seeded, "0a1b2c3d", 1))
    with pytest.raises(InputError, match=r"\nallowed: --seed 7 \(seed=7\), as before; or --fresh"):
        folder.begin("f.yaml", experiment())


@pytest.mark.parametrize(
    ("path", "then", "text"),
    [
        ("spec.objective.goal", "0.1", "--goal 0.1 (goal=0.1), as before"),
        ("spec.objective.goal", "nothing", "no --goal (goal=None), as before"),
        ("--python", ".venv", '--python .venv (python=".venv"), as before'),
        (
            "spec.trialTemplate.trialSpec.spec.env[0]",
            '{"name": "A", "value": "1"}',
            "--env A=1 (env={'A': ...}), as before",
        ),
        ("train.py", "another version of this file", ""),
    ],
)
def test_each_option_is_named_with_its_value(path: str, then: str, text: str) -> None:
    assert options_as_before([Change(path, "nothing", then)]) == text


def test_one_change_that_no_option_makes_leaves_all_out() -> None:
    seed = Change("spec.algorithm.algorithmSettings.random_state", "nothing", '"1"')
    assert options_as_before([seed, Change("train.py", "another", "before")]) == ""
