"""The step `start`: checks the Experiment with the run's parameters and writes the first study.

The study has no trials, or those of earlier runs that count in this run too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

import katibflow
from katibflow.errors import InputError, RunnerError
from katibflow.experiment.parsing import checked
from katibflow.printing import counted
from katibflow.steps.backends import earlier_trials
from katibflow.steps.capacity import KFP, Capacity, Growth
from katibflow.steps.files import Artifact, exits_with_message, write_study
from katibflow.steps.rounds import after_rounds
from katibflow.steps.run_parameters import checked_with, document_rules, initial_study
from katibflow.steps.values import NONE
from katibflow.study.history import History
from katibflow.study.resume import EarlierTrial, first_to_end, read_resume, run_name
from katibflow.suggestion.suggester import new_seed

__all__ = ["ROUNDS", "check_first_trials", "first_study", "start"]

ROUNDS = "rounds"
"""Name of the layout in which trials run in rounds."""

_SOURCE = "the run's parameters"


@exits_with_message
def start(
    document: str,
    parameters: Mapping[str, str],
    layout: str,
    run: str,
    library: str,
    room: int,
    study: Artifact,
    growth: Growth = KFP,
) -> None:
    """Checks the Experiment with this run's parameters, and writes the study to begin with.

    Args:
        document: The Experiment as JSON.
        parameters: The run's parameters as texts, by name (`run_parameters`).
        layout: The pipeline's layout: ``rounds`` or ``controller``.
        run: KFP's id of the run.
        library: The mark of the library in the pipeline; "" without one.
        room: Bytes that rounds may take in the Workflow object.
        study: The output for the study.
        growth: How the engine's object grows.
    """
    _check_version(library)
    history = first_study(document, parameters, layout, run, room, growth)
    write_study(study.path, history)
    study.metadata["display_name"] = "study at the start"
    name, spec = history.experiment.name, history.experiment.spec
    print(
        f"{name}: {spec.algorithm.algorithm_name}, {counted(spec.parallelism, 'trial')} at a time, "
        f"at most {spec.max_trial_count or 'any number of'} trials, run {history.run}"
    )
    if history.warm:
        print(f"learns from {counted(len(history.warm), 'trial')} of earlier runs: warmStart")
    for trial in history.trials:
        print(f"trial {trial.number}: taken over from {trial.job}, {trial.state}")


def first_study(
    document: str,
    parameters: Mapping[str, str],
    layout: str,
    run: str,
    room: int,
    growth: Growth = KFP,
) -> History:
    """Returns the study that a run begins with, the same one whenever it is asked for.

    Args:
        document: The Experiment as JSON.
        parameters: The run's parameters as texts, by name.
        layout: The pipeline's layout.
        run: KFP's id of the run.
        room: Bytes that rounds may take in the Workflow object.
        growth: How the engine's object grows.

    Raises:
        InputError: A parameter is wrong, or there is nothing left to do.
        RunnerError: The records of earlier runs cannot be read.
    """
    experiment = checked_with(
        json.loads(document),
        parameters,
        # The compiler has checked the rest, and the pipeline does not have those rules.
        lambda changed: checked(changed, _SOURCE, document_rules()),
    )
    history = History(experiment, run_name(run), new_seed(experiment, run))
    resume = read_resume(parameters.get("resume", NONE))
    history = initial_study(
        _SOURCE, history, parameters, lambda name: _known_at_first(history, resume, name)
    )
    if layout == ROUNDS:
        capacity = Capacity.of(history.experiment, growth=growth)
        parallel = history.experiment.spec.parallelism
        fault = capacity.too_wide(parallel, room)
        if fault is not None:
            raise InputError(fault)
        history = replace(history, most_rounds=capacity.most_rounds(parallel, room))
    check_first_trials(history)
    return history


def _known_at_first(history: History, resume: str, name: str) -> Iterator[EarlierTrial]:
    """Yields all trials on record of a name, as the first try of this run found them.

    Trials of others that have ended since would change the numbers of this run's own.

    Args:
        history: This run's study, without trials.
        resume: The value of resume, from `read_resume`.
        name: The Experiment's, or another one's.
    """
    of_this_name = list(earlier_trials(history))
    own = [each.trial for each in of_this_name if each.run == history.run]
    if name == history.experiment.name:
        first = min((trial.number for trial in own), default=None)
        yield from (
            of_this_name
            if first is None
            else first_to_end(history.run, resume, first, of_this_name)
        )
        return
    begun = min((trial.queued for trial in own if trial.queued), default=None)
    metadata = history.experiment.metadata.model_copy(update={"name": name})
    other = history.experiment.model_copy(update={"metadata": metadata})
    for each in earlier_trials(replace(history, experiment=other)):
        if begun is None or (each.trial.end or begun) < begun:
            yield each


def _check_version(library: str) -> None:
    """Checks that the installed library has the version that compiled the pipeline."""
    version = library.removeprefix("katibflow-").rpartition("-")[0]
    if version not in ("", katibflow.__version__):
        raise RunnerError(
            f"the pipeline was compiled by katibflow {version}, and the steps run with "
            f"{katibflow.__version__}: pip install katibflow=={version}"
        )


def check_first_trials(history: History) -> None:
    """Checks that there are trials left to run.

    Raises:
        InputError: The experiment is over with the trials of earlier runs.
    """
    decision = after_rounds(history, 0)
    if decision.finished:
        raise InputError(
            f"resume: found {counted(len(history.trials), 'trial')} of earlier runs, with which "
            f"the experiment is over before it begins ({decision.reason}: {decision.message}); "
            f"allowed: {NONE}, or a maxTrialCount (+10: ten more), maxFailedTrialCount or "
            "goal that leaves something to do"
        )
