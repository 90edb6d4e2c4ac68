"""Runs with several objectives on this machine, from the command line to the report."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from katibflow.api.result import Result
from katibflow.engine.events import MetricReported, TrialEnded, TrialStarted
from katibflow.errors import KatibflowError
from katibflow.progress.status import Status, describe
from katibflow.report.data import best_data
from katibflow.report.page import render_report
from katibflow.report.plots import plots_of
from katibflow.study.ending import Ending
from katibflow.study.history import History, Point, Trial, TrialState, load_history
from katibflow.study.objectives import best_trials, values_text
from tests.behaviour.test_report import DONE, browse, plot_titles, table_rows
from tests.paths import ROOT
from tests.shell_trials import document
from tests.unit.study.test_objectives import several, tried
from tests.warm import client as warm

OBJECTIVE: dict[str, Any] = {
    "type": "minimize",
    "objectiveMetricName": "loss",
    "additionalMetricNames": ["size"],
    "goals": [{"name": "size", "type": "minimize", "goal": 20}],
}
SCRIPT = 'echo "loss=$X"; echo "size=$((100 - X))"'


def katibflow(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return warm.run(*words, cwd=cwd, timeout=180)


def write(folder: Path, script: str, **changes: Any) -> str:
    changes = {f"spec.{name}": value for name, value in changes.items()}
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(document(script, {"spec.objective": OBJECTIVE, **changes})))
    return file.name


def test_a_run_ends_with_the_front(tmp_path: Path) -> None:
    goals = [{"name": "size", "type": "minimize"}]
    file = write(tmp_path, SCRIPT, objective={**OBJECTIVE, "goals": goals})
    done = katibflow("run", file, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    history = load_history((tmp_path / "runs/sample/study.jsonl").read_text())
    front = best_trials(history.experiment.spec.objective, history.trials)
    assert len(front) == len({trial.assignments["x"] for trial in history.trials}) == 6
    assert "Pareto front: 6 trials\n" in done.stdout
    shown = re.findall(r"^trial (\d+), loss=(\d+) size=(\d+)\n  x=(\d+)$", done.stdout, re.M)
    assert [int(number) for number, *_ in shown] == [trial.number for trial in front]
    assert all(int(loss) + int(size) == 100 and loss == x for _, loss, size, x in shown)
    assert [int(loss) for _, loss, *_ in shown] == sorted(int(loss) for _, loss, *_ in shown)
    result = Result.load(tmp_path / "runs/sample")
    assert [trial.number for trial in result.front] == [trial.number for trial in front]
    assert repr(result).endswith("6 trials; Pareto front: 6 trials>")
    with pytest.raises(KatibflowError, match="allowed: front"):
        _ = result.best
    told = katibflow("report", "runs/sample", "--json", cwd=tmp_path)
    printed = json.loads(told.stdout)
    assert "best" not in printed
    assert printed["front"] == best_data(history)["front"]


def test_one_trial_that_meets_all_goals_ends_it(tmp_path: Path) -> None:
    file = write(tmp_path, "echo loss=1 size=30; echo size=20", maxTrialCount=50)
    done = katibflow("run", file, "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert result["reason"] == "ExperimentGoalReached"
    assert re.fullmatch(r"trial \d+ reached size=20, the goal is 20", result["message"])


def test_a_trial_without_one_of_the_metrics_fails_and_names_it(tmp_path: Path) -> None:
    constraints = [{"name": "ram", "max": 1}]
    objective = {**OBJECTIVE, "additionalMetricNames": ["size", "ram"], "constraints": constraints}
    file = write(tmp_path, "echo loss=1", objective=objective, maxFailedTrialCount=1)
    done = katibflow("run", file, cwd=tmp_path)
    assert done.returncode == 1
    assert "MetricsUnavailable: the job succeeded without reporting size and ram" in done.stdout
    assert "no trial has finite values of all objectives and meets the constraints" in done.stdout


def test_a_run_whose_trials_all_break_a_constraint_has_the_status_of_one_without_a_value(
    tmp_path: Path,
) -> None:
    constraints = [{"name": "ram", "max": 1}]
    objective = {**OBJECTIVE, "additionalMetricNames": ["size", "ram"], "constraints": constraints}
    file = write(
        tmp_path,
        "echo loss=1 size=30 ram=5",
        objective=objective,
        maxTrialCount=3,
    )
    done = katibflow("run", file, cwd=tmp_path)
    assert done.returncode == katibflow("best", "runs/sample", cwd=tmp_path).returncode == 1
    assert "ExperimentMaxTrialsReached" in done.stdout


def test_a_constraint_leaves_the_best_trial_that_keeps_it(tmp_path: Path) -> None:
    objective = {
        **{key: value for key, value in OBJECTIVE.items() if key != "goals"},
        "goal": 0,
        "constraints": [{"name": "size", "max": 60}],
    }
    space = {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "39", "max": "41"}}
    file = write(tmp_path, SCRIPT, objective=objective, parameters=[space])
    done = katibflow("run", file, "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert result["best"]["assignments"] == {"x": "40"}
    assert result["best"]["objective"] == 40
    assert "ConstraintBroken: size is 61, above its max of 60" in done.stderr


@pytest.mark.long
def test_the_example_ends_with_a_front(tmp_path: Path) -> None:
    done = katibflow("run", "examples/pareto.yaml", "--json", "--runs", str(tmp_path), cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["trials"] == {"COMPLETE": 10}
    assert result["front"]
    history = load_history(Path(result["history"]).read_text())
    for trial in history.trials:
        assert ("momentum" in trial.assignments) == (trial.assignments["optimizer"] == "sgd")
        kept = trial.observations["accuracy"].latest >= 0.6
        assert (trial.reason == "TrialSucceeded") == kept
    losses = [each["objectives"]["loss"] for each in result["front"]]
    weights = [each["objectives"]["weights"] for each in result["front"]]
    assert losses == sorted(losses) and weights == sorted(weights, reverse=True)


# ------------------------------------------------------------------------- what people see


def study(count: int = 12) -> History:
    """Trials whose loss falls as their latency rises, one of them bad in everything."""
    rows = [(count - n, float(n), n % 3 / 2) for n in range(count - 1)]
    trials = tried(*rows, (99.0, 99.0, 0.0))
    trials = [
        Trial(**{**vars(each), "assignments": {"lr": f"{0.1 + each.number / 100:g}"}})
        for each in trials
    ]
    return History(several(), "r", 1, tuple(trials))


@pytest.mark.long
def test_browser_draws_the_front_and_each_objective(tmp_path: Path) -> None:
    dom, console = browse(render_report(study(), DONE, {}), tmp_path)
    # A front of three objectives is drawn in 3D, and the browser says how it does that.
    assert not [line for line in console.splitlines() if ":INFO:" not in line or "rror" in line]
    assert re.search(r'id="plot-front".*?<canvas', dom, re.DOTALL)
    assert plot_titles(dom)[1:] == [
        "Hyperparameter Importances",
        *["Optimization History Plot"] * 3,
        *["Parallel Coordinate Plot"] * 3,
    ]
    front = re.findall(r'<tr><th scope="row"><a href="#trial-(\d+)">', dom)
    assert [int(number) for number in front] == list(range(10, -1, -1))
    assert "Pareto front: 11 trials" in dom
    assert sum('class="best"' in row for row in table_rows(dom)) == 11
    assert "minimize loss · minimize latency · maximize accuracy" in dom


def test_more_objectives_than_a_front_can_be_drawn_of_are_drawn_side_by_side() -> None:
    objective = {
        "additionalMetricNames": ["latency", "accuracy", "size"],
        "goals": [{"name": name, "type": "minimize"} for name in ("latency", "accuracy", "size")],
    }
    trials = [
        Trial(**{**vars(each), "observations": {**each.observations, "size": seen}})
        for each in study().trials
        for seen in [each.observations["loss"]]
    ]
    plots = {plot.key: plot for plot in plots_of(History(several(**objective), "r", 1, (*trials,)))}
    figure = plots["front"].figure
    assert figure is not None
    (data,) = figure["data"]
    assert data["type"] == "parcoords"
    assert [each["label"] for each in data["dimensions"]] == [
        "loss",
        "latency",
        "accuracy",
        "size",
    ]


def test_without_a_trial_the_report_says_so() -> None:
    html = render_report(History(several(), "r", 1), Ending(None, "Created", ""), {})
    assert "No trial has finite values of all objectives." in html
    assert html.count('id="no-plot-') == 8


def test_the_status_keeps_the_front_and_the_last_reports() -> None:
    history = study(4)
    first = Trial(0, TrialState.RUNNING, {"lr": "0.1"})
    status = Status.of(history.experiment, ()).after(TrialStarted(first, resumed=False))
    for metric, value in (("latency", 7.0), ("loss", 2.0), ("other", 1.0), ("loss", 1.0)):
        status = status.after(MetricReported(0, metric, Point(0, value)))
    row = status.table_row(status.rows[0])
    assert tuple(map(row.shown, ("loss", "latency", "accuracy"))) == (1.0, 7.0, None)
    for trial in history.trials:
        update = TrialEnded(trial, {})
        status = status.after(update)
    assert status.standing == "Pareto front: trials 2, 1, 0"
    assert [status.is_best(trial) for trial in history.trials] == [True, True, True, False]
    assert describe(status, update) == (
        "trial 3 complete: loss=99 latency=99 accuracy=0 (Pareto front: trials 2, 1, 0)"
    )
    assert values_text(history.experiment.spec.objective, first) == ""
