"""Tells what a step printed from what Argo, KFP's launcher and its executor print around it.

A step's log begins with lines of Argo's emissary, of the launcher (in klog's form) and of the KFP
executor, which prints the step's inputs as JSON; pip may print between them. Then comes what the
step printed. It ends with the executor's or the launcher's next line: all after that is theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from katibflow.steps.published import PUBLISHED

__all__ = ["StepOutput", "own_lines"]

_ARGO = re.compile(r"time=\S+ level=\w+ .*\bargo=true\b")
_KLOG = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ (\w+\.go):\d+\] (.*)")
_EXECUTOR = re.compile(r"\[KFP Executor \d{4}-\d\d-\d\d [\d:,]+ [A-Z]+\]: ?(.*)")
_INPUTS = "Got executor_input:"
_LAUNCHER = "launcher_v2.go"
_SAID = {
    # client-go's warning in the launcher, which gives neither time nor file
    "kube_config_path not provided and default location (~/.kube/config) does not exist. Using "
    "inCluster Config. This might not work.",
}


class StepOutput:
    """Tells for each line of a log, in the log's order, whether the step printed it for people.

    The lines are those of the step's container ``main``, from the log's beginning. Those of pip
    count too.

    Attributes:
        launcher_error: The launcher's last error so far; "" without one.
    """

    def __init__(self) -> None:
        self.launcher_error = ""
        self._in_inputs = self._has_inputs = self._is_over = False

    def is_own(self, line: str) -> bool:
        """Returns whether the step printed the log's next line."""
        if self._in_inputs:
            self._in_inputs = line != "}"
            return False
        klog, executor = _KLOG.match(line), _EXECUTOR.match(line)
        if klog is not None and klog[1] in "EF":
            self.launcher_error = klog[3]
        is_launcher_s = klog is not None and klog[2] == _LAUNCHER
        if is_launcher_s or (executor is not None and self._has_inputs):
            self._is_over = True
        elif executor is not None and executor[1].startswith(_INPUTS):
            self._in_inputs = self._has_inputs = True
        is_engine_s = executor or _ARGO.match(line) or (klog and not self._has_inputs)
        is_for_us = line.startswith(PUBLISHED)
        return not (self._is_over or is_engine_s or is_for_us or line in _SAID)


def own_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yields the lines of a log that the step printed; see `StepOutput`."""
    return filter(StepOutput().is_own, lines)
