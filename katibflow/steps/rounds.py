"""The steps of a round that only compute: suggestion, collector, loop."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from katibflow.collectors import collector_for
from katibflow.decision import Decision, decide, used_up
from katibflow.errors import SuggestionError
from katibflow.history import History, TrialState
from katibflow.runners.base import JobOutcome, JobState
from katibflow.steps.files import read_study, says_what_is_wrong, write_study
from katibflow.steps.limits import MAX_ROUNDS
from katibflow.steps.transcript import record_from_text, told
from katibflow.suggest import is_used_up, suggest, why_over
from katibflow.trials import finish_trial, new_trial

__all__ = ["ROUNDS_USED_UP", "Collected", "after_rounds", "collector", "loop", "suggestion"]

ROUNDS_USED_UP = "PipelineRoundsUsedUp"


@says_what_is_wrong
def suggestion(study_path: str, batch_path: str) -> tuple[list[str], dict[str, Any]]:
    """Asks for a round's trials.

    Args:
        study_path: The study so far.
        batch_path: Where the study with the new trials, all running, goes.

    Returns:
        Each new trial as JSON: ``number`` and ``assignments``; and what the batch's artifact says
        of itself: ``round``, ``trials`` (how many), ``display_name``.
    """
    history = read_study(study_path)
    trials = [
        new_trial(history, history.next_number + offset, suggested)
        for offset, suggested in enumerate(
            suggest(history, decide(history.experiment, history.trials).wanted)
        )
    ]
    if not trials:  # `loop` begins no round without one, and a loop over nothing cannot be read
        raise SuggestionError(f"no suggestion is left: {why_over(history.experiment)}")
    write_study(batch_path, history.with_trials(trials))
    items = [
        json.dumps(
            {"number": trial.number, "assignments": dict(trial.assignments)}, ensure_ascii=False
        )
        for trial in trials
    ]
    number, first, last = history.rounds + 1, trials[0].number, trials[-1].number
    print(f"round {number}: {len(items)} trials", *items, sep="\n")
    which = f"trial {first}" if first == last else f"trials {first} to {last}"
    title = f"round {number}: {which}"
    return items, {"round": number, "trials": len(items), "display_name": title}


@dataclass(frozen=True)
class Collected:
    """How far the study is after a round.

    Attributes:
        round: The round's number, from 1.
        trials: Trials in the study.
    """

    round: int
    trials: int


@says_what_is_wrong
def collector(
    batch_path: str, outcomes: Sequence[str], logs: Mapping[int, str], study_path: str
) -> Collected:
    """Reads the metrics of a round's trials and adds the finished trials to the study.

    Args:
        batch_path: The study with the round's trials, running.
        outcomes: What each launcher returned.
        logs: Trial number to the file that its launcher wrote (`transcript`).
        study_path: Where the next study goes.
    """
    history = read_study(batch_path)
    running = {trial.number: trial for trial in history.trials if trial.state is TrialState.RUNNING}
    reads_output = collector_for(history.experiment.spec).reads_output
    finished = []
    for outcome in map(_outcome_from_text, outcomes):
        number = outcome["trial"]
        if outcome.get("recorded"):
            del running[number]
            finished.append(record_from_text(Path(logs[number]).read_text(encoding="utf-8")))
            continue
        with Path(logs[number]).open(encoding="utf-8", errors="replace") as lines:
            finished.append(
                finish_trial(
                    history.experiment,
                    running.pop(number),
                    JobOutcome(
                        JobState(outcome["state"]),
                        outcome["reason"],
                        outcome["message"],
                        start=outcome.get("start"),
                    ),
                    told((line.rstrip("\n") for line in lines), reads_output),
                    outcome["end"],
                )
            )
    if running:
        raise SystemExit(f"katibflow: no launcher told of the trials {sorted(running)}")
    history = replace(history.with_trials(finished), rounds=history.rounds + 1)
    write_study(study_path, history)
    for trial in finished:
        print(f"trial {trial.number}: {trial.state} {trial.reason} {trial.message}".rstrip())
    return Collected(history.rounds, len(history.trials))


def _outcome_from_text(text: str) -> dict[str, Any]:
    return dict(json.loads(text))


@says_what_is_wrong
def loop(study_path: str) -> tuple[bool, str]:
    """Decides whether another round follows the study's last one.

    Returns:
        Whether to go on, and the reason not to, with its message.
    """
    history = read_study(study_path)
    decision = after_rounds(history, history.rounds)
    said = f"{decision.reason}: {decision.message}" if decision.finished else ""
    print(said or f"another round, of {decision.wanted} trials at most")
    return not decision.finished, said


def after_rounds(history: History, rounds: int) -> Decision:
    """The decision after whole rounds, with the ends that a decision on trials cannot know."""
    decision = decide(history.experiment, history.trials)
    if decision.finished:
        return decision
    if is_used_up(history):
        return replace(used_up(), message=why_over(history.experiment))
    if rounds < MAX_ROUNDS:
        return decision
    return Decision(
        True,
        True,
        ROUNDS_USED_UP,
        f"{rounds} rounds with {len(history.trials)} trials are over and a run of the pipeline "
        "holds no more; to try more, run it again with resume=all, with a larger "
        "parallelTrialCount, or compiled with --layout controller",
        0,
    )
