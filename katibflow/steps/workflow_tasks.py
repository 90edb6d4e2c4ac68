"""The tasks of a native Argo Workflow, which call the same steps as Kubeflow Pipelines' tasks do.

No artifact travels between the pods of a Workflow, so that no artifact repository is needed. Each
task makes the study anew from the Experiment, the run's parameters and the trials on record, and
hands on only short texts: the trials of a round, and whether another follows. A step that runs
again, as after "Retry", therefore sees the trials that have ended meanwhile.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from katibflow import steps
from katibflow.engine.signals import caught
from katibflow.errors import InputError
from katibflow.report.data import result_data
from katibflow.runners.backends import backend_of_steps
from katibflow.runners.stopping import StopRequest
from katibflow.steps.backends import runner_for
from katibflow.steps.capacity import ARGO
from katibflow.steps.files import HISTORY, exits_with_message, read_study, write_study
from katibflow.steps.presenting import decision_at_end, write_report
from katibflow.steps.run_parameters import run_parameters
from katibflow.steps.starting import ROUNDS, first_study
from katibflow.study.best import best_of
from katibflow.study.ending import Ending
from katibflow.study.history import History
from katibflow.study.resume import run_name

__all__ = ["PARAMETERS", "RUN", "TASKS", "run_task"]

RUN = "KATIBFLOW_RUN"
"""Environment variable with the Workflow's uid, which is the run's id."""

PARAMETERS = "KATIBFLOW_PARAMETERS"
"""Environment variable with the Workflow's parameters, as Argo's JSON of them."""


@dataclass
class _File:
    """An output file of a step; a `steps.files.Artifact` whose metadata nobody reads."""

    path: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Task:
    """What every task of a run knows.

    Attributes:
        document: The Experiment as JSON.
        parameters: The run's parameters as texts, by name.
        layout: The Workflow's layout.
        run: The Workflow's uid.
        library: The mark of the library in the Workflow; "" without one.
        room: Bytes that rounds may take in the Workflow object.
        has_page: Whether the report is kept as an artifact.
        folder: The folder for the task's files.
    """

    document: str
    parameters: Mapping[str, str]
    layout: str
    run: str
    library: str
    room: int
    has_page: bool
    folder: Path

    def file(self, name: str) -> _File:
        return _File(str(self.folder / name))

    def put(self, name: str, text: str) -> None:
        """Writes an output parameter."""
        (self.folder / name).write_text(text, encoding="utf-8")

    def begin(self) -> _File:
        """Checks the Experiment with the run's parameters; returns the study to begin with."""
        study = self.file("study")
        steps.start(
            self.document,
            self.parameters,
            self.layout,
            self.run,
            self.library,
            self.room,
            study,
            ARGO,
        )
        return study

    def first_study(self) -> History:
        """Returns the study to begin with, the same one in every task."""
        return first_study(self.document, self.parameters, self.layout, self.run, self.room, ARGO)

    def stop_jobs(self) -> None:
        """Stops the jobs that still run, and puts their trials on record as interrupted."""
        template = json.loads(self.document)["spec"]["trialTemplate"]
        kept = ("trialSpec", "successCondition", "failureCondition")
        job = {name: template[name] for name in kept if name in template}
        steps.finish(self.parameters["name"], run_name(self.run), json.dumps(job))

    def study(self, rounds: int) -> str:
        """Writes the study after a number of rounds, from the records; returns its folder."""
        history = self.first_study()
        runner = runner_for(history)
        try:
            own = [trial for trial in runner.records() if trial.state.counts]
        finally:
            runner.close()
        path = self.file("study").path
        write_study(path, replace(history.with_trials(own), rounds=rounds))
        return path


