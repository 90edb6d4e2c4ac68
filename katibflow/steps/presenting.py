"""The steps that show: `summary` after each round, `report` after the last."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from katibflow.decision import Decision
from katibflow.history import History, Trial, TrialState, best_trial, objective_value
from katibflow.report import Ending, render_report
from katibflow.result import result_data
from katibflow.resume import is_taken_over
from katibflow.steps.files import read_study, says_what_is_wrong
from katibflow.steps.launching import run_folder, runner_for, runner_name
from katibflow.steps.rounds import after_rounds

__all__ = ["decision_at_end", "report", "summary"]


@says_what_is_wrong
def summary(
    study_path: str, number: int, trials: int, page_path: str, text_path: str
) -> dict[str, float]:
    """Shows how the experiment stands after a round.

    Args:
        study_path: The study after that round, or after a later one.
        number: The round's number.
        trials: How many trials the study had after it.
        page_path: Where the HTML page goes.
        text_path: Where the Markdown goes.

    Returns:
        Metrics by name.
    """
    history = read_study(study_path)
    history = replace(history, trials=history.trials[:trials], rounds=number)
    ending = Ending(None, f"Round {number}", f"{trials} trials so far")
    Path(page_path).write_text(
        render_report(history, ending, _logs(history, page_path)), encoding="utf-8"
    )
    title = f"{history.experiment.name}, round {number}"
    Path(text_path).write_text(_markdown(title, history, ""), encoding="utf-8")
    return {"round": float(number), **_metrics(history)}


@says_what_is_wrong
def report(
    study_path: str, page_path: str, text_path: str
) -> tuple[dict[str, str], dict[str, Any], dict[str, float]]:
    """Shows how the experiment ended, from the trials on record.

    Args:
        study_path: The study as the run started with it.
        page_path: Where the HTML page goes.
        text_path: Where the Markdown goes.

    Returns:
        The best trial's assignments (empty if no trial has a finite objective), how the experiment
        ended (`result.result_data` without what is None), and metrics by name.
    """
    history = read_study(study_path)
    runner = runner_for(history)
    try:
        history = history.with_trials(runner.records())
    finally:
        runner.close()
    decision = decision_at_end(history)
    ending = Ending(decision.succeeded, decision.reason, decision.message)
    Path(page_path).write_text(
        render_report(history, ending, _logs(history, page_path)), encoding="utf-8"
    )
    said = f"{decision.reason}: {decision.message}"
    text = _markdown(history.experiment.name, history, said)
    Path(text_path).write_text(text, encoding="utf-8")
    print(text)
    # A parameter of Kubeflow's holds no None, so what there is not is left out.
    result = {
        key: value for key, value in result_data(history, ending).items() if value is not None
    }
    return result.get("best", {}).get("assignments", {}), result, _metrics(history)


def _logs(history: History, page_path: str) -> dict[int, dict[str, str]]:
    """What a page shows for the trials' logs: links on this machine, elsewhere the jobs' names."""
    logs = {trial.number: {trial.job: ""} for trial in history.trials if trial.job is not None}
    if runner_name() == "local":
        page = Path(page_path).resolve().parent
        trials = run_folder(history.experiment.name, history.run) / "trials"
        for trial in history.trials:
            paths = sorted(trials.glob(f"{trial.number:04}/*.log"))
            if paths and not is_taken_over(history, trial):
                places = {path.stem: os.path.relpath(path.resolve(), page) for path in paths}
                logs[trial.number] = places
    return logs


def decision_at_end(history: History) -> Decision:
    """Why the experiment of a run that is over has ended."""
    # The records say nothing of rounds, but every round of this run but the last was full.
    own = sum(not is_taken_over(history, trial) for trial in history.trials)
    rounds = math.ceil(own / history.experiment.spec.parallelism)
    decision = after_rounds(history, rounds)
    if decision.finished:
        return decision
    return Decision(True, False, "PipelineEnded", "the run ended before the experiment did", 0)


def _metrics(history: History) -> dict[str, float]:
    objective = history.experiment.spec.objective
    best = best_trial(objective, history.trials)
    counts = Counter(trial.state for trial in history.trials)
    metrics = {
        "trials": float(len(history.trials)),
        "failed trials": float(counts[TrialState.FAIL]),
    }
    if best is not None:
        metrics["best trial"] = float(best.number)
        metrics[f"best {objective.objective_metric_name}"] = _value(history, best)
    return metrics


def _markdown(title: str, history: History, said: str) -> str:
    objective = history.experiment.spec.objective
    names = [parameter.name for parameter in history.experiment.spec.parameters]
    best = best_trial(objective, history.trials)
    metric = objective.objective_metric_name
    lines = [f"# {_cell(title)}", "", f"{len(history.trials)} trials. {_cell(said)}".rstrip(), ""]
    if best is not None:
        chosen = ", ".join(f"{name}={best.assignments.get(name, '')}" for name in names)
        value = _value(history, best)
        lines += [f"Best: trial {best.number}, {_cell(f'{metric} {value:g} with {chosen}')}", ""]
    lines += [
        _row(["trial", "state", metric, *names]),
        _row(["---"] * (3 + len(names))),
        *(
            _row(
                [
                    str(trial.number),
                    f"{trial.state} {trial.reason}".rstrip(),
                    _number(_value(history, trial)),
                    *(trial.assignments.get(name, "") for name in names),
                ]
            )
            for trial in history.trials
        ),
    ]
    return "\n".join(lines) + "\n"


def _value(history: History, trial: Trial) -> float:
    value = objective_value(history.experiment.spec.objective, trial)
    return math.nan if value is None else value


def _number(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "-"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """Text that Markdown takes as it is, on one line."""
    line = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>#|~$!" else char for char in line)
