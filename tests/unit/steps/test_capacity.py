"""What a run is said to take, beside Workflow objects that were recorded on a real engine.

Recorded with KFP 2.17, Argo 4.0.8 and PyTorchJobs on 2026-11-28; the library's text is cut out of
them. One is of a run with ten trials at a time at its end, one of a run with three at a time, after
six rounds. The third is of 2026-11-29, with Jobs, two at a time, and launchers that Argo ends by a
command of ours.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from katibflow.client.workflow import read_workflow
from katibflow.experiment.types import Experiment
from katibflow.steps.capacity import KFP, OBJECT_LIMIT, STOP_COMMAND, Capacity
from tests.doubles.kfp.workflows import recorded

OF_TEN = "workflow-4-rounds-of-10"
OF_THREE = "workflow-6-rounds-of-3"
OF_TWO = "workflow-2-rounds-of-2-jobs"

EARLIER = replace(KFP, trial=KFP.trial - STOP_COMMAND)
"""How the runs grew whose launchers had no such command."""

_LAYER = ".next(0)"
"""Is in a node's name for each round that its own is in."""


def experiment_in(body: dict[str, Any]) -> Experiment:
    """The Experiment that a recorded run had."""
    nodes = body["status"]["nodes"].values()
    (start,) = (n for n in nodes if n["name"].endswith(".start-driver(0)"))
    inputs = {each["name"]: each["value"] for each in start["inputs"]["parameters"]}
    given = json.loads(inputs["task"])["inputs"]["parameters"]["experiment"]
    return Experiment.model_validate(json.loads(given["runtimeValue"]["constant"]))


def size_after(body: dict[str, Any], rounds: int) -> int:
    """Bytes of the object when so many rounds of it were over, and the next one's DAG begun."""
    nodes = {
        key: node
        for key, node in body["status"]["nodes"].items()
        if node["name"].count(_LAYER) < rounds
    }
    return read_workflow({**body, "status": {**body["status"], "nodes": nodes}}).size


def test_a_run_at_its_end_takes_what_was_said() -> None:
    body = recorded(OF_TEN)
    capacity = Capacity.of(experiment_in(body), growth=EARLIER)
    said = capacity.base + capacity.of_rounds(4, 10)
    assert read_workflow(body).size == pytest.approx(said, rel=0.05)


def test_a_run_whose_launchers_are_ended_by_a_command_takes_no_more_than_was_said() -> None:
    body = recorded(OF_TWO)
    capacity = Capacity.of(experiment_in(body))
    said = capacity.base + capacity.of_rounds(2, 2)
    assert 0.9 * said < read_workflow(body).size <= said


def test_each_round_takes_what_was_said() -> None:
    body = recorded(OF_THREE)
    capacity = Capacity.of(experiment_in(body), growth=EARLIER)
    sizes = [size_after(body, rounds) for rounds in range(1, 7)]
    said = [capacity.of_rounds(rounds, 3) for rounds in range(1, 7)]
    grown, told = ([b - a for a, b in pairwise(each)] for each in (sizes, said))
    assert sum(grown) == pytest.approx(sum(told), rel=0.1)
    assert all(
        size == pytest.approx(share, rel=0.25) for size, share in zip(grown, told, strict=True)
    )


def test_the_first_round_leaves_most_of_the_object_free() -> None:
    library = 100_000
    assert size_after(recorded(OF_THREE), 1) + library < 250_000 < OBJECT_LIMIT / 4
