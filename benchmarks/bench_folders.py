"""A run's folder with many trials: to look at it, to watch it, and to go on with it.

    python benchmarks/bench_folders.py [--trials 50000]

The trials have run: each has its folder with record and log, and a line in the history. Costs are
seconds of CPU of this process, which a busy machine does not change.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.bench_local import document
from benchmarks.table import Row, main
from katibflow.engine.loop import run_experiment
from katibflow.handles.base import Where
from katibflow.handles.local import LocalRun
from katibflow.runners.local.host import Host
from katibflow.runners.local.runner import LocalRunner
from katibflow.runners.local.settled import Settled
from katibflow.runners.local.state_files import to_json
from katibflow.runners.local.trial_folder import RECORD_VERSION
from katibflow.runners.stopping import StopRequest
from katibflow.runs.folder import RunFolder, with_records
from katibflow.runs.running import read_run
from katibflow.study.history import History, Observation, Point, Trial, TrialState, trial_to_data
from katibflow.validation.rules import check_document

LISTED = 5000
"""Trials of the run that is looked at."""

_TIME = "2026-01-31T08:15:00.000+00:00"


def trial(number: int) -> Trial:
    value = number * 7919 % 10_007 / 10_007
    return Trial(
        number,
        TrialState.COMPLETE,
        {"x": f"{value:.16g}"},
        {"loss": Observation(value, value, value)},
        (Point(0, value),),
        *(_TIME, _TIME, _TIME, f"bench-0a1b2c3d-{number}", "TrialSucceeded"),
    )


def filled(path: Path, trials: int) -> RunFolder:
    """Makes the folder of a run whose trials have ended; it could have one more."""
    folder = RunFolder(path)
    experiment = check_document(document(trials, 1, 0), "bench")
    ended = [trial(number) for number in range(trials)]
    for each in ended:
        place = path / "trials" / f"{each.number:04d}"
        (place / "attempt-1").mkdir(parents=True)
        (place / "record.json").write_bytes(to_json(trial_to_data(each), RECORD_VERSION))
        (place / "job-0.log").write_text("loss=0.5\n")
    folder.save(History(experiment, "0a1b2c3d", 1, ended))
    return folder


def cpu(call: Callable[[], object]) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


def go_on(path: Path, trials: int) -> None:
    """Starts a run that has ended again, as ``katibflow run`` does, until it knows that."""
    folder = RunFolder(path)
    history, _ = folder.begin("bench", check_document(document(trials, 1, 0), "bench"))
    runner = LocalRunner(path, Host(), Settled.of(history, path))
    history = with_records(history, runner.records())
    with folder.log(history) as log:
        result = run_experiment(history, runner, watch=log, stop=StopRequest())
        log.end(result.history)
    assert len(result.history.trials) == trials and result.decision.finished


def rows(trials: int = 50_000) -> Iterator[Row]:
    """Yields what it costs to list, to watch and to resume a run of many trials."""
    import optuna  # noqa: F401

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "bench"
        folder = filled(path, LISTED)
        alone = path.with_name("alone.jsonl")
        alone.write_bytes(folder.study.read_bytes())
        read_run(alone)
        base = min(cpu(lambda: read_run(alone)) for _ in range(3))
        listed = min(cpu(lambda: read_run(path)) for _ in range(3))
        measured = f"{LISTED} trial folders / their history file alone"
        yield Row("folders: listed", measured, listed / base, "x", 1.5)
        run = LocalRun(path, Where(print, runs=Path(name)))
        run.snapshot()
        looked = min(cpu(run.snapshot) for _ in range(3))
        measured = f"a further look at {LISTED} trials / the first"
        yield Row("folders: watched", measured, looked / listed, "x", 0.5)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "bench"
        filled(path, trials)
        seconds = cpu(lambda: go_on(path, trials))
        yield Row("folders: resumed", f"CPU to go on with {trials} trials", seconds, "s", 3.0)


if __name__ == "__main__":
    main(__doc__, rows)
