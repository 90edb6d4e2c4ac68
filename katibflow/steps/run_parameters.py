"""The table of run parameters: the values of an Experiment that a run may change.

The table gives the compiled pipeline's parameters and defaults, the inputs of the step `start` and
their checks, the options of ``katibflow submit``, the keywords of ``Experiment.submit``,
``Experiment.task`` and ``katibflow.pipelines.experiment``, the command that goes on with a run's
trials, and the table in docs/kfp.md. An entry of `RUN_PARAMETERS` has the function that applies its
value: to the Experiment's document, or to the study that a run begins with. Every command reads the
table, so large imports wait until a value is checked.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from katibflow.errors import Fault, InputError
from katibflow.experiment import further_runs, timeouts
from katibflow.experiment.counts import count_faults, name_faults
from katibflow.experiment.spelling import did_you_mean
from katibflow.steps.values import NONE, is_nothing
from katibflow.steps.warm_start import check_warm_start, with_warm_start
from katibflow.suggestion.enqueued import ENQUEUE
from katibflow.suggestion.enqueued import faults as enqueued_faults
from katibflow.tracking import TRACK
from katibflow.tracking import faults as tracking_faults

if TYPE_CHECKING:
    from katibflow.experiment.parsing import Parts
    from katibflow.experiment.types import Experiment
    from katibflow.study.history import History
    from katibflow.study.resume import EarlierTrial

__all__ = [
    "RUN_PARAMETERS",
    "RunParameter",
    "by_names",
    "check_texts",
    "checked_with",
    "document_rules",
    "initial_study",
    "parameters_for_start",
    "parameters_of",
    "run_parameters",
    "with_more",
    "with_parameters",
]

Document = dict[str, Any]
Put = Callable[[Document, str], None]
Rule = Callable[["Parts"], Iterator[Fault]]
Earlier = Callable[[str], Iterable["EarlierTrial"]]
"""Reads all trials on record of an Experiment's name."""

Begin = Callable[[str, "History", Mapping[str, str], Earlier], "History"]


@dataclass(frozen=True)
class RunParameter:
    """One parameter of a run, whose value is a text, as Kubeflow Pipelines passes it.

    Attributes:
        name: The name in a pipeline and in mappings: Katib's name, in Katib's spelling.
        option: The option of ``katibflow submit``.
        help: The option's help.
        meaning: What the parameter means, for the documents.
        example: A value that changes an Experiment without one, for tests and documents.
        default: Returns the value for a run without one, from the Experiment.
        metavar: The word for the value in the option's help; None for the type's name.
        left_out: The value of a run without one, for the documents.
        put: Puts the value into the Experiment's document, even a wrong one; None for a value
            that is not in the document.
        faults: Checks the document with the value in it; None if the fields' types suffice.
        check: Checks the text of a value that is not in the document; None without a check.
        begin: Applies the value to the study that a run begins with. Its arguments are a name for
            errors, the study, all parameters and what reads the trials of earlier runs.

    Raises:
        ValueError: Both ``put`` and ``begin`` are None.
    """

    name: str
    option: str
    help: str
    meaning: str
    example: str
    default: Callable[[Experiment], str]
    metavar: str | None = None
    left_out: str = "the Experiment's"
    put: Put | None = None
    faults: Rule | None = None
    check: Callable[[str], object] | None = None
    begin: Begin | None = None

    def __post_init__(self) -> None:
        if self.put is None and self.begin is None:
            raise ValueError(f"run parameter {self.name}: nothing takes its value")

    @property
    def keyword(self) -> str:
        """The parameter's name in Python: ``max_trial_count`` for ``maxTrialCount``."""
        return re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", self.name)


def _name(document: Document, text: str) -> None:
    document["metadata"]["name"] = text


def _number(*path: str) -> Put:
    """Returns a function that sets a number at a path of the document, or removes it for `NONE`."""

    def put(document: Document, text: str) -> None:
        fields: Any = document
        for key in path[:-1]:
            fields = fields[key]
        fields.pop(path[-1], None)
        if not is_nothing(text):
            fields[path[-1]] = _as_number(text)

    return put


