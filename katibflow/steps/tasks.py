"""Imports all steps' functions, for `katibflow.steps` to load at first use."""

from __future__ import annotations

from katibflow.steps.controlling import controller
from katibflow.steps.launching import launcher
from katibflow.steps.leaving import report_at_end, study_at_end
from katibflow.steps.presenting import report, summary
from katibflow.steps.rounds import collector, loop, suggestion
from katibflow.steps.starting import start
from katibflow.steps.stopping import end_run, finish
from katibflow.steps.termination import stopped_with_its_run

__all__ = [
    "collector",
    "controller",
    "end_run",
    "finish",
    "launcher",
    "loop",
    "report",
    "report_at_end",
    "start",
    "stopped_with_its_run",
    "study_at_end",
    "suggestion",
    "summary",
]
