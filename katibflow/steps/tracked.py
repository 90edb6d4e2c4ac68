"""Writes a pipeline's run to the tracker that its Experiment names.

The steps do not know of each other's writing: whatever is in the tracker already is found again
there. A tracker that cannot be written fails no step; the step's log says why.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from katibflow.errors import KatibflowError
from katibflow.extras import EXTRAS
from katibflow.study.ending import Ending
from katibflow.study.files import STUDY_FILE
from katibflow.study.history import History, dump_history
from katibflow.tracking import Tracked, check_compiled, track_of
from katibflow.tracking.base import Files
from katibflow.tracking.following import Tracking, tracking

_PATIENCE = 120.0
"""Seconds: two steps that write at the same time, as one waits no longer, would write twice."""

__all__ = ["step_tracking", "track_end", "track_trials"]


@contextmanager
def step_tracking(history: History, files: Files) -> Iterator[Tracking]:
    """Opens the Experiment's tracker for the length of a ``with`` block, if it names one.

    Args:
        history: The study.
        files: The files that the tracker keeps.
    """
    with tracking(_usable(history), files, _say, _PATIENCE) as open_tracker:
        yield open_tracker


def track_trials(history: History) -> None:
    """Brings all trials of a study up to date in the Experiment's tracker, if it names one."""
    with step_tracking(history, Files(Path("absent"), _no_logs)) as tracker:
        tracker.follow(history)


def track_end(history: History, ending: Ending, page: str) -> None:
    """Writes a study with the run's end and its report to the tracker, if there is one.

    Args:
        history: The study with all trials.
        ending: How the run ended.
        page: The file of the report.
    """
    if track_of(history.experiment, None) is None:
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        report = Path(shutil.copy(page, folder / "report.html"))
        study = folder / STUDY_FILE
        study.write_text(dump_history(history), encoding="utf-8")
        with step_tracking(history, Files(study, _no_logs)) as tracker:
            tracker.follow(history)
            tracker.end(history, ending, report)


def _no_logs(number: int) -> Mapping[str, Path]:
    """Returns no file: Kubeflow Pipelines has the logs of this run as artifacts."""
    return {}


def _say(text: str) -> None:
    print(text, flush=True)


def _usable(history: History) -> Tracked | None:
    """Returns the tracker, with its client installed; None without one, and says why."""
    try:
        tracked = track_of(history.experiment, None)
        if tracked is None:
            return None
        check_compiled(history.experiment, None)
        why = _install(tracked)
    except KatibflowError as error:
        why = str(error)
    if why:
        _say(f"the run is not written to its tracker: {why}")
        return None
    return tracked


def _install(tracked: Tracked) -> str:
    """Installs a tracker's client unless it is there; returns why it cannot, or "".

    It is installed here, not when a step begins, as a run parameter may name the tracker, and as a
    step does not fail without it.
    """
    (module, *_) = EXTRAS[tracked.kind.extra]
    if importlib.util.find_spec(module) is not None:
        return ""
    pip = (sys.executable, "-m", "pip", "install", "-q", tracked.kind.requirement)
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    importlib.invalidate_caches()
    if done.returncode == 0:
        return ""
    said = (done.stderr or done.stdout).strip().splitlines()
    return f"pip install {tracked.kind.requirement}: {said[-1] if said else done.returncode}"