def _annotation(key: str) -> Put:
    """Returns a function that sets an annotation in the document, or removes it for `NONE`."""

    def put(document: Document, text: str) -> None:
        annotations = document["metadata"].pop("annotations", None) or {}
        annotations.pop(key, None)
        if not is_nothing(text):
            annotations[key] = text
        if annotations:
            document["metadata"]["annotations"] = annotations

    return put


def _annotated(key: str) -> Callable[[Experiment], str]:
    return lambda experiment: experiment.metadata.annotations.get(key, NONE)


def _all_counts(parts: Parts) -> Iterator[Fault]:
    """Yields faults of the counts by Katib's rules and by the algorithm's."""
    from katibflow.suggestion import algorithms

    yield from count_faults(parts)
    yield from algorithms.count_faults(parts)


def _resume(experiment: Experiment) -> str:
    from katibflow.study.resume import ALL

    return NONE if experiment.spec.resume_policy == "Never" else ALL


def _check_resume(text: str) -> None:
    from katibflow.study.resume import read_resume

    read_resume(text)


def _take_over(
    source: str, history: History, given: Mapping[str, str], earlier: Earlier
) -> History:
    """Returns the study with earlier runs' trials; maxTrialCount ``+10`` counts from there."""
    from katibflow.study.resume import take_over

    resume = given.get("resume", NONE)
    known = () if is_nothing(resume) else earlier(history.experiment.name)
    return with_more(take_over(source, history, resume, known), given)


RUN_PARAMETERS: tuple[RunParameter, ...] = (
    RunParameter(
        "name",
        option="--name",
        help="The run's Experiment gets this name, not the file's.",
        meaning="the experiment's name, by which its jobs and earlier runs are found",
        example="nightly",
        default=lambda experiment: experiment.name,
        put=_name,
        faults=name_faults,
    ),
    RunParameter(
        "parallelTrialCount",
        option="--parallel",
        metavar="N|none",
        help="In place of parallelTrialCount.",
        meaning="trials at a time, from 1",
        example="2",
        default=lambda experiment: _text(experiment.spec.parallel_trial_count),
        put=_number("spec", "parallelTrialCount"),
        faults=_all_counts,
    ),
    RunParameter(
        "maxTrialCount",
        option="--max-trials",
        metavar="N|+N|none",
        help="In place of maxTrialCount; +N is N beside the trials that --resume takes over.",
        meaning="trials in all, from 1; `+10`: ten beside those that `resume` takes over",
        example="20",
        default=lambda experiment: _text(experiment.spec.max_trial_count),
        put=_number("spec", "maxTrialCount"),
        faults=_all_counts,
    ),
    RunParameter(
        "maxFailedTrialCount",
        option="--max-failed-trials",
        metavar="N|none",
        help="In place of maxFailedTrialCount.",
        meaning="failed trials with which it fails, from 0",
        example="1",
        default=lambda experiment: _text(experiment.spec.max_failed_trial_count),
        put=_number("spec", "maxFailedTrialCount"),
        faults=_all_counts,
    ),
    RunParameter(
        "goal",
        option="--goal",
        metavar="X|none",
        help="In place of the objective's goal.",
        meaning="the objective's value with which it ends",
        example="0.1",
        default=lambda experiment: _text(experiment.spec.objective.goal),
        put=_number("spec", "objective", "goal"),
    ),
    RunParameter(
        "trialTimeout",
        option="--trial-timeout",
        metavar="S|none",
        help="Seconds that a trial may take.",
        meaning="seconds that a trial may take; `none`: no limit",
        example="3600",
        default=_annotated(timeouts.TRIAL_TIMEOUT),
        left_out="the Experiment's annotation",
        put=_annotation(timeouts.TRIAL_TIMEOUT),
        faults=timeouts.faults,
    ),
    RunParameter(
        "trialStartTimeout",
        option="--trial-start-timeout",
        metavar="S|none",
        help="Seconds for a trial's replicas to start in.",
        meaning="seconds within which a trial's pods must run; `none`: 600",
        example="1800",
        default=_annotated(timeouts.START_TIMEOUT),
        left_out="the Experiment's annotation",
        put=_annotation(timeouts.START_TIMEOUT),
        faults=timeouts.faults,
    ),
    RunParameter(
        "enqueue",
        option="--enqueue",
        metavar="JSON|none",
        help='Trials that come first, as [{"lr": 0.01}]; in place of the Experiment\'s.',
        meaning='assignments of the trials that come first, as JSON: `[{"lr": 0.01}]`',
        example='[{"x": 3}]',
        default=_annotated(ENQUEUE),
        left_out="the Experiment's annotation",
        put=_annotation(ENQUEUE),
        faults=enqueued_faults,
    ),
    RunParameter(
        "track",
        option="--track",
        metavar="mlflow:URI|none",
        help="Write the run to a tracker, as mlflow:http://HOST:5000, which its pods reach.",
        meaning="tracker that the steps write to: `mlflow:` and the address, for its pods",
        example="mlflow:http://mlflow.ml:5000",
        default=_annotated(TRACK),
        left_out="the Experiment's annotation",
        put=_annotation(TRACK),
        faults=tracking_faults,
    ),
    RunParameter(
        "resume",
        option="--resume",
        metavar="all|none|RUN,...",
        help="Whether the trials of this name's earlier runs count: of all, or of some; with "
        "+changed at its end also if the Experiment has changed since.",
        meaning="earlier runs whose finished trials count: `none`, `all` of this name, or the ids "
        "of some, with commas; `all+changed`: also of a changed Experiment",
        example="all",
        default=_resume,
        left_out="`none`, or `all` if resumePolicy is LongRunning or FromVolume",
        check=_check_resume,
        begin=_take_over,
    ),
    RunParameter(
        "furtherRuns",
        option="--further-runs",
        metavar="N|none",
        help="Runs that may follow this one by themselves, each with the trials so far, where a "
        "run of the layout rounds can hold no more.",
        meaning="runs that may follow by themselves, each with the trials so far, where one of the "
        "layout `rounds` can hold no more",
        example="2",
        default=_annotated(further_runs.FURTHER_RUNS),
        left_out="the Experiment's annotation",
        put=_annotation(further_runs.FURTHER_RUNS),
        faults=further_runs.faults,
    ),
    RunParameter(
        "warmStart",
        option="--warm-start",
        metavar="NAME[/RUN]|none",
        help="An earlier Experiment, by its name in this namespace, or one run of it: the "
        "algorithm learns from its trials, which do not count.",
        meaning="an earlier Experiment, or `NAME/RUN`, with the same parameters and objective: the "
        "algorithm learns from its trials, which do not count",
        example="sample",
        default=lambda experiment: NONE,
        left_out="`none`",
        check=check_warm_start,
        begin=with_warm_start,
    ),
)
"""The table, in the order in which help and documents list the parameters."""


