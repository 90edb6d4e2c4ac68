"""Shares the processors of this machine among trials that run side by side.

Libraries such as PyTorch and NumPy start a thread for each processor, in every trial. As many
trials as run at a time would then fight for the processors, and each become several times slower.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from katibflow.runners.local.manifest import JobPlan

__all__ = ["THREADS", "processors_here", "with_threads"]

THREADS = "OMP_NUM_THREADS"

_SHARES_ITSELF = re.compile(r"(?:^|/)(?:torchrun|accelerate)$|torch\.distributed\.(?:run|launch)")
"""Launchers that set the variable themselves, for the processes that they start."""


def processors_here() -> int:
    """Returns how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def with_threads(
    plan: JobPlan, side_by_side: int, processors: int, around: Mapping[str, str] = os.environ
) -> JobPlan:
    """Returns the plan with a default number of threads for each replica.

    A replica with a limit of ``cpu`` gets as many threads as that; the others share the processors.
    Nothing is set where the caller or the template sets the variable, or all would be one's own.

    Args:
        plan: The plan of a trial's job.
        side_by_side: How many trials run at a time.
        processors: How many processors there are.
        around: The caller's environment.
    """
    if THREADS in around:
        return plan
    share = max(1, processors // (side_by_side * plan.parallelism))
    replicas = []
    for replica in plan.replicas:
        words = [*(replica.container.get("command") or ()), *(replica.container.get("args") or ())]
        number = min(_limit(replica.container) or share, processors)
        if number < processors and not any(_SHARES_ITSELF.search(str(word)) for word in words):
            replica = replace(replica, defaults={**replica.defaults, THREADS: str(number)})
        replicas.append(replica)
    return replace(plan, replicas=tuple(replicas))


def _limit(container: Mapping[str, Any]) -> int | None:
    """Returns the limit of ``cpu``, rounded down to whole processors but one at least."""
    resources = container.get("resources")
    limits = resources.get("limits") if isinstance(resources, Mapping) else None
    amount = str(limits.get("cpu") or "") if isinstance(limits, Mapping) else ""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", amount)
    if match is None:
        return None
    return max(1, int(float(match[1]) / (1000 if match[2] else 1)))
