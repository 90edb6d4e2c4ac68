"""The tests that every kind of metrics collector passes, on every runner."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

import pytest

from katibflow.collectors import Collector, collector_for
from katibflow.engine.trial import collect, conclude
from katibflow.experiment.types import Experiment
from katibflow.runners.base import JobOutcome
from katibflow.runners.events import Event
from katibflow.study.history import Observation, Point, Trial, TrialState
from katibflow.validation.rules import check_document
from tests.behaviour.collectors.forms import FORMS, Form
from tests.shell_trials import document

Reports = Sequence[Mapping[str, Any]]
ORDER = (0.5, 0.25, 0.375, 0.1, 0.2)
REPORTS: Reports = tuple(
    {"epoch": number + 1, "time": 1767225600.5 + number, "loss": value, "accuracy": 1 - value}
    for number, value in enumerate(ORDER)
)


class Place(Protocol):
    """Runs trials."""

    def run(self, experiment: Experiment, form: Form, reports: Reports) -> Ran:
        """Runs a trial that reports in the form; returns its events and the job's end."""


class Ran:
    """A trial that has run."""

    def __init__(
        self, experiment: Experiment, trial: Trial, events: Sequence[Event], outcome: JobOutcome
    ) -> None:
        self.experiment, self.trial = experiment, trial
        self.events, self.outcome = events, outcome

    def finished(self) -> Trial:
        return conclude(self.experiment, self.trial, self.outcome, self._collected, end="then")

    @property
    def series(self) -> Mapping[str, Sequence[Point]]:
        return self._collected.series

    @property
    def _collected(self) -> Collector:
        collector = collector_for(self.experiment.spec)
        for event in self.events:
            collect(collector, event)
        return collector


def experiment_of(form: Form, **objective: Any) -> Experiment:
    """Returns an Experiment whose only container runs the form's program."""
    spec: dict[str, Any] = {
        "spec.objective": {
            "type": "minimize",
            "objectiveMetricName": "loss",
            "additionalMetricNames": ["accuracy"],
            **objective,
        },
    }
    if form.spec:
        spec["spec.metricsCollectorSpec"] = form.spec
    return check_document(document("", spec), "test")


def reports_as_text(reports: Reports) -> str:
    plain = [
        {key: "nan" if value != value else value for key, value in report.items()}
        for report in reports
    ]
    return json.dumps(plain)


@pytest.fixture(params=FORMS.values(), ids=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    given: Form = request.param
    return given


class CollectorContract:
    """The contract; a subclass gives a fixture ``place``, a `Place`."""

    def test_the_series_is_the_same_in_every_form(self, place: Place, form: Form) -> None:
        ran = place.run(experiment_of(form), form, REPORTS)
        for metric in ("loss", "accuracy"):
            points = ran.series[metric]
            assert [p.value for p in points] == pytest.approx([r[metric] for r in REPORTS])
            assert [p.step for p in points] == list(range(len(REPORTS)))
            assert [instant(p.time) for p in points] == [r["time"] for r in REPORTS]
            epochs = [r["epoch"] if form.has_epochs else None for r in REPORTS]
            assert [p.epoch for p in points] == epochs

    def test_each_metric_is_summed_up(self, place: Place, form: Form) -> None:
        strategies = [{"name": "loss", "value": "latest"}, {"name": "accuracy", "value": "max"}]
        tried = experiment_of(form, metricStrategies=strategies)
        finished = place.run(tried, form, REPORTS).finished()
        assert (finished.state, finished.reason) == (TrialState.COMPLETE, "TrialSucceeded")
        assert finished.observations["loss"] == Observation(latest=0.2, min=0.1, max=0.5)
        assert finished.observations["accuracy"] == Observation(latest=0.8, min=0.5, max=0.9)

    def test_what_is_not_finite_is_kept_and_never_best(self, place: Place, form: Form) -> None:
        reports = [{**REPORTS[0], "loss": math.nan}, *REPORTS[1:2]]
        finished = place.run(experiment_of(form), form, reports).finished()
        assert [math.isnan(p.value) for p in finished.intermediate] == [True, False]
        assert finished.observations["loss"].min == 0.25

    def test_a_metric_that_does_not_come_is_explained(self, place: Place, form: Form) -> None:
        reports = [{**report, "loss2": report["loss"]} for report in REPORTS]
        for report in reports:
            del report["loss"]  # type: ignore[misc]
        objective = {"objectiveMetricName": "los_s", "additionalMetricNames": ["accuracy"]}
        ran = place.run(experiment_of(form, **objective), form, reports)
        finished = ran.finished()
        assert (finished.state, finished.reason) == (TrialState.FAIL, "MetricsUnavailable")
        assert re.search(r"without reporting los_s( \([^:]*loss2[^:]*\))?: ", finished.message)
        assert finished.observations["accuracy"].max == pytest.approx(0.9)

    def test_a_trial_that_tells_nothing_is_explained(self, place: Place, form: Form) -> None:
        finished = place.run(experiment_of(form), replace(form, program=""), ()).finished()
        assert (finished.state, finished.reason) == (TrialState.FAIL, "MetricsUnavailable")
        searched = r"the job succeeded without reporting loss: [01] (lines|scalars|new values) "
        assert re.match(searched, finished.message)


def instant(text: str | None) -> float:
    assert text is not None
    return datetime.fromisoformat(text).timestamp()
