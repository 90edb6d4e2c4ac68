"""Lets a step that follows trials end them itself when its run is terminated.

Argo sends SIGTERM to a step's container, which ends Kubeflow Pipelines' launcher, and Python goes
with it at once. The exit handler `finish` would stop the trials, but Argo gives its pods no more
than 10 s to start (with the retries that Kubeflow Pipelines puts around each step, Argo does not
see that they belong to an exit handler, and the run's deadline has passed). So the step's pod has
an annotation by which Argo runs a command of ours in place of sending the signal. The command
tells the step alone; the launcher lives on and uploads what the step leaves.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from katibflow.engine.signals import caught
from katibflow.runners.stopping import StopRequest

__all__ = ["KILL_COMMANDS", "STOPPED", "kill_command", "stopped_with_its_run"]

STOPPED = "the pipeline run was stopped"

_FOLDER = "/var/run/argo/ctr/main"
"""Argo's folder for the container ``main``; there is none outside of Argo's pods."""

_PROCESS = "katibflow"
"""Name of the file with the id of the process to tell; it stays until the container ends."""


def kill_command(folder: str = _FOLDER) -> list[str]:
    """Returns the command that Argo runs in the container, with ``%d`` for the signal's number.

    Args:
        folder: Argo's folder for the container.
    """
    script = (
        f"p={folder}/{_PROCESS};"
        "if [ -s $p ];then [ -e $p.told ]||{ :>$p.told;kill -USR1 $(cat $p);};"
        "else /var/run/argo/argoexec kill %d 1;fi"
    )
    return ["sh", "-c", script]


KILL_COMMANDS = {"workflows.argoproj.io/kill-cmd-main": json.dumps(kill_command())}
"""Annotations of a step's pod: what Argo runs in a container to end it with the signal ``%d``.

Argo does so each time that it looks at a run that was terminated. Its container ``wait`` ends as
ever, so that the step counts as failed, and the run can be retried.

Source: ``workflow/signal/signal.go`` of Argo Workflows.
"""

_MOST = 240
"""Seconds in which a step that was told to end has to end; its trials' pods have 90 of them."""


@contextmanager
def stopped_with_its_run(folder: str = _FOLDER) -> Iterator[StopRequest]:
    """Yields a request that is made when the step's run is terminated; only for the main thread.

    Outside of a pod of Argo's nobody makes it.

    Args:
        folder: Argo's folder for the container; see `_FOLDER`.
    """
    stop = StopRequest()
    if not os.path.isdir(folder):
        yield stop
        return

    def bound() -> None:
        signal.alarm(_MOST)

    stop.subscribe(bound)
    # Once the trials are over it would only end the process, in the middle of the report.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    with caught(stop, (signal.SIGUSR1,), text=STOPPED):
        (Path(folder) / _PROCESS).write_text(str(os.getpid()), encoding="ascii")
        yield stop
