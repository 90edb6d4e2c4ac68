"""Runs the contract for trials in a cluster, whose kubelet runs the containers as processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from katibflow.engine.trial import run_trial
from katibflow.errors import RunnerError
from katibflow.experiment.timeouts import Limits
from katibflow.experiment.types import Experiment
from katibflow.runners.events import Event
from katibflow.runners.kubernetes import metrics_sources
from katibflow.runners.kubernetes.rbac import pages_role
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import Trial, TrialState
from tests.behaviour.collectors.collector_contract import (
    REPORTS,
    CollectorContract,
    Ran,
    Reports,
    experiment_of,
    form,
    reports_as_text,
)
from tests.behaviour.collectors.forms import FOLDER, FORMS, LOG, Form
from tests.doubles.kubernetes.kubelet import Kubelet
from tests.doubles.kubernetes.lab import EXPERIMENT, RUN, Lab

__all__ = ["form"]


class ClusterPlace:
    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
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
        self.lab.template = template
        volumes = [FOLDER, str(Path(LOG).parent), "/logs/here"]
        self.lab.server.script = kubelet = Kubelet(self.folder, volumes)
        trial = Trial(0, TrialState.RUNNING, {"x": "1"}, job=f"{EXPERIMENT}-{RUN}-0")
        events: list[Event] = []
        runner = self.lab.runner()
        limits = Limits(trial=30)
        with closing(kubelet):
            outcome = run_trial(runner, experiment, trial, events.append, StopRequest(), limits)
        return Ran(experiment, trial, events, outcome)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterPlace]:
    monkeypatch.setattr(metrics_sources, "SCRAPE_PERIOD", 0.02)
    lab = Lab(tmp_path)
    lab.server.rules = [*(lab.server.rules or ()), *pages_role()["rules"]]
    yield ClusterPlace(lab, tmp_path)
    lab.close()


class TestClusterCollectors(CollectorContract):
    pass


def test_without_leave_to_read_pages_the_role_is_named(place: ClusterPlace) -> None:
    place.lab.server.rules = [rule for rule in place.lab.server.rules or () if _no_proxy(rule)]
    form = FORMS["PrometheusMetric"]
    with pytest.raises(RunnerError, match=r"(?s)pods/proxy.*Apply this in the cluster:.*pages"):
        place.run(experiment_of(form), form, REPORTS)


def _no_proxy(rule: Mapping[str, Any]) -> bool:
    return "pods/proxy" not in rule["resources"]


def test_a_cluster_without_native_sidecars_is_named(place: ClusterPlace) -> None:
    def admit(plural: str, body: dict[str, Any]) -> None:
        for item in body["spec"].get("initContainers", []) if plural == "pods" else ():
            item.pop("restartPolicy", None)  # as a CustomResourceDefinition prunes it

    place.lab.server.admit = admit
    form = FORMS["File"]
    with pytest.raises(RunnerError, match=r"native sidecars: Kubernetes 1\.29"):
        place.run(experiment_of(form), replace(form, program=""), ())
