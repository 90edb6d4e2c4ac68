"""The report and the copy of a study at 20,000 trials, and a live page's updates.

The times are the processor's. ``python -m benchmarks report`` prints the rows, and
``python benchmarks/bench_report.py [--count N]`` too.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.bench_suggest import SPACE, experiment, history
from benchmarks.table import Row, main
from katibflow.engine.events import TrialEnded
from katibflow.report.page import render_report
from katibflow.runs.dashboard import follow
from katibflow.runs.live_page import LivePage
from katibflow.study.ending import Ending
from katibflow.study.history import History, Observation, Trial, TrialState
from katibflow.study.reasons import ExperimentReason

COUNT = 20_000
MOST_SECONDS = 5.0
MOST_MEGABYTES = 8.0
DONE = Ending(True, ExperimentReason.MAX_TRIALS_REACHED, "over")


def mixed(count: int) -> History:
    """Trials of which some failed and some were stopped early, with times, logs and two metrics."""
    dice = random.Random(3)
    past = history(experiment("tpe", SPACE), count)

    def lived(trial: Trial) -> Trial:
        minute = f"{trial.number // 3600 % 24:02}:{trial.number // 60 % 60:02}"
        at = f"2026-01-01T{minute}:{trial.number % 60:02}"
        times: dict[str, Any] = {
            "queued": f"{at}.000+00:00",
            "start": f"{at}.100+00:00",
            "end": f"{at}.900+00:00",
            "job": f"bench-00000000-{trial.number}",
        }
        share = dice.random()
        if share < 0.03:
            text = f"job failed with exit code 1; its last lines:\nValueError: bad {share:.3f}"
            return replace(
                trial,
                state=TrialState.FAIL,
                observations={},
                intermediate=(),
                reason="TrialFailed",
                message=text,
                **times,
            )
        if share < 0.1:
            return replace(trial, state=TrialState.PRUNED, reason="EarlyStopped", **times)
        found = {**trial.observations, "accuracy": Observation(dice.random(), 0.1, 0.9)}
        return replace(trial, observations=found, **times)

    return replace(past, trials=tuple(map(lived, past.trials)))


def seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def updates(of: History, count: int) -> float:
    """Returns the seconds that a live page takes for each of some updates, at its quickest."""
    page = LivePage(of, lambda history, pause: None)
    ended = [TrialEnded(trial, {}) for trial in of.trials[-count:]]

    def tell() -> None:
        for update in ended:
            page(update)

    return min(seconds(tell) for _ in range(20)) / count


class Still:
    """A history that does not grow."""

    def __init__(self, history: History) -> None:
        self._history = history

    def read(self) -> History:
        return self._history

    def wait(self) -> None:
        threading.Event().wait()


def rows(count: int = COUNT) -> Iterator[Row]:
    """Yields the report's time and size, and how a live page's updates grow."""
    past = mixed(count)
    logs = {t.number: {"job-0": f"trials/{t.number:04d}/logs/job-0.log"} for t in past.trials}
    render_report(replace(past, trials=past.trials[:50]), DONE, logs)  # imports what it needs
    pages: list[str] = []
    took = seconds(lambda: pages.append(render_report(past, DONE, logs)))
    size = len(pages[0].encode()) / 1e6
    name = f"report, {count:,} trials"
    yield Row(name, "processor time of one page", took, "s", MOST_SECONDS)
    yield Row(name, "size of the page, 4.8 of them Plotly's", size, "MB", MOST_MEGABYTES)
    took = seconds(lambda: follow(Still(past), print))
    yield Row("dashboard's study", f"processor time to copy {count:,} trials", took, "s", 5.0)
    few = replace(past, trials=past.trials[: count // 20])
    many, base = updates(past, 500), updates(few, 500)
    text = f"{many * 1e6:.1f} us with {count:,} trials, {base * 1e6:.1f} us with {count // 20:,}"
    yield Row("live page, one update", text, many / base, "x", 1.5)


if __name__ == "__main__":
    main(__doc__, rows)
