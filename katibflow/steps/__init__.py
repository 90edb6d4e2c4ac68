"""What the pipeline's components call: one function a step, plain values and paths in and out.

A component puts the packed library on ``sys.path`` and calls the function of its own name. The
study travels between the steps as a folder (`katibflow.steps.files`).
"""

from __future__ import annotations

from katibflow.steps.controlling import controller
from katibflow.steps.launching import launcher
from katibflow.steps.presenting import report, summary
from katibflow.steps.rounds import collector, loop, suggestion
from katibflow.steps.starting import start
from katibflow.steps.stopping import finish

__all__ = [
    "collector",
    "controller",
    "finish",
    "launcher",
    "loop",
    "report",
    "start",
    "suggestion",
    "summary",
]
