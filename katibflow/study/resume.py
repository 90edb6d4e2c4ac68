"""Takes over the trials of earlier runs into a new run, and checks that they count for it.

Trials can count for a changed Experiment if its search space and its objective have not changed. If
anything else has changed that matters (`study.changes`), they count only if the user keeps them.
The runner stores `search_text` of the Experiment beside the record of each trial; finding the
records is not done here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from katibflow.errors import Fault, InputError, InvalidExperiment
from katibflow.experiment.types import Experiment
from katibflow.study import objectives
from katibflow.study.changes import Change, changes, changes_text, compared, shortened
from katibflow.study.history import History, Kept, Trial
from katibflow.study.job_name import job_name

__all__ = [
    "ALL",
    "CHANGED",
    "NONE",
    "EarlierTrial",
    "check_resume",
    "check_searched",
    "first_to_end",
    "is_taken_over",
    "read_resume",
    "run_name",
    "runs_in",
    "search_text",
    "searched",
    "take_over",
    "taken_over_before",
]

NONE = "none"
"""The value of resume that takes over no trials."""

ALL = "all"
"""The value of resume that takes over the trials of all earlier runs of this name."""

_SEARCH_LIMIT = 16_000
"""Bytes. An object can have 256 KiB of annotations, of which a record takes up to 200,000."""

_COUNTS = ("parallelTrialCount", "maxTrialCount", "maxFailedTrialCount")

CHANGED = "+changed"
"""The end of a value of resume with which trials count whose Experiment has changed since."""

_NAS = "nasConfig"

_ANEW = frozenset({"spec.objective.goal"})
"""Fields that a run in Kubeflow Pipelines may change by its parameters, whatever it takes over."""

_RUN = re.compile(r"[0-9a-f]{8}")
_KFP_RUN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class EarlierTrial:
    """A trial on record, of any run of the experiment's name.

    Attributes:
        run: The run's id.
        trial: The trial.
        search: The result of `search_text` for the trial's Experiment; empty if not on record.
    """

    run: str
    trial: Trial
    search: str


def check_resume(
    source: str, new: Experiment, old: Experiment, otherwise: str = "another --name"
) -> None:
    """Checks that trials of ``old`` can count as trials of ``new``.

    Whatever else `study.changes` finds may differ, if the user says so. The parameters and the
    metrics of the objective must be the same, or nobody could compare the trials.

    Args:
        source: The name of the new Experiment's origin in the error.
        new: The Experiment that is to be run.
        old: The Experiment whose trials are on record.
        otherwise: Another thing that the user can do, for the error.

    Raises:
        InvalidExperiment: The Experiments differ. The error has a fault for each difference, with
            the old value as the allowed one.
    """
    why = f", as the trials on record of {old.name} have it; or {otherwise}"
    differences = tuple(_differences(new, old, why))
    if differences:
        raise InvalidExperiment(source, differences)


def run_name(run: str) -> str:
    """Returns katibflow's id of a pipeline's run, 8 hexadecimal characters, from KFP's id."""
    return hashlib.sha256(run.encode()).hexdigest()[:8]


def read_resume(text: str) -> str:
    """Reads a value of resume: returns `NONE`, `ALL` or runs' ids of 8 hexadecimal characters.

    Args:
        text: One of these, KFP's ids of runs, or an empty text for `NONE`; commas stand between
            ids. With ``+changed`` at its end trials count whose Experiment has changed since.

    Raises:
        InputError: The text is none of them.
    """
    wanted = text.strip().lower().removesuffix(CHANGED) or NONE
    if wanted in (NONE, ALL):
        return wanted
    ids = [each.strip() for each in wanted.split(",")]
    if not all(_RUN.fullmatch(each) or _KFP_RUN.fullmatch(each) for each in ids):
        raise InputError(
            f'resume: found "{text}"; allowed: {NONE}, {ALL}, or an earlier run: the label '
            "katibflow/run of its jobs, 8 of 0-9 and a-f, or the id that Kubeflow Pipelines shows; "
            "commas stand between several; "
            f"with {CHANGED} at its end also if the Experiment has changed since"
        )
    return ",".join(run_name(each) if _KFP_RUN.fullmatch(each) else each for each in ids)


def runs_in(history: History) -> tuple[str, ...]:
    """Returns the ids of the runs whose trials a history has, its own one the last.

    With them as ``resume``, a further run goes on with all trials of the history.
    """
    jobs = (trial.job for trial in history.trials if is_taken_over(history, trial))
    others = (job.rsplit("-", 2)[-2] for job in jobs if job is not None)
    return (*dict.fromkeys(others), history.run)


