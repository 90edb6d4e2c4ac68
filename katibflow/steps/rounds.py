"""The steps of a round except its launchers: `suggestion`, `collector` and `loop`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from katibflow.engine.trial import new_trial
from katibflow.errors import SuggestionError
from katibflow.experiment.further_runs import further_runs_of
from katibflow.printing import counted
from katibflow.steps.backends import runner_for
from katibflow.steps.capacity import MAX_ROUNDS
from katibflow.steps.files import Artifact, exits_with_message, read_study, write_study
from katibflow.steps.markdown import markdown
from katibflow.steps.messages import item_text
from katibflow.steps.published import publish
from katibflow.steps.tracked import track_trials
from katibflow.study.decision import Decision, decide, used_up
from katibflow.study.history import History
from katibflow.study.reasons import ExperimentReason
from katibflow.study.resume import runs_in
from katibflow.suggestion.suggester import is_used_up, suggest, why_over

__all__ = ["after_rounds", "by_hand", "collector", "loop", "suggestion"]


@exits_with_message
def suggestion(study_path: str) -> list[str]:
    """Asks the algorithm for the next round's trials, or for none if the experiment is over.

    Args:
        study_path: The study so far.

    Returns:
        The text of each new trial (`messages.item_text`).
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
    if not trials:  # a round without trials has no outputs for `collector` to read
        raise SuggestionError(f"no suggestion is left: {why_over(history.experiment)}")
    items = [item_text(trial) for trial in trials]
    print(f"round {history.rounds + 1}: {counted(len(items), 'trial')}", *items, sep="\n")
    return items


@exits_with_message
def collector(before_path: str, ended: Sequence[str], study: Artifact) -> None:
    """Adds a round's finished trials to the study, with their metrics, from the records.

    A trial whose job has been deleted is left out, as it has no record.

    Args:
        before_path: The study before the round.
        ended: What each launcher returned: its trial's number, and more.
        study: The output for the next study.
    """
    history = read_study(before_path)
    runner = runner_for(history)
    try:
        records = {trial.number: trial for trial in runner.records() if trial.state.is_finished}
    finally:
        runner.close()
    numbers = sorted(int(text.split()[0]) for text in ended)
    for number in numbers:
        trial = records.get(number)
        if trial is None:
            print(f"trial {number}: its job is not there any more, so it does not count")
        else:
            print(f"trial {number}: {trial.state} {trial.reason} {trial.message}".rstrip())
    found = [records[number] for number in numbers if number in records]
    history = replace(history.with_trials(found), rounds=history.rounds + 1)
    write_study(study.path, history, before_path)
    study.metadata["display_name"] = f"study after round {history.rounds}"


@exits_with_message
def loop(study_path: str, text: Artifact, reason_path: str) -> bool:
    """Decides whether another round follows the study's last one, and shows the trials so far.

    Args:
        study_path: The study.
        text: The output for the Markdown.
        reason_path: The file for the reason to end, with its message; empty to go on.

    Returns:
        Whether another round follows.
    """
    history = read_study(study_path)
    decision = after_rounds(history, history.rounds)
    if decision.reason == ExperimentReason.ROUNDS_USED_UP and further_runs_of(history.experiment):
        decision = after_rounds(history, history.rounds, "the step report starts the next run")
    reason = f"{decision.reason}: {decision.message}" if decision.finished else ""
    title = f"{history.experiment.name}, round {history.rounds}"
    Path(text.path).write_text(markdown(title, history, reason), encoding="utf-8")
    text.metadata["display_name"] = f"round {history.rounds}"
    Path(reason_path).write_text(reason, encoding="utf-8")
    print(reason or f"another round, of {counted(decision.wanted, 'trial')} at most")
    publish(history)
    track_trials(history)
    return not decision.finished


def after_rounds(history: History, rounds: int, onward: str = "") -> Decision:
    """Returns the decision after a round; besides the trials it counts suggestions and rounds.

    Args:
        history: The trials so far.
        rounds: The rounds of this run.
        onward: How the study goes on if a run can hold no more rounds; by default `by_hand`.
    """
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
        ExperimentReason.ROUNDS_USED_UP,
        f"{rounds} rounds with {len(history.trials)} trials are over, and Argo can store no more "
        f"of one run; {onward or by_hand(history)}",
        0,
    )


def by_hand(history: History) -> str:
    """Returns what a user can do to go on with the trials of a run that can hold no more."""
    resume = ",".join(runs_in(history))
    return (
        f"to go on with them: katibflow submit FILE --resume {resume} (in the UI a run with "
        f"resume={resume}), or --layout controller, which has no such end"
    )
