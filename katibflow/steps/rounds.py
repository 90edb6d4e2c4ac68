"""The steps of a round that only compute: suggestion, collector, loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from katibflow.collectors import collector_for
from katibflow.decision import Decision, decide, used_up
from katibflow.errors import SuggestionError
from katibflow.history import History
from katibflow.steps.capacity import MAX_ROUNDS
from katibflow.steps.files import read_study, says_what_is_wrong, write_study
from katibflow.steps.markdown import markdown
from katibflow.steps.messages import item_text, read_outcome
from katibflow.steps.transcript import record_from_text, told
from katibflow.suggest import is_used_up, suggest, why_over
from katibflow.trials import finish_trial, new_trial

__all__ = ["ROUNDS_USED_UP", "after_rounds", "collector", "loop", "suggestion"]

ROUNDS_USED_UP = "PipelineRoundsUsedUp"


@says_what_is_wrong
def suggestion(study_path: str) -> list[str]:
    """Asks for the next round's trials; for none when `loop` ends the experiment.

    Args:
        study_path: The study so far.

    Returns:
        Each new trial (`messages.item_text`).
    """
    history = read_study(study_path)
    decision = after_rounds(history, history.rounds)
    if decision.finished:
        print(f"no trial is needed: {decision.reason}")
        return []
    trials = [
        new_trial(history, history.next_number + offset, suggested)
        for offset, suggested in enumerate(suggest(history, decision.wanted))
    ]
    if not trials:  # `loop` begins no round without one, and a loop over nothing cannot be read
        raise SuggestionError(f"no suggestion is left: {why_over(history.experiment)}")
    items = [item_text(trial) for trial in trials]
    print(f"round {history.rounds + 1}: {len(items)} trials", *items, sep="\n")
    return items


@says_what_is_wrong
def collector(
    before_path: str, outcomes: Sequence[str], logs: Mapping[int, str], study_path: str
) -> dict[str, Any]:
    """Reads the metrics of a round's trials and adds the finished trials to the study.

    Args:
        before_path: The study before the round.
        outcomes: What each launcher returned (`messages.outcome_text`).
        logs: Trial number to the file that its launcher wrote (`transcript`).
        study_path: Where the next study goes.

    Returns:
        What the study's artifact says of itself: ``display_name``.
    """
    history = read_study(before_path)
    reads_output = collector_for(history.experiment.spec).reads_output
    finished = []
    for outcome in (read_outcome(text, history) for text in outcomes):
        log = Path(logs[outcome.trial.number])
        if outcome.job is None:
            finished.append(record_from_text(log.read_text(encoding="utf-8")))
            continue
        with log.open(encoding="utf-8", errors="replace") as lines:
            finished.append(
                finish_trial(
                    history.experiment,
                    outcome.trial,
                    outcome.job,
                    told((line.rstrip("\n") for line in lines), reads_output),
                    outcome.end,
                )
            )
    history = replace(history.with_trials(finished), rounds=history.rounds + 1)
    write_study(study_path, history, before_path)
    for trial in finished:
        print(f"trial {trial.number}: {trial.state} {trial.reason} {trial.message}".rstrip())
    return {"display_name": f"study after round {history.rounds}"}


@says_what_is_wrong
def loop(study_path: str, text_path: str) -> tuple[bool, str, dict[str, Any]]:
    """Decides whether another round follows the study's last one, and shows the trials so far.

    Args:
        study_path: The study.
        text_path: Where the Markdown goes.

    Returns:
        Whether to go on, the reason not to with its message, and what the Markdown's artifact
        says of itself: ``display_name``.
    """
    history = read_study(study_path)
    decision = after_rounds(history, history.rounds)
    said = f"{decision.reason}: {decision.message}" if decision.finished else ""
    title = f"{history.experiment.name}, round {history.rounds}"
    Path(text_path).write_text(markdown(title, history, said), encoding="utf-8")
    print(said or f"another round, of {decision.wanted} trials at most")
    return not decision.finished, said, {"display_name": f"round {history.rounds}"}


def after_rounds(history: History, rounds: int) -> Decision:
    """The decision after whole rounds, with the ends that a decision on trials cannot know."""
    decision = decide(history.experiment, history.trials)
    if decision.finished:
        return decision
    if is_used_up(history):
        return replace(used_up(), message=why_over(history.experiment))
    if rounds < (history.most_rounds or MAX_ROUNDS):
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
