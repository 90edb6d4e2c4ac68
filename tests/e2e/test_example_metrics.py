"""The example with metrics in a file, run on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from katibflow import steps
from katibflow.steps.files import read_study, write_study
from katibflow.study.history import History, TrialState
from katibflow.validation.rules import load_experiment
from tests.paths import ROOT
from tests.shell_trials import outputs

KATIBFLOW = (sys.executable, "-m", "katibflow")


@pytest.mark.long
def test_the_example_with_metrics_in_a_file_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [*KATIBFLOW, "run", "examples/metrics-file.yaml", "--json", "--runs", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    records = sorted(tmp_path.glob("metrics-file/trials/*/record.json"))
    assert len(records) == 4
    for path in records:
        record = json.loads(path.read_text())
        assert record["state"] == "COMPLETE"
        assert [point["epoch"] for point in record["intermediate"]] == list(range(1, 11))
        seen = record["observations"]
        assert seen["loss"]["latest"] == seen["loss"]["min"] > 0
        assert seen["accuracy"]["max"] == pytest.approx(1 / (1 + seen["loss"]["min"]))


def test_the_steps_of_a_pipeline_hand_the_metrics_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KATIBFLOW_RUNNER", "local")
    monkeypatch.setenv("KATIBFLOW_RUNS", str(tmp_path / "runs"))
    study, log, after = outputs(tmp_path, "study", "log", "after")
    experiment = load_experiment(ROOT / "examples" / "metrics-file.yaml")
    write_study(study.path, History(experiment, run="0a1b2c3d", seed=1))
    item, *_ = steps.suggestion(study.path)
    ended = steps.launcher(study.path, item, log)
    assert ended == "0 COMPLETE TrialSucceeded"
    # What the metrics' file holds is no output of the trial.
    assert [line for line in log.text.splitlines() if "epoch" in line] == [
        f"epoch {number} done" for number in range(1, 11)
    ]
    steps.collector(study.path, [ended], after)
    (trial,) = read_study(after.path).trials
    assert (trial.state, len(trial.intermediate)) == (TrialState.COMPLETE, 10)
