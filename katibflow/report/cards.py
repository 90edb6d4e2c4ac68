"""Writes what the report says before its plots: the ending, failures, best trials and settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape

from katibflow.experiment.types import (
    Algorithm,
    Distribution,
    EarlyStopping,
    Experiment,
    NasConfig,
    Parameter,
)
from katibflow.report.architecture import architecture_html
from katibflow.report.words import (
    NOTHING,
    assigned_html,
    length_text,
    log_link,
    message_html,
    moment_text,
    number_html,
)
from katibflow.study.best import Best, best_of
from katibflow.study.ending import Ending
from katibflow.study.failures import Failure, failures_of, gave_nothing, succeeded_text
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.objectives import (
    aims_texts,
    found_text,
    objective_values,
    reported_metric,
)
from katibflow.study.reasons import ExperimentReason

__all__ = ["badge_of", "best_html", "space_html", "summary_html"]


def summary_html(
    history: History, ending: Ending, logs: Mapping[int, Mapping[str, str]], now: datetime
) -> str:
    """Returns what the page says before its plots: the ending, the best trials, the counts.

    Args:
        history: The history.
        ending: How the experiment ended, or that it has not ended.
        logs: Trial number to replica name to the log's link.
        now: The time up to which a run that goes on has taken.
    """
    spec = history.experiment.spec
    word, kind = badge_of(history, ending)
    facts = [*aims_texts(spec.objective), f"algorithm {spec.algorithm.algorithm_name}"]
    counts = Counter(trial.state for trial in history.trials)
    tiles = "".join(
        f'<div class="tile"><b>{counts[state]}</b><span class="state {state.value.lower()}">'
        f"{state.value.lower()}</span></div>"
        for state in TrialState
    )
    most, count = spec.max_trial_count, len(history.trials)
    of = f" of at most {most}" if most is not None and count <= most else ""
    return (
        f'<header><h1>{escape(history.experiment.name)}</h1><span class="badge {kind}">{word}'
        f'</span><p class="facts">{escape(" · ".join(facts))}</p></header>'
        f'<section class="card ending {kind}" id="ending"><h2>'
        f"{'Where it stands' if ending.succeeded is None else 'Why it stopped'}</h2>"
        f"<p><b>{escape(ending.reason)}</b></p><p>{escape(ending.message)}</p></section>"
        f"{_failures_html(history, logs)}{_kept_html(history)}"
        f'<div class="pair">{best_html(history)}'
        f'<section class="card" id="counts"><h2>Trials: {len(history.trials)}{of}</h2>'
        f'<div class="tiles">{tiles}</div>{_times_html(history, ending, now)}</section></div>'
        f"{architecture_html(history)}{_searched_html(history)}"
    )


def badge_of(history: History, ending: Ending) -> tuple[str, str]:
    """Returns the badge's word and its kind, which is its colour."""
    if ending.succeeded is None:
        is_stopped = ending.reason == ExperimentReason.INTERRUPTED
        return ("Interrupted", "stopped") if is_stopped else ("Running", "running")
    if ending.succeeded and gave_nothing(history.experiment.spec.objective, history.trials):
        return "No result", "bad"
    return ("Succeeded", "good") if ending.succeeded else ("Failed", "bad")


def _failures_html(history: History, logs: Mapping[int, Mapping[str, str]]) -> str:
    """Returns the failures by their causes, with the message and the logs of one trial of each."""
    found = failures_of(history.trials)
    if not found:
        return ""
    items = "".join(_failure_html(each, logs) for each in found)
    share = escape(succeeded_text(history.trials))
    return (
        f'<section class="card ending bad" id="failures"><h2>Failures</h2><p>{share}</p>'
        f"<ul>{items}</ul></section>"
    )


_MOST_LINKED = 20
"""Trials of one cause that the page links to."""


