"""The steps `summary`, after the last round, and `report`, at the end, which show the results."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from katibflow.printing import counted
from katibflow.report.data import result_data
from katibflow.report.page import render_report
from katibflow.runners.backends import backend_of_steps
from katibflow.steps.backends import runner_for
from katibflow.steps.files import Artifact, exits_with_message, read_study
from katibflow.steps.markdown import markdown
from katibflow.steps.next_run import next_run
from katibflow.steps.published import publish
from katibflow.steps.rounds import after_rounds
from katibflow.steps.tracked import track_end
from katibflow.study.best import best_of
from katibflow.study.decision import Decision
from katibflow.study.ending import Ending
from katibflow.study.history import History, TrialState
from katibflow.study.reasons import ExperimentReason
from katibflow.study.resume import is_taken_over

__all__ = ["decision_at_end", "report", "summary", "write_report"]


@exits_with_message
def summary(study_path: str, page: Artifact) -> None:
    """Shows how the experiment stood after its last round.

    Args:
        study_path: The study after that round.
        page: The output for the HTML page.
    """
    history = read_study(study_path)
    title = f"Round {history.rounds}"
    ending = Ending(None, title, f"{counted(len(history.trials), 'trial')} so far")
    _write_page(page, history, ending)
    page.metadata["display_name"] = title.lower()


@exits_with_message
def report(
    study_path: str,
    page: Artifact,
    text: Artifact,
    metrics: Artifact,
    best_path: str,
    result_path: str,
) -> None:
    """Shows how the experiment ended, from the trials on record.

    Args:
        study_path: The study as the run started with it.
        page: The output for the HTML page.
        text: The output for the Markdown.
        metrics: The output for KFP's metrics, which are its metadata.
        best_path: The file for the best trial's assignments, as a JSON object; an empty one without
            a best trial, or with several objectives.
        result_path: The file for the result, as JSON (`report.data.result_data`).
    """
    history = read_study(study_path)
    runner = runner_for(history)
    try:
        history = history.with_trials(runner.records())
    finally:
        runner.close()
    ending = write_report(history, page, text, metrics, goes_on=next_run)
    # A parameter in Kubeflow Pipelines cannot hold None, so such values are left out.
    result = {
        key: value for key, value in result_data(history, ending).items() if value is not None
    }
    best = result.get("best", {}).get("assignments", {})
    for path, data in ((best_path, best), (result_path, result)):
        Path(path).write_text(json.dumps(data), encoding="utf-8")


def write_report(
    history: History,
    page: Artifact,
    text: Artifact,
    metrics: Artifact,
    has_rounds: bool = True,
    goes_on: Callable[[History], str] | None = None,
) -> Ending:
    """Writes the page, the table and the metrics of a run that is over; returns why it ended.

    Args:
        history: The trials.
        page: The output for the HTML page.
        text: The output for the Markdown.
        metrics: The output for KFP's metrics, which are its metadata.
        has_rounds: Whether the run may have ended because its rounds were used up.
        goes_on: Returns how the study goes on then; by default a user does that (`by_hand`).
    """
    decision = decision_at_end(history, has_rounds)
    if decision.reason == ExperimentReason.ROUNDS_USED_UP and goes_on is not None:
        decision = decision_at_end(history, has_rounds, goes_on(history))
    ending = Ending.of(decision)
    _write_page(page, history, ending)
    table = markdown(history.experiment.name, history, f"{decision.reason}: {decision.message}")
    Path(text.path).write_text(table, encoding="utf-8")
    print(table)
    publish(history)
    track_end(history, ending, page.path)
    metrics.metadata.update(_metrics(history))
    for artifact in (page, text, metrics):
        artifact.metadata["display_name"] = "report"
    return ending


def _write_page(page: Artifact, history: History, ending: Ending) -> None:
    html = render_report(history, ending, _logs(history, page.path))
    Path(page.path).write_text(html, encoding="utf-8")


def _logs(history: History, page_path: str) -> dict[int, dict[str, str]]:
    """Returns the trials' logs for a page: links on this machine, elsewhere the jobs' names."""
    logs = {trial.number: {trial.job: ""} for trial in history.trials if trial.job is not None}
    page = Path(page_path).resolve().parent
    files = backend_of_steps().log_files(history)
    for trial in history.trials:
        if trial.number in files and not is_taken_over(history, trial):
            logs[trial.number] = {
                replica: os.path.relpath(path.resolve(), page)
                for replica, path in files[trial.number].items()
            }
    return logs


def decision_at_end(history: History, has_rounds: bool = True, onward: str = "") -> Decision:
    """Returns why the experiment of a run that is over has ended.

    Args:
        history: The trials.
        has_rounds: Whether the run may have ended because its rounds were used up.
        onward: How the study goes on then; see `rounds.after_rounds`.
    """
    # The records have no rounds, but all rounds of this run except the last were full.
    own = sum(not is_taken_over(history, trial) for trial in history.trials)
    rounds = math.ceil(own / history.experiment.spec.parallelism)
    decision = after_rounds(history, rounds if has_rounds else 0, onward)
    if decision.finished:
        return decision
    text = "the run ended before the experiment did"
    return Decision(True, False, ExperimentReason.PIPELINE_ENDED, text, 0)


def _metrics(history: History) -> dict[str, float | str]:
    """Returns the metrics by name; a text has the value that KFP rounds to six decimals."""
    counts = Counter(trial.state for trial in history.trials)
    best = best_of(history.experiment.spec.objective, history.trials).metrics()
    exact = {
        f"{name}, exactly": repr(value) for name, value in best.items() if round(value, 6) != value
    }
    return {
        "trials": float(len(history.trials)),
        "failed trials": float(counts[TrialState.FAIL]),
        **best,
        **exact,
    }