def run_parameters() -> Mapping[str, RunParameter]:
    """Returns the table as a mapping by the parameters' names."""
    return {parameter.name: parameter for parameter in RUN_PARAMETERS}


def parameters_of(experiment: Experiment) -> dict[str, str]:
    """Returns the default parameters of a run: the Experiment's values as texts.

    A value that the Experiment does not have is `NONE`.
    """
    return {parameter.name: parameter.default(experiment) for parameter in RUN_PARAMETERS}


def by_names(given: Mapping[str, object], keywords: Mapping[str, object]) -> dict[str, object]:
    """Returns a run's parameters by name, from a mapping and from Python keywords.

    Args:
        given: Values by name; a None stays.
        keywords: Values by keyword; a None is left out.

    Raises:
        InputError: A name is no run parameter, or a parameter is given both ways.
    """
    table = run_parameters()
    for name in given:
        if name not in table:
            raise InputError(
                f"parameters: found {name}{did_you_mean(name, table)}; allowed: "
                f"{', '.join(sorted(table))}"
            )
    names = {parameter.keyword: name for name, parameter in table.items()}
    for keyword in keywords:
        if keyword not in names:
            raise InputError(
                f"{keyword}: found a keyword that is no parameter of a run"
                f"{did_you_mean(keyword, names)}; allowed: "
                f"{', '.join(names)}"
            )
    named = {names[key]: value for key, value in keywords.items() if value is not None}
    for name in named:
        if name in given:
            raise InputError(
                f"{table[name].keyword} and parameters: found {name} in both; allowed: one of them"
            )
    return {**given, **named}


