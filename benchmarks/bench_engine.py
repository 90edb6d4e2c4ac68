"""The engine's own cost with a runner that does nothing: per trial, and how it grows.

    python benchmarks/bench_engine.py [--trials 50000]

Costs are seconds of CPU of this process, which a busy machine does not change; what is compared is
of one run: the first trials after a warm-up, and the last ones.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.bench_local import document
from benchmarks.table import Row, main
from katibflow.engine.events import TrialEnded, Update
from katibflow.engine.loop import run_experiment
from katibflow.runners.base import JobOutcome, JobState, TrialJob
from katibflow.runners.events import LogLine, Observer, Started
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import History, Trial
from katibflow.validation.rules import check_document

FIRST, LAST = 2000, 10_000
"""Trials at the beginning and at the end whose cost is compared.

The last ones are more, so that Python's search for cycles, which goes through all trials each time
when there are a quarter more of them, counts with its share and not by chance.
"""

WARM = 500
"""Trials before them."""

MEASURED = 5000
"""Trials of the run whose memory is measured."""


class IdleRunner:
    """A runner whose jobs are over at once."""

    def records(self) -> Sequence[Trial]:
        return ()

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        observe(Started(job.trial.queued or ""))
        observe(LogLine(f"loss={job.trial.number % 997 / 997}"))
        return JobOutcome(JobState.SUCCEEDED)

    def record(self, trial: Trial) -> None:
        pass

    def sweep(self, keep: Collection[int], reason: str) -> None:
        pass

    def close(self) -> None:
        pass


def history_of(trials: int) -> History:
    """Returns a history without trials, of an Experiment that has that many."""
    return History(check_document(document(trials, 8, 0), "bench"), "0a1b2c3d", 1)


def ended_at(trials: int) -> list[float]:
    """Returns the seconds of CPU at the end of each trial of a run."""
    ends = [time.process_time()]

    def watch(update: Update) -> None:
        if isinstance(update, TrialEnded):
            ends.append(time.process_time())

    run_experiment(history_of(trials), IdleRunner(), watch=watch, stop=StopRequest())
    return ends


def memory(trials: int) -> float:
    """Returns the bytes of a trial that a run holds at its end, beside the trial's metrics."""
    history = history_of(trials)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    result = run_experiment(history, IdleRunner(), watch=lambda update: None, stop=StopRequest())
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    metrics = sum(map(_size_of_metrics, result.history.trials))
    return (after - before - metrics) / trials


def _size_of_metrics(trial: Trial) -> int:
    sizes = map(sys.getsizeof, (trial.observations, trial.intermediate))
    points = len(trial.intermediate) * sys.getsizeof(trial.intermediate[0])
    return sum(sizes) + points + sum(map(sys.getsizeof, trial.observations.values()))


def rows(trials: int = 50_000) -> Iterator[Row]:
    """Yields the engine's cost per trial, its growth, and its memory."""
    import optuna  # noqa: F401

    ends = ended_at(trials)
    first = (ends[WARM + FIRST] - ends[WARM]) / FIRST * 1000
    late = min(LAST, trials - FIRST - WARM)
    last = (ends[-1] - ends[-1 - late]) / late * 1000
    yield Row("engine: growth", f"cost of trial {trials} / of trial {WARM}", last / first, "x", 1.3)
    yield Row(
        "engine: cost per trial", f"CPU at trial {trials}, a runner that idles", last, "ms", 0.3
    )

    size = memory(MEASURED) / 1000
    measured = f"memory of a trial beside its metrics, {MEASURED} trials"
    yield Row("engine: memory per trial", measured, size, "KB", 2.0)


if __name__ == "__main__":
    main(__doc__, rows)
