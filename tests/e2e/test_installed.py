"""What a step installs is enough for what it does."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from katibflow.compiler.emit import compile_experiment
from katibflow.steps.files import write_study
from katibflow.study.history import History, Observation, Trial, TrialState
from tests.shell_trials import experiment

_SUMMARY = """
import json, sys
from types import SimpleNamespace
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED:
            raise ImportError(f"{name} is not installed in this step")
REFUSED = set(json.loads(sys.argv[1]))
sys.meta_path.insert(0, Refused())
from katibflow import steps
steps.summary(sys.argv[2], SimpleNamespace(path=sys.argv[3], metadata={}))
"""


def _with_what_they_need(names: set[str]) -> set[str]:
    """Distributions and all that they require, by normal name."""
    found: set[str] = set()
    waiting = sorted(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found.add(name)
        for text in importlib.metadata.requires(name) or ():
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                waiting.append(wanted.name)
    return found


def _installs(step: str) -> set[str]:
    spec = next(yaml.safe_load_all(compile_experiment(experiment("echo loss=1")).text))
    command = spec["deploymentSpec"]["executors"][f"exec-{step}"]["container"]["command"][2]
    (names,) = re.findall(r"katibflow\.steps\.installing ([\w .-]+);", command)
    return {*names.split()}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Four complete trials of two rounds, with a parameter that matters."""
    now = "2026-01-01T00:00:00+00:00"
    trials = tuple(
        Trial(
            number=number,
            state=TrialState.COMPLETE,
            assignments={"x": str(20 * number)},
            observations={"loss": Observation(value, value, value)},
            start=now,
            end=now,
        )
        for number, value in enumerate((0.5, 0.25, 0.75, 1.0, 0.3, 0.4, 0.6, 0.7))
    )
    history = History(experiment("echo loss=1"), run="0a1b2c3d", seed=1)
    write_study(str(tmp_path / "study"), replace(history, trials=trials, rounds=2))
    return tmp_path / "study"


def test_a_summary_draws_its_plots(study: Path, tmp_path: Path) -> None:
    installed = _with_what_they_need(_installs("summary") - {"kfp"})
    assert "optuna" in installed and "scikit-learn" not in installed
    refused = [
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if not installed & {canonicalize_name(owner) for owner in owners}
        and not {"katibflow", "pip", "setuptools"} & set(owners)
    ]
    assert {"sklearn", "scipy", "kfp", "kubernetes"} <= set(refused)
    page = tmp_path / "page"
    command = [sys.executable, "-c", _SUMMARY, json.dumps(refused), str(study), str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    html = page.read_text(encoding="utf-8")
    assert "Optuna could not draw this" not in html
    assert all(f'id="plot-{name}"' in html for name in ("history", "importance", "slice"))
