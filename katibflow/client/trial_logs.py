"""Reads what one trial printed, from the pods of its job, once or until the trial is over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from katibflow.client.log_following import follow_logs, in_turn
from katibflow.client.logs import trial_logs, trial_sources
from katibflow.client.reading import ExperimentRun
from katibflow.client.records import JobRecords
from katibflow.errors import InputError
from katibflow.runners.kubernetes.api import Api
from katibflow.study.history import Trial

__all__ = ["lines_of_trial", "trial_of"]


def lines_of_trial(
    api: Api, experiment_run: ExperimentRun, number: int, *, follow: bool, poll: float
) -> tuple[str, Iterator[tuple[str, str | None]]]:
    """Returns why there may be no line, and the names of pods with each line of theirs.

    Args:
        api: Requests in the namespace of the trial's pods.
        experiment_run: The run.
        number: The trial's number.
        follow: Whether to go on until the trial is over.
        poll: Seconds between two looks at which pods there are.

    Raises:
        InputError: The run has no trial of that number.
        RunnerError: The cluster refuses.
    """
    records = JobRecords(api, experiment_run)
    template = experiment_run.experiment.spec.trial_template
    trial = trial_of(records.history().trials, number)
    state = f"{trial.state} {trial.reason} {trial.message}".rstrip()
    why = f"no pod of trial {number} is left, or has begun; on record it is {state}"
    manifest, container = template.trial_spec or {}, template.primary_container_name
    if not follow:
        return why, in_turn(trial_logs(api, trial, manifest, container))

    def has_ended() -> bool:
        return any(
            each.number == number and each.state.is_finished for each in records.history().trials
        )

    lines = follow_logs(
        api,
        lambda: trial_sources(api, trial, manifest, container),
        has_ended,
        poll,
        lambda: lambda line: True,
    )
    return why, ((name, line) for name, line in lines)


def trial_of(trials: Sequence[Trial], number: int) -> Trial:
    """Returns the trial of a number.

    Raises:
        InputError: There is none.
    """
    known = {each.number: each for each in trials}
    if number not in known:
        numbers = f"0 to {max(known)}" if known else "none yet"
        raise InputError(f"TRIAL: found {number}; allowed: {numbers}")
    return known[number]