def check_texts(given: Mapping[str, str]) -> None:
    """Checks the values that are not in the Experiment's document.

    Raises:
        InputError: A value is wrong.
    """
    for name, parameter in run_parameters().items():
        if parameter.check is not None and name in given:
            parameter.check(given[name])


def document_rules() -> tuple[Rule, ...]:
    """Returns the rules for the values that a run may change in the document, each once."""
    rules = (parameter.faults for parameter in RUN_PARAMETERS)
    return tuple(dict.fromkeys(rule for rule in rules if rule is not None))


def with_parameters(document: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """Returns the Experiment's document with a run's parameters in it, even wrong ones.

    `NONE` or "" removes a value; a parameter that is left out changes nothing. A maxTrialCount of
    ``+10`` becomes 10, to which `with_more` adds the trials of earlier runs.
    """
    changed = copy.deepcopy(dict(document))
    for name, parameter in run_parameters().items():
        if parameter.put is not None and name in given:
            parameter.put(changed, given[name])
    return changed


def checked_with(
    document: Mapping[str, Any],
    given: Mapping[str, str],
    check: Callable[[Mapping[str, Any]], Experiment],
) -> Experiment:
    """Returns the Experiment with a run's parameters in it, checked.

    A maxTrialCount of ``+10`` is not compared with the other counts if there may be trials to add
    it to; `initial_study` does that, which knows their number.

    Args:
        document: The Experiment in the YAML's names.
        given: The run's parameters, by name.
        check: Returns the Experiment of a document that has no faults.

    Raises:
        InputError: The Experiment has faults.
    """
    changed = with_parameters(document, given)
    most = changed["spec"].get("maxTrialCount")
    is_plain = type(most) is not int or most < 1 or not _is_added(given.get("maxTrialCount", ""))
    if is_plain or not _may_resume(document, given):
        return check(changed)
    del changed["spec"]["maxTrialCount"]
    experiment = check(changed)
    spec = experiment.spec.model_copy(update={"max_trial_count": most})
    return experiment.model_copy(update={"spec": spec})


def _may_resume(document: Mapping[str, Any], given: Mapping[str, str]) -> bool:
    if "resume" in given:
        return not is_nothing(given["resume"])
    return (document["spec"].get("resumePolicy") or "Never") != "Never"


def parameters_for_start(given: Mapping[str, str]) -> dict[str, str]:
    """Returns the parameters that the step `start` needs after `with_parameters`.

    They are those that are not in the document, and those whose value is added to the number of
    trials that a run takes over.
    """
    table = run_parameters()
    return {
        name: text
        for name, text in given.items()
        if table[name].begin is not None or _is_added(text)
    }


def initial_study(
    source: str, history: History, given: Mapping[str, str], earlier: Earlier
) -> History:
    """Returns the study that a run begins with.

    Args:
        source: A name of the values' origin, for errors.
        history: The study without trials, its Experiment changed by `with_parameters`.
        given: The run's parameters, by name.
        earlier: Reads all trials on record of an Experiment's name; called only if they matter.

    Raises:
        InputError: Earlier trials do not fit, or a value is wrong.
    """
    for parameter in RUN_PARAMETERS:
        if parameter.begin is not None:
            history = parameter.begin(source, history, given, earlier)
    if _is_added(given.get("maxTrialCount", "")):
        from katibflow.experiment.parsing import checked

        checked(history.experiment.document(), source, (_all_counts,))
    return history


def with_more(history: History, given: Mapping[str, str]) -> History:
    """Returns the study in which a maxTrialCount of ``+10`` is 10 more than its trials.

    Args:
        history: The study with the trials of earlier runs, changed by `with_parameters`.
        given: The run's parameters, by name.
    """
    experiment, most = history.experiment, history.experiment.spec.max_trial_count
    if most is None or not _is_added(given.get("maxTrialCount", "")):
        return history
    spec = experiment.spec.model_copy(update={"max_trial_count": most + len(history.trials)})
    return replace(history, experiment=experiment.model_copy(update={"spec": spec}))


def _is_added(text: str) -> bool:
    return text.lstrip().startswith("+")


def _text(value: float | None) -> str:
    return NONE if value is None else repr(value)


def _as_number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
