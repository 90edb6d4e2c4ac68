"""The launcher and report steps with trials on Kubernetes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from katibflow.errors import InputError
from katibflow.history import TrialState
from katibflow.steps import collector, start, suggestion
from katibflow.steps.files import read_study
from katibflow.steps.launching import runner_for
from tests.kubernetes.plays import completes
from tests.kubernetes.server import ApiServer
from tests.pipeline.test_finish import kubeconfig
from tests.shell_trials import ROOM, document

ONE = {"parallelTrialCount": "1", "maxTrialCount": "1"}

_CALL = """
import json, sys
from katibflow import steps
print("RETURNED", json.dumps(getattr(steps, sys.argv[1])(*sys.argv[2:])))
"""


def _step(environment: dict[str, str], name: str, *arguments: str) -> tuple[Any, str]:
    """A step in a process of its own: what it returned, and what it printed before."""
    done = subprocess.run(
        [sys.executable, "-c", _CALL, name, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed, _, returned = done.stdout.rpartition("RETURNED ")
    return json.loads(returned), printed


def test_a_round_and_its_report(tmp_path: Path) -> None:
    study, after = (str(tmp_path / name) for name in ("study", "after"))
    log, page, text = (str(tmp_path / name) for name in ("log", "page", "text"))
    start(json.dumps(document("")), ONE, "rounds", "the-run", "", ROOM, study)
    (item,) = suggestion(study)
    server = ApiServer()
    server.script = completes(["loss=0.25"])
    try:
        environment = kubeconfig(tmp_path, server)
        (outcome, told), printed = _step(environment, "launcher", study, item, log)
        collector(study, [str(outcome)], {told["trial"]: log}, after)
        (best, result, metrics), _ = _step(environment, "report", study, page, text)
    finally:
        server.down()
    assert "loss=0.25\n" in printed
    assert Path(log).read_text(encoding="utf-8") == "loss=0.25\n"
    (trial,) = read_study(after).trials
    assert (trial.state, trial.observations["loss"].latest) == (TrialState.COMPLETE, 0.25)
    assert best == result["best"]["assignments"] == dict(trial.assignments)
    assert metrics["best loss"] == 0.25
    assert f"<span>{trial.job}</span>" in Path(page).read_text(encoding="utf-8")
    (job,) = server.objects["jobs"].values()
    assert job["metadata"]["labels"]["katibflow/run"] == read_study(study).run


def test_a_launcher_tried_again_after_its_trial_was_on_record_tells_the_same(
    tmp_path: Path,
) -> None:
    study = str(tmp_path / "study")
    start(json.dumps(document("")), ONE, "rounds", "the-run", "", ROOM, study)
    (item,) = suggestion(study)
    server = ApiServer()
    server.script = completes(["loss=0.5", "loss=0.25"])
    trials = []
    try:
        environment = kubeconfig(tmp_path, server)
        for name in ("first", "second"):
            log, after = (str(tmp_path / f"{name}-{what}") for what in ("log", "after"))
            (outcome, told), _ = _step(environment, "launcher", study, item, log)
            collector(study, [str(outcome)], {told["trial"]: log}, after)
            trials += read_study(after).trials
            # The pods went when the trial was on record, and their logs with them.
            assert server.objects["pods"] == {}
    finally:
        server.down()
    assert trials[0].state is TrialState.COMPLETE
    assert [point.value for point in trials[0].intermediate] == [0.5, 0.25]
    assert trials[1] == trials[0]
    assert server.count("create", "jobs") == 1


def test_an_unknown_runner_is_named_with_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = str(tmp_path / "study")
    start(json.dumps(document("")), ONE, "rounds", "the-run", "", ROOM, study)
    monkeypatch.setenv("KATIBFLOW_RUNNER", "docker")
    with pytest.raises(InputError, match='found "docker"; allowed: kubernetes, local'):
        runner_for(read_study(study))
