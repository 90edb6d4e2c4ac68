"""Chooses the layout of an experiment's pipeline, `rounds` or `controller`, and checks its size.

The sizes are computed in `steps.capacity`; the DAGs are in `pipelines`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from katibflow.errors import InputError
from katibflow.experiment.further_runs import FURTHER_RUNS, further_runs_of
from katibflow.experiment.types import Experiment
from katibflow.steps.capacity import (
    AUTO_SHARE,
    KFP,
    MAX_ROUNDS,
    OBJECT_LIMIT,
    RUN_SHARE,
    Capacity,
    Growth,
    rounds_of,
)

__all__ = ["AUTO", "LAYOUTS", "MAX_PARTS", "Choice", "choose_layout"]

AUTO = "auto"
LAYOUTS = (AUTO, "rounds", "controller")

_MAX_DOCUMENT = 115_000
"""The greatest size in bytes of the Experiment; its argument also has a step's other inputs."""

MAX_PARTS = 2
"""The greatest number of experiments in one pipeline; each gets a share of the object."""


@dataclass(frozen=True)
class Choice:
    """The layout that was chosen.

    Attributes:
        layout: ``rounds`` or ``controller``.
        why: Why it was chosen, in a sentence.
        room: Bytes that the rounds of a run may take in the Workflow object.
    """

    layout: str
    why: str
    room: int


def choose_layout(
    experiment: Experiment,
    layout: str,
    *,
    library: int,
    is_part: bool,
    source: str | None = None,
    run_as: Experiment | None = None,
    growth: Growth = KFP,
    copies: int | None = 1,
) -> Choice:
    """Returns the layout for an experiment.

    ``auto`` is ``rounds`` where the whole experiment takes at most `AUTO_SHARE` of a Workflow
    object, since a step for each trial is easier to follow, and else ``controller``.

    Args:
        experiment: The Experiment as in its file. The room depends on it alone, since the compiled
            file has the room and is the same for all runs of one layout.
        layout: One of `LAYOUTS`.
        library: Length of the library in the pipeline, in characters; 0 without one.
        is_part: Whether the experiment shares the object with other parts of a pipeline.
        source: The name of the Experiment's origin, for errors; by default the Experiment's name.
        run_as: The Experiment with the run's parameters, as far as they are known; by default
            ``experiment``.
        growth: How the engine's object grows.
        copies: How often the experiment is in the object, more than once in a loop; None if only
            the run knows. Then ``auto`` is ``controller``.

    Raises:
        InputError: There is no such layout; or the experiment is larger than a Workflow object, or
            has more trials, at a time or in all, than one run of ``rounds`` can hold.
    """
    if layout not in LAYOUTS:
        raise InputError(f'layout: found "{layout}"; allowed: {", ".join(LAYOUTS)}')
    where = source or f"experiment {experiment.name}"
    _check_length(experiment, where)
    capacity = Capacity.of(experiment, library, growth)
    limit = OBJECT_LIMIT / (MAX_PARTS if is_part else 1)
    copied = ((copies or 1) - 1) * growth.copy
    room = int((limit * RUN_SHARE - capacity.base - copied) / (copies or 1))
    if room < 0 and copied:
        fitting = max(0, 1 + int((limit * RUN_SHARE - capacity.base) / growth.copy))
        raise InputError(
            f"{where}: found it {copies} times in a loop; allowed: at most {fitting} times, as "
            f"Argo can store {OBJECT_LIMIT:,} bytes of a run: submit the others as runs of "
            "their own"
        )
    if room < 0:
        raise InputError(
            f"{where}: spec.trialTemplate: found an Experiment with which a run takes "
            f"{capacity.base:,.0f} bytes before its first trial; allowed: at most "
            f"{limit * RUN_SHARE:,.0f}, as Argo can store {OBJECT_LIMIT:,} of a run: keep long "
            "scripts in the image or in a ConfigMap that the trials mount"
        )
    spec = (run_as or experiment).spec
    most, parallel = spec.max_trial_count, spec.parallelism
    fitting = capacity.most_rounds(parallel, room)
    if layout == "rounds":
        fault = capacity.too_wide(parallel, room)
        if fault is not None:
            raise InputError(f"{where}: {fault}")
        can_follow = not is_part and copies == 1 and growth is KFP
        _check_rounds(run_as or experiment, where, fitting, can_follow)
    if layout == AUTO:
        layout, why = _chosen(capacity, most, parallel, limit, copies, copied)
        return Choice(layout, why, room)
    return Choice(layout, "it was asked for", room)


def _check_rounds(experiment: Experiment, where: str, fitting: int, can_follow: bool) -> None:
    """Checks that a run, and those that may follow it, can hold all trials.

    Args:
        experiment: The experiment.
        where: The name of its origin, for errors.
        fitting: The number of rounds that one run holds.
        can_follow: Whether further runs may follow by themselves.
    """
    most, parallel = experiment.spec.max_trial_count, experiment.spec.parallelism
    if most is None:
        return
    rounds = rounds_of(most, parallel)
    further = rounds_of(rounds, fitting) - 1
    given = further_runs_of(experiment) if can_follow else 0
    if further <= given:
        return
    chained = (
        f"submit --further-runs {further}, or the annotation {FURTHER_RUNS}, with which each run "
        "starts the next one"
    )
    raise InputError(
        f"{where}: spec.maxTrialCount: found {most}, which is {rounds} rounds of {parallel}; "
        f"allowed: at most {(1 + given) * fitting * parallel}, since one run of the layout rounds "
        f"holds {fitting} such rounds (or {f'{chained}; or ' if can_follow else ''}--layout "
        "controller, which has no rounds)"
    )


def _chosen(
    capacity: Capacity,
    most: int | None,
    parallel: int,
    limit: float,
    copies: int | None,
    copied: float,
) -> tuple[str, str]:
    if copies is None:
        return "controller", "only the run knows how many times the loop that it is in goes round"
    if most is None:
        return "controller", "without maxTrialCount no number of rounds is certain to be enough"
    rounds = rounds_of(most, parallel)
    if rounds > MAX_ROUNDS:
        return (
            "controller",
            f"{most} trials are {rounds} rounds, and a run holds {MAX_ROUNDS}",
        )
    bytes_of_rounds = copies * capacity.of_rounds(rounds, parallel)
    share = (capacity.base + copied + bytes_of_rounds) / OBJECT_LIMIT
    why = f"{most} trials in rounds of {parallel} take {share:.0%} of what Argo can store of a run"
    if share <= AUTO_SHARE * limit / OBJECT_LIMIT:
        return "rounds", why
    return "controller", why


def _check_length(experiment: Experiment, where: str) -> None:
    """Checks that the Experiment fits into one argument of a step's command."""
    text = json.dumps(experiment.document(), ensure_ascii=False)
    length = len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"))
    if length > _MAX_DOCUMENT:
        raise InputError(
            f"{where}: spec.trialTemplate: found an Experiment of {length:,} bytes, written as "
            f"JSON in JSON; allowed: at most {_MAX_DOCUMENT:,}, as Linux takes 131,072 in one "
            "argument of a command: keep long scripts in the image or in a ConfigMap that the "
            "trials mount"
        )
