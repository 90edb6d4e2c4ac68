"""The trials that earlier runs of the pipeline left behind, wherever they ran."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

from katibflow.steps.launching import (
    SEARCH_FILE,
    kubernetes_runner,
    run_folder,
    runner_name,
)
from katibflow.study.history import History
from katibflow.study.resume import EarlierTrial

__all__ = ["earlier_trials"]


def earlier_trials(history: History) -> Iterator[EarlierTrial]:
    """All trials on record of the Experiment's name; nothing is asked before the first is taken.

    Raises:
        InputError: ``KATIBFLOW_RUNNER`` names no runner.
        RunnerError: The records cannot be read.
    """
    yield from _PLACES[runner_name()](history)


def _in_the_cluster(history: History) -> Iterable[EarlierTrial]:
    runner = kubernetes_runner(history)
    try:
        return runner.earlier()
    finally:
        runner.close()


def _in_run_folders(history: History) -> Iterator[EarlierTrial]:
    from katibflow.runners.local.runner import LocalRunner

    own = run_folder(history.experiment.name, history.run)
    pattern = re.compile(f"{re.escape(history.experiment.name)}-([0-9a-f]{{8}})")
    for folder in sorted(own.parent.glob("*")):
        match = pattern.fullmatch(folder.name)
        if match is None or not folder.is_dir():
            continue
        file = folder / SEARCH_FILE
        search = file.read_text(encoding="utf-8") if file.is_file() else ""
        for trial in LocalRunner(folder).readable_records(_warn):
            yield EarlierTrial(match[1], trial, search)


def _warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


_PLACES: Mapping[str, Callable[[History], Iterable[EarlierTrial]]] = {
    "kubernetes": _in_the_cluster,
    "local": _in_run_folders,
}