def _failure_html(failure: Failure, logs: Mapping[int, Mapping[str, str]]) -> str:
    first = failure.trials[0]
    links = ", ".join(
        f'<a href="#trial-{trial.number}">{trial.number}</a>'
        for trial in failure.trials[:_MOST_LINKED]
    )
    more = ", ..." if failure.trials[_MOST_LINKED:] else ""
    count = f"{len(failure.trials)} trial{'s' if failure.trials[1:] else ''}"
    of_first = " ".join(log_link(name, log) for name, log in logs.get(first.number, {}).items())
    return (
        f"<li><details><summary>{count}: <b>{escape(failure.cause)}</b></summary>"
        f"<p>{escape(failure.reason)}, in trial {first.number}:</p>{message_html(first.message)}"
        f"</details><p>{links}{more} {of_first}</p></li>"
    )


def _times_html(history: History, ending: Ending, now: datetime) -> str:
    """Returns when the trials began and ended, and how long that was in all."""
    begun = [moment for t in history.trials if (moment := _moment(t.queued or t.start))]
    ended = [moment for t in history.trials if (moment := _moment(t.end))]
    if not begun:
        return ""
    goes_on = ending.succeeded is None and ending.reason != ExperimentReason.INTERRUPTED
    last = now if goes_on else max(ended, default=None)
    pairs = {"Started": moment_text(min(begun))}
    if last is not None:
        pairs["Now" if goes_on else "Ended"] = moment_text(last)
        pairs["So far" if goes_on else "In all"] = length_text((last - min(begun)).total_seconds())
    return _list_html({name: escape(text) for name, text in pairs.items()})


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _searched_html(history: History) -> str:
    """Returns the search space, and the settings with which it is searched."""
    return (
        f'<div class="pair"><section class="card" id="space"><h2>Search space</h2>'
        f"{space_html(history.experiment)}</section>"
        f'<section class="card" id="settings"><h2>Settings</h2>'
        f"{_list_html(_settings(history))}</section></div>"
    )


