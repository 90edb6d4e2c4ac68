"""Measures how well algorithms learn to avoid a region of the space in which trials fail.

Trials with x above 0.5 fail, or give NaN; the objective is best near that border, at x = 0.5. For
each algorithm it prints how many of the last 20 of 40 trials fail, for some seeds, with failed
trials as the samplers get them and, to compare, hidden from them as before.

The second part prints the memory that a suggestion of the Gaussian process takes for an integer of
0 to 2**32.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
from functools import partial
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from katibflow.study.history import History, Trial, TrialState
from katibflow.suggestion import history_storage
from katibflow.suggestion.suggester import Suggester, Suggestion
from tests.searching import ended, experiment, history

__all__ = ["failures", "main"]

TRIALS, LAST = 40, 20
_SPACE = [
    {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}},
    {"name": "y", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}},
]


def failures(algorithm: str, seed: int, nan: bool = False) -> int:
    """Returns how many of the last trials were suggested where they fail."""
    made = history(experiment(algorithm, _SPACE), seed)
    suggester = Suggester(made.experiment)
    bad: list[bool] = []
    while len(made.trials) < TRIALS:
        (suggestion,) = suggester.suggest(made, 1)
        x, y = (float(suggestion.assignments[name]) for name in "xy")
        bad.append(x > 0.5)
        made = made.with_trials([_trial(made, suggestion, (x - 0.5) ** 2 + y**2, bad[-1], nan)])
    return sum(bad[-LAST:])


def _trial(made: History, suggestion: Suggestion, value: float, is_bad: bool, nan: bool) -> Trial:
    number = made.next_number
    if not is_bad:
        return ended(number, suggestion, value)
    if nan:
        return ended(number, suggestion, float("nan"))
    return ended(number, suggestion, None, TrialState.FAIL)


def main() -> None:
    """Prints the table, then the memory."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument(
        "--algorithms", nargs="*", default=["tpe", "multivariate-tpe", "bayesianoptimization"]
    )
    given = options.parse_args()
    blind = partial(history_storage.HistoryStorage, teaches=False)
    print(f"of the last {LAST} of {TRIALS} trials, how many fail (median, greatest)")
    for algorithm in given.algorithms:
        for nan in (False, True):
            seeds = range(1, given.seeds + 1)
            now = [failures(algorithm, seed, nan) for seed in seeds]
            with patch.object(history_storage, "HistoryStorage", lambda *args, **_: blind(*args)):
                before = [failures(algorithm, seed, nan) for seed in seeds]
            words = "NaN" if nan else "failed"
            print(
                f"{algorithm}, {words}: {statistics.median(now):g}, {max(now)}; hidden: "
                f"{statistics.median(before):g}, {max(before)}"
            )
    wide = [{"name": "n", "parameterType": "int", "feasibleSpace": {"min": "0", "max": str(2**32)}}]
    made = history(experiment("bayesianoptimization", wide), 1)
    suggester = Suggester(made.experiment)
    for number in range(15):
        (suggestion,) = suggester.suggest(made, 1)
        made = made.with_trials([ended(number, suggestion, float(suggestion.assignments["n"]))])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"Gaussian process, an integer of 0 to 2**32, 15 trials: {peak:.0f} MiB at most")


if __name__ == "__main__":
    main()
