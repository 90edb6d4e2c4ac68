"""A metric whose value is a text, as the genotype that DARTS reports."""

from __future__ import annotations

import math

import pytest

from katibflow.collectors import collector_for
from katibflow.engine.trial import conclude
from katibflow.runners.base import JobOutcome, JobState
from katibflow.study.history import Trial, TrialState
from katibflow.study.reasons import TrialReason
from tests.nas import KATIBS, model
from tests.samples import experiment

LINE = "Best-Genotype=Genotype(normal=[[('max_pooling_3x3',0)]],reduce=[])"


def test_a_text_is_what_a_trial_of_an_architecture_search_found() -> None:
    of = model(KATIBS["darts-cpu"])
    collector = collector_for(of.spec)
    collector.feed("epoch 1 Best-Genotype=none yet")
    collector.feed(LINE)
    trial = conclude(
        of, Trial(0, TrialState.RUNNING, {}), JobOutcome(JobState.SUCCEEDED), collector
    )
    assert (trial.state, trial.reason) == (TrialState.COMPLETE, TrialReason.SUCCEEDED)
    seen = trial.observations["Best-Genotype"]
    assert seen.text == LINE.partition("=")[2]
    assert all(map(math.isnan, (seen.latest, seen.min, seen.max)))


@pytest.mark.parametrize("line", ["loss=abc", "loss="])
def test_elsewhere_a_text_is_no_report(line: str) -> None:
    source = {"filter": {"metricsFormat": [r"([\w-]+)=(.*)"]}}
    of = experiment({"spec.metricsCollectorSpec": {"source": source}})
    collector = collector_for(of.spec)
    assert collector.feed(line) == ()
    assert collector.texts == {}
    assert collector.missed_lines() == [line]