def search_text(experiment: Experiment) -> str:
    """Returns what an Experiment searches, and how, as JSON.

    It has the result of `searched`, the ``counts`` of trials and, as ``compared``, what
    `study.changes` compares, with hashes of long texts. What would make it longer than 16,000 bytes
    is left out: first ``compared``, then everything.
    """
    spec = experiment.document()["spec"]
    counts = {key: spec[key] for key in _COUNTS if key in spec}
    data = {**searched(experiment), "counts": counts}
    for each in ({**data, "compared": shortened(compared(experiment))}, data):
        text = json.dumps(each, ensure_ascii=False, separators=(",", ":"))
        if len(text.encode()) <= _SEARCH_LIMIT:
            return text
    return ""


def searched(experiment: Experiment) -> dict[str, Any]:
    """Returns an Experiment's ``parameters``, ``objective`` and ``algorithm`` as plain data.

    With an architecture search there is its ``nasConfig``, too.
    """
    spec = experiment.document()["spec"]
    found = {key: spec.get(key, []) for key in ("parameters", "objective", "algorithm")}
    return {**found, _NAS: spec[_NAS]} if _NAS in spec else found


def check_searched(
    source: str, new: Experiment, searched: Mapping[str, Any], name: str, otherwise: str
) -> None:
    """Checks that trials count as trials of ``new``; as `check_resume`, without the old Experiment.

    Args:
        source: The name of the new Experiment's origin in the error.
        new: The Experiment that is to be run.
        searched: The result of `searched` for the Experiment of the trials.
        name: The name of that Experiment in the error.
        otherwise: Another thing that the user can do, for the error.

    Raises:
        InvalidExperiment: The search spaces or the objectives differ.
        KeyError, TypeError, ValueError: ``searched`` is no result of the function `searched`.
    """
    document = new.document()
    spec = {
        **document["spec"],
        "parameters": searched["parameters"],
        "objective": searched["objective"],
        _NAS: searched.get(_NAS),
    }
    old = Experiment.model_validate({**document, "metadata": {"name": name}, "spec": spec})
    check_resume(source, new, old, otherwise)


def take_over(
    source: str,
    history: History,
    resume: str,
    earlier: Iterable[EarlierTrial],
    keep: bool = False,
) -> History:
    """Returns the history with the finished trials of earlier runs, numbered from 0 by their age.

    The trials keep the names of their jobs, which identify them (`is_taken_over`). This leaves out
    killed trials, since they do not count. The trials keep the sampler's attributes only if the
    algorithm and all numbers stay the same, since attributes may name other trials by number.

    Args:
        source: The name of the Experiment's origin in errors.
        history: A new history, without trials.
        resume: The value of resume, as for `read_resume`.
        earlier: All trials on record of this Experiment's name; iterated only if ``resume`` is not
            `NONE`.
        keep: Whether trials count that ran with another template, algorithm or the like; the
            history then says so (`History.kept`). By default that is an error.

    Raises:
        InputError: ``resume`` is no value of resume, or names a run without trials; or the trials
            ran with an Experiment that differs, and ``keep`` is False.
        InvalidExperiment: The earlier trials do not count for this Experiment.
    """
    wanted = read_resume(resume)
    keep = keep or resume.strip().lower().endswith(CHANGED)
    if wanted == NONE:
        return history
    others = [each for each in earlier if each.run != history.run]
    chosen = [each for each in others if _is_wanted(each, wanted)]
    known = {each.run for each in others}
    if wanted != ALL and not known.issuperset(wanted.split(",")):
        runs = ", ".join(sorted(known)) or "none of this name is on record"
        raise InputError(f'resume: found "{resume}", a run without trials; allowed: {runs}')
    finished = sorted(
        (each for each in chosen if _counts(each, wanted)),
        key=lambda each: (_made(each.trial), each.run, each.trial.number),
    )
    run_of = {each.search: each.run for each in reversed(finished)}
    found = {
        text: _read_after_check(source, history.experiment, text, run)
        for text, run in run_of.items()
    }
    differences = {
        text: differing
        for text, data in found.items()
        if (differing := _changes(history.experiment, data))
    }
    if differences and not keep:
        text, differing = next(iter(differences.items()))
        raise InputError(
            f"resume: the trials of run {run_of[text]} ran with another Experiment:"
            f"{changes_text(differing)}\nallowed: resume {NONE} or another name, to begin anew; or "
            f"resume {wanted}{CHANGED}, so that they count, which the report then says"
        )
    own = json.loads(search_text(history.experiment) or "{}").get("algorithm")
    keeps_attributes = all(
        each.trial.number == number for number, each in enumerate(finished)
    ) and all(data.get("algorithm") == own for data in found.values())
    return replace(
        history,
        trials=tuple(
            replace(
                each.trial,
                number=number,
                attributes=each.trial.attributes if keeps_attributes else {},
            )
            for number, each in enumerate(finished)
        ),
        kept=tuple(
            Kept(
                tuple(number for number, each in enumerate(finished) if each.search == text),
                tuple(map(str, differing)),
            )
            for text, differing in differences.items()
        ),
    )


