"""Reads a run's steps from the task details of Kubeflow Pipelines' answer.

From 2.17 on the answer has Argo's nodes as they are: a Retry node around every template, so that a
step is there as ``start`` and as ``start(0)``; the container of each step as ``executor``; the
Workflow by its own name; and the exit handler as ``exit-handler-1.onExit``. Tasks that have not
begun have no state.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from katibflow.client.base import Run, Step

__all__ = ["DRIVER", "LAST_STEP", "PASSED", "counted", "is_frame", "steps_of"]

LAST_STEP = "finish"
"""The step that stops the trials' jobs, however the run ended."""

DRIVER = "-driver"
"""Ends the name of the engine's own step before each step."""

PASSED = ("SUCCEEDED", "SKIPPED", "PENDING")
"""States of a driver that tell nothing more than its step."""

_ATTEMPT = re.compile(r"\(\d+(:\d+)?\)$")  # of a Retry node, or of a loop's iteration
_CONTAINER = "executor"
_LATEST = datetime.max.replace(tzinfo=UTC)
_ON_EXIT = ".onExit"
_FRAME = re.compile(
    r"(condition|exit-handler|for-loop)-\d+|iteration(-.*)?|next(-round)?|root|round|trials|"
    r"experiment|executor"
)


def is_frame(step: str) -> bool:
    """Returns whether a step only has others inside, so that it fails only if one of them does."""
    return _FRAME.fullmatch(step.removesuffix(_ON_EXIT)) is not None


def steps_of(tasks: Sequence[Any]) -> tuple[Step, ...]:
    """Returns the steps of a run, each by its task's key and once for each time that it runs.

    The answer has them in no order; here the first to start is the first.

    Args:
        tasks: The answer's ``task_details``, as KFP's API client reads them.
    """
    named = [task for task in tasks if task.display_name]
    named.sort(key=lambda task: task.start_time or task.create_time or _LATEST)
    whole = {task.display_name for task in named}
    workflows = {
        child.pod_name.rpartition("-")[0]
        for task in named
        for child in task.child_tasks or ()
        if child.pod_name
    }
    found = []
    for task in named:
        name = _ATTEMPT.sub("", task.display_name)
        is_repeated = name != task.display_name and name in whole
        # A nested attempt, as ``item(0:0)(0)``, stands beside ``item(0:0)``.
        is_engine_s = name == _CONTAINER or name.endswith(_ON_EXIT) or name in workflows
        if not (is_repeated or is_engine_s or _ATTEMPT.search(name)):
            found.append(Step(name, task.state or "PENDING"))
    return tuple(found)


def counted(run: Run) -> tuple[tuple[str, str, str], ...]:
    """Returns how often each of a run's steps is in which state, without the engine's own."""
    steps = [
        each
        for each in run.steps
        if not (is_frame(each.name) or (each.name.endswith(DRIVER) and each.state in PASSED))
    ]
    counts = Counter((each.name, each.state) for each in steps)
    return tuple((name, state, str(count)) for (name, state), count in counts.items())