@exits_with_message
def run_task(name: str, given: Sequence[str], document: str, settings: str, folder: str) -> None:
    """Runs a task, whose outputs become files in a folder.

    Args:
        name: The task, one of `TASKS`.
        given: The task's inputs.
        document: The Experiment as JSON.
        settings: What the compiler decided, as JSON: ``layout``, ``library``, ``room`` and
            ``hasPage``.
        folder: The folder for the task's files.
    """
    decided = json.loads(settings)
    known = run_parameters()
    values = {each["name"]: each.get("value", "") for each in json.loads(os.environ[PARAMETERS])}
    task = _Task(
        document=document,
        parameters={name: value for name, value in values.items() if name in known},
        layout=decided["layout"],
        run=os.environ[RUN],
        library=decided["library"],
        room=decided["room"],
        has_page=decided["hasPage"],
        folder=Path(folder),
    )
    TASKS[name](task, *given)


def _start(task: _Task) -> None:
    task.begin()


def _suggestion(task: _Task, rounds: str) -> None:
    items = steps.suggestion(task.study(int(rounds)))
    task.put("batch", json.dumps(items))


def _launcher(task: _Task, rounds: str, item: str) -> None:
    with _ended_with_its_run(task):
        task.put("outcome", steps.launcher(task.study(int(rounds)), item, task.file("log.txt")))


def _decision(task: _Task, rounds: str) -> None:
    after = int(rounds) + 1
    study = task.study(after)
    table = task.file("table.md")
    proceed = steps.loop(study, table, str(task.folder / "reason"))
    print(Path(table.path).read_text(encoding="utf-8"))
    task.put("proceed", json.dumps(proceed))
    task.put("rounds", str(after))


def _controller(task: _Task) -> None:
    study = task.begin()
    with _ended_with_its_run(task):
        task.put("reason", steps.controller(study.path, study, task.file("logs")))


def _finish(task: _Task) -> None:
    """Stops what still runs, and says how the experiment ended, even if it failed early."""
    task.stop_jobs()
    try:
        history = task.first_study()
    except InputError as error:
        _put_result(task, {"message": str(error)}, f"No trial could begin: {error}")
        return
    runner = runner_for(history)
    try:
        history = history.with_trials(runner.records())
    finally:
        runner.close()
    ending = Ending.of(decision_at_end(history, task.layout == ROUNDS))
    _put_result(task, result_data(history, ending), _summary(history, ending))
    if task.has_page:
        study = task.file("study").path
        write_study(study, history)
        shutil.copyfile(Path(study) / HISTORY, task.folder / HISTORY)
        page, text, metrics = map(task.file, ("report.html", "report.md", "metrics"))
        write_report(read_study(study), page, text, metrics, task.layout == ROUNDS)


def _put_result(task: _Task, result: Mapping[str, Any], summary: str) -> None:
    task.put("result", json.dumps(result))
    task.put("best", json.dumps((result.get("best") or {}).get("assignments", {})))
    task.put("summary", summary)
    print(summary)


def _summary(history: History, ending: Ending) -> str:
    best = best_of(history.experiment.spec.objective, history.trials).sentences()
    return "\n".join([f"{ending.reason}: {ending.message}", *best])


@contextmanager
def _ended_with_its_run(task: _Task) -> Iterator[None]:
    """Makes SIGTERM end the task, and the run's jobs too if the run itself was ended.

    Argo's "Terminate" runs no exit handler, so the tasks that follow jobs stop them. A pod that is
    only moved gets the same signal; then the jobs go on, and the task's next try adopts them.
    """
    stop = StopRequest()

    def end() -> None:
        try:
            if backend_of_steps().is_shut_down():
                task.stop_jobs()
        finally:
            os._exit(128 + signal.SIGTERM)  # the main thread waits for a job

    stop.subscribe(end)
    with caught(stop, (signal.SIGTERM,)):
        yield


TASKS: Mapping[str, Callable[..., None]] = {
    "start": _start,
    "suggestion": _suggestion,
    "launcher": _launcher,
    "decision": _decision,
    "controller": _controller,
    "finish": _finish,
}
"""The tasks by name; the arguments after the first are the texts that the Workflow gives them."""
