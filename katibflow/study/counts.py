"""Says how far an experiment is: how many of its trials ended, how many run, and the time left."""

from __future__ import annotations

from katibflow.printing import counted
from katibflow.study.decision import Counts
from katibflow.study.history import History

__all__ = ["ended_text", "left_text", "limit_text", "standing_text"]


def limit_text(most: int | None) -> str:
    """Returns how many trials an experiment has, as "10 trials" or "without a limit"."""
    return "without a limit" if most is None else counted(most, "trial")


def ended_text(ended: int, most: int | None) -> str:
    """Returns how many trials ended, as "9 of 10 trials ended".

    More than ``most`` may have ended, as the limit of a run may be lowered: they are counted alone.
    """
    if most is None or ended > most:
        return f"{counted(ended, 'trial')} ended"
    return f"{ended} of {counted(most, 'trial')} ended"


def left_text(seconds: float | None) -> str:
    """Returns the time left as the end of a sentence; "" if it is none to speak of, or unknown."""
    if seconds is None or seconds < 0.5:
        return ""
    if seconds < 90:
        return f", about {seconds:.0f} s left"
    minutes = round(seconds / 60)
    text = f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
    return f", about {text} left"


def standing_text(history: History) -> str:
    """Returns how far a run is that goes on, as "9 of 10 trials ended, 1 running, about 4 s left".

    The time left is reckoned from how long the trials took, as nobody knows how long the run
    stood still before it was started again.
    """
    spec, trials = history.experiment.spec, history.trials
    counts = Counts.of(trials)
    text = f"{ended_text(counts.completed, spec.max_trial_count)}, {counts.active} running"
    lengths = [each.duration for each in trials if each.state.counts and each.duration is not None]
    if spec.max_trial_count is None or not lengths:
        return text
    more = max(0, spec.max_trial_count - counts.completed)
    at_once = max(1, min(spec.parallelism, more))
    return text + left_text(more / at_once * sum(lengths) / len(lengths))
