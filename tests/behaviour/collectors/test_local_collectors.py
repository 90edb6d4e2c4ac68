"""Runs the contract for trials that are processes of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from katibflow.engine.trial import run_trial
from katibflow.experiment.timeouts import Limits
from katibflow.experiment.types import Experiment
from katibflow.runners.events import Event
from katibflow.runners.local import metrics_sources
from katibflow.runners.local.runner import LocalRunner
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import Trial, TrialState
from tests.behaviour.collectors.collector_contract import (
    CollectorContract,
    Ran,
    Reports,
    form,
    reports_as_text,
)
from tests.behaviour.collectors.forms import Form

__all__ = ["form"]


class LocalPlace:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, experiment: Experiment, form: Form, reports: Reports) -> Ran:
        template = experiment.spec.trial_template
        assert template.trial_spec is not None
        (container,) = template.trial_spec["spec"]["template"]["spec"]["containers"]
        container["command"] = ["python3", "-c", form.source]
        container["env"] += [
            {"name": "METRICS", "value": form.path},
            {"name": "REPORTS", "value": reports_as_text(reports)},
        ]
        trial = Trial(0, TrialState.RUNNING, {"x": "1"}, job="contract-0a1b2c3d-0")
        events: list[Event] = []
        runner = LocalRunner(self.folder)
        limits = Limits(trial=30)
        outcome = run_trial(runner, experiment, trial, events.append, StopRequest(), limits)
        runner.close()
        return Ran(experiment, trial, events, outcome)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalPlace:
    monkeypatch.setattr(metrics_sources, "SCRAPE_PERIOD", 0.02)
    return LocalPlace(tmp_path)


class TestLocalCollectors(CollectorContract):
    pass