def taken_over_before(
    empty: History, resume: str, count: int, earlier: Iterable[EarlierTrial]
) -> Sequence[Trial]:
    """Returns the trials that a run took over, with the numbers that it gave them.

    Returns none if they have been deleted or changed.

    Args:
        empty: The run's history without trials.
        resume: The run's parameter ``resume``.
        count: The number of trials that the run took over.
        earlier: All trials on record of the Experiment's name.
    """
    try:
        first = first_to_end(empty.run, read_resume(resume), count, earlier)
        taken = take_over(resume, empty, resume, first, keep=True).trials
    except InputError:  # the trials that it took over have been deleted or changed
        return ()
    return taken if len(taken) == count else ()


def first_to_end(
    run: str, resume: str, count: int, earlier: Iterable[EarlierTrial]
) -> list[EarlierTrial]:
    """Returns the trials on record without those that ended after a run had begun.

    A run takes over the trials that had ended when it began; those are the first ``count`` to end.

    Args:
        run: The run's id.
        resume: The value of resume, from `read_resume`.
        count: The number of trials that the run took over.
        earlier: All trials on record of the Experiment's name.
    """
    trials = list(earlier)
    ended = sorted(
        (each for each in trials if each.run != run and _counts(each, resume)),
        key=lambda each: each.trial.end or "",
    )
    late = {id(each) for each in ended[count:]}
    return [each for each in trials if id(each) not in late]


def _counts(earlier: EarlierTrial, resume: str) -> bool:
    """Returns whether an earlier run's trial is taken over by a value of resume."""
    return _is_wanted(earlier, resume) and earlier.trial.state.counts


def _is_wanted(earlier: EarlierTrial, resume: str) -> bool:
    return resume == ALL or earlier.run in resume.split(",")


def _made(trial: Trial) -> str:
    """Returns the time when a trial was made; older histories have that time as the start."""
    return trial.queued or trial.start or ""


def is_taken_over(history: History, trial: Trial) -> bool:
    """Returns whether an earlier run ran this trial of the history."""
    number, name = trial.number, history.experiment.name
    # an older katibflow shortened no name
    own = (job_name(history.experiment, history.run, number), f"{name}-{history.run}-{number}")
    return trial.job is not None and trial.job not in own


def _changes(new: Experiment, data: Mapping[str, Any]) -> tuple[Change, ...]:
    """Returns the changes since the trials that say ``data``, as far as they say it."""
    if "compared" not in data:
        return ()
    found = changes(compared(new), data["compared"])
    return tuple(change for change in found if change.path not in _ANEW)


def _read_after_check(source: str, new: Experiment, search: str, run: str) -> Mapping[str, Any]:
    """Checks that the trials of a run count for the new Experiment, and returns what they say."""
    if not search:
        raise InputError(
            f"resume: the jobs of run {run} do not say what they searched, as those of an older "
            f"katibflow, or with more than {_SEARCH_LIMIT} bytes of parameters; allowed: {NONE}"
        )
    try:
        found: Mapping[str, Any] = json.loads(search)
        check_searched(
            source,
            new,
            found,
            f"{new.name}, run {run}",
            f"resume {NONE}, a run that has it too, or another name",
        )
        return found
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"resume: what the jobs of run {run} searched cannot be read: {error}"
        ) from error


def _differences(new: Experiment, old: Experiment, why: str) -> Iterator[Fault]:
    before = {parameter.name: parameter for parameter in old.spec.parameters}
    after = {parameter.name: parameter for parameter in new.spec.parameters}
    for index, (name, parameter) in enumerate(after.items()):
        path = f"spec.parameters[{index}]"
        if name not in before:
            yield Fault(path, f'"{name}"', f"only {', '.join(before)}{why}")
            continue
        known = before[name]
        if parameter.type is not known.type:
            yield Fault(f"{path}.parameterType", parameter.type, f"{known.type}{why}")
        if parameter.when != known.when:
            found, allowed = (json.dumps(each.when or {}) for each in (parameter, known))
            yield Fault(f"{path}.when", found, f"{allowed}{why}")
        space, then = parameter.feasible_space, known.feasible_space
        if space != then:
            found = space.model_dump_json(by_alias=True, exclude_none=True)
            allowed = then.model_dump_json(by_alias=True, exclude_none=True)
            yield Fault(f"{path}.feasibleSpace", found, f"{allowed}{why}")
    for name in before:
        if name not in after:
            yield Fault("spec.parameters", f"no {name}", f"a parameter {name}{why}")
    if new.spec.nas_config != old.spec.nas_config:
        found, allowed = (
            "none" if config is None else config.model_dump_json(by_alias=True, exclude_unset=True)
            for config in (new.spec.nas_config, old.spec.nas_config)
        )
        yield Fault(f"spec.{_NAS}", found, f"{allowed}{why}")
    yield from objectives.differences(new.spec.objective, old.spec.objective, why)
