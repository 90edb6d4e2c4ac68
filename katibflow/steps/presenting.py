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
from katibflow.history import History, Trial, TrialState
from katibflow.objectives import best_trials, objective_values
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
        The best trial's assignments (empty if there is none, or a front of several objectives), how
        the experiment ended (`result.result_data` without what is None), and metrics by name.
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
    best = best_trials(objective, history.trials)
    counts = Counter(trial.state for trial in history.trials)
    metrics = {
        "trials": float(len(history.trials)),
        "failed trials": float(counts[TrialState.FAIL]),
    }
    if objective.goals:
        metrics["trials on the Pareto front"] = float(len(best))
    elif best:
        metrics["best trial"] = float(best[0].number)
    values = [_values(history, trial) for trial in best]
    for index, aim in enumerate(objective.aims if best else ()):
        metrics[f"best {aim.metric}"] = aim.sign * min(aim.sign * row[index] for row in values)
    return metrics


def _markdown(title: str, history: History, said: str) -> str:
    objective = history.experiment.spec.objective
    names = [parameter.name for parameter in history.experiment.spec.parameters]
    metrics = [aim.metric for aim in objective.aims]
    lines = [f"# {_cell(title)}", "", f"{len(history.trials)} trials. {_cell(said)}".rstrip(), ""]
    for best in best_trials(objective, history.trials):
        chosen = ", ".join(f"{name}={value}" for name, value in best.assignments.items())
        paired = zip(metrics, _values(history, best), strict=True)
        reached = ", ".join(f"{metric} {value:g}" for metric, value in paired)
        title = "On the Pareto front" if objective.goals else "Best"
        lines += [f"{title}: trial {best.number}, {_cell(f'{reached} with {chosen}')}", ""]
    lines += [
        _row(["trial", "state", *metrics, *names]),
        _row(["---"] * (2 + len(metrics) + len(names))),
        *(
            _row(
                [
                    str(trial.number),
                    f"{trial.state} {trial.reason}".rstrip(),
                    *map(_number, _values(history, trial)),
                    *(trial.assignments.get(name, "") for name in names),
                ]
            )
            for trial in history.trials
        ),
    ]
    return "\n".join(lines) + "\n"


def _values(history: History, trial: Trial) -> list[float]:
    values = objective_values(history.experiment.spec.objective, trial)
    return [math.nan if value is None else value for value in values]


def _number(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "-"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """Text that Markdown takes as it is, on one line."""
    line = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>#|~$!" else char for char in line)