def space_html(experiment: Experiment) -> str:
    """Returns the search space as a table with a row for each parameter, its operations' too."""
    if experiment.spec.nas_config is not None:
        return _operations_html(experiment.spec.nas_config)
    conditional = any(each.when for each in experiment.spec.parameters)
    heads = ["Parameter", "Type", "Values", *(["When"] if conditional else [])]
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(text) or NOTHING}</td>" for text in cells) + "</tr>"
        for each in experiment.spec.parameters
        for cells in [
            [each.name, each.type.value, _feasible(each), *([_when(each)] if conditional else [])]
        ]
    )
    head = "".join(f"<th>{each}</th>" for each in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _operations_html(config: NasConfig) -> str:
    """Returns the layers and the operations of an architecture search."""
    graph = config.graph_config
    sizes = {
        "Layers": str(graph.num_layers or ""),
        "Input": ", ".join(map(str, graph.input_sizes)),
        "Output": ", ".join(map(str, graph.output_sizes)),
    }
    rows = "".join(
        f"<tr><td>{escape(operation.operation_type)}</td><td>{escape(name)}</td>"
        f"<td>{escape(values) or NOTHING}</td></tr>"
        for operation in config.operations
        for name, values in [(each.name, _feasible(each)) for each in operation.parameters]
        or [("", "")]
    )
    return (
        _list_html({name: escape(text) for name, text in sizes.items() if text})
        + "<table><thead><tr><th>Operation</th><th>Parameter</th><th>Values</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _feasible(parameter: Parameter) -> str:
    space = parameter.feasible_space
    if space.list is not None:
        return ", ".join(space.list)
    step = f", step {space.step}" if space.step is not None else ""
    is_plain = space.distribution is Distribution.UNIFORM
    return f"{space.min} to {space.max}{step}{'' if is_plain else f', {space.distribution}'}"


def _when(parameter: Parameter) -> str:
    return "; ".join(
        f"{name} is {' or '.join(texts)}" for name, texts in (parameter.when or {}).items()
    )


def _settings(history: History) -> dict[str, str]:
    """Returns the Experiment's settings by what they are, as HTML."""
    spec = history.experiment.spec
    counts = {
        "Trials at a time": spec.parallelism,
        "Trials at most": spec.max_trial_count,
        "Failed trials at most": spec.max_failed_trial_count,
    }
    stopping = spec.early_stopping
    texts = {
        "Objective": "; ".join(aims_texts(spec.objective)),
        "Algorithm": _with_settings(spec.algorithm),
        "Early stopping": _with_settings(stopping) if stopping is not None else "none",
        "Seed": str(history.seed),
        **{name: "no limit" if count is None else str(count) for name, count in counts.items()},
        "Run": history.run,
    }
    return {name: escape(text) for name, text in texts.items()}


def _with_settings(named: Algorithm | EarlyStopping) -> str:
    settings = ", ".join(f"{each.name}={each.value}" for each in named.algorithm_settings)
    return f"{named.algorithm_name} ({settings})" if settings else named.algorithm_name


def _kept_html(history: History) -> str:
    """Returns what changed since trials ran that count all the same."""
    lines = [escape(line) for each in history.kept for line in each.lines()]
    if not lines:
        return ""
    text = "<br>".join(lines)
    return (
        '<section class="card ending" id="kept"><h2>Trials of before a change</h2>'
        f"<p>{text}</p></section>"
    )


def best_html(history: History) -> str:
    """Returns the best trial with all its metrics, or the Pareto front, or that there is none."""
    best = best_of(history.experiment.spec.objective, history.trials)
    if not best.trials:
        return (
            f'<section class="card" id="best"><h2>{best.title}</h2>'
            f"<p>{escape(best.none[0].upper() + best.none[1:])}.</p></section>"
        )
    return (_front_html if best.is_front else _one_html)(best)


def _one_html(best: Best) -> str:
    (trial,) = best.trials
    values = zip(best.objective.aims, objective_values(best.objective, trial), strict=True)
    reached = "".join(
        f'<p class="value"><span>{escape(aim.metric)}</span><b>{number_html(value)}</b></p>'
        for aim, value in values
        if value is not None
    )
    if text := found_text(best.objective, trial):
        reached = _list_html({reported_metric(best.objective): escape(text)})
    aims = {aim.metric for aim in best.objective.aims}
    metrics = {
        f"{name} ({best.objective.strategy(name)})": seen.value(best.objective.strategy(name))
        for name, seen in trial.observations.items()
        if name not in aims
    }
    return (
        f'<section class="card" id="best"><h2>{best.title}: <a href="#trial-{trial.number}">'
        f"{trial.number}</a></h2>{reached}"
        + _list_html({name: assigned_html(text) for name, text in trial.assignments.items()})
        + _list_html({name: number_html(value) for name, value in metrics.items()}, "Metrics")
        + "</section>"
    )


def _list_html(pairs: Mapping[str, str], heading: str = "") -> str:
    """Returns names with values as a list; the names are texts, the values HTML."""
    if not pairs:
        return ""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{value}</dd>" for name, value in pairs.items())
    return (f"<h3>{heading}</h3>" if heading else "") + f"<dl>{items}</dl>"


def _front_html(best: Best) -> str:
    parameters = list(dict.fromkeys(name for trial in best.trials for name in trial.assignments))
    aims = [aim.metric for aim in best.objective.aims]
    seen = dict.fromkeys(name for trial in best.trials for name in trial.observations)
    others = [name for name in seen if name not in aims]
    heads = [*aims, *parameters, *others]
    rows = "".join(
        f'<tr><th scope="row"><a href="#trial-{trial.number}">{trial.number}</a></th>'
        + "".join(
            f'<td class="num"><b>{number_html(value)}</b></td>'
            for value in objective_values(best.objective, trial)
            if value is not None
        )
        + "".join(
            f'<td class="num">{assigned_html(trial.assignments.get(name, "")) or NOTHING}</td>'
            for name in parameters
        )
        + "".join(f'<td class="num">{_metric(best, trial, name)}</td>' for name in others)
        + "</tr>"
        for trial in best.trials
    )
    return (
        f'<section class="card" id="best"><h2>{best.count_text}</h2><table id="front"><thead>'
        f"<tr><th>Trial</th>{''.join(f'<th class=num>{escape(head)}</th>' for head in heads)}</tr>"
        "</thead>"
        f"<tbody>{rows}</tbody></table></section>"
    )


def _metric(best: Best, trial: Trial, name: str) -> str:
    seen = trial.observations.get(name)
    return NOTHING if seen is None else number_html(seen.value(best.objective.strategy(name)))
