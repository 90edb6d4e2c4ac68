"""Runs an experiment on this machine to its end, and reads a run again from its folder.

The trials run in `engine`; this module puts the parts around them together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from katibflow import printing
from katibflow.engine.events import Update, Watcher
from katibflow.engine.loop import Result, run_experiment
from katibflow.errors import HistoryError, RunnerError
from katibflow.experiment.architecture import template_of
from katibflow.experiment.trial_template import render
from katibflow.experiment.types import Experiment
from katibflow.experiment.yaml_reader import dump_document
from katibflow.printing import counted
from katibflow.report.page import render_report, write_report
from katibflow.runs.beginning import (
    as_it_ended,
    decision_on_record,
    opening_lines,
    with_kept,
)
from katibflow.runs.folder import RunFolder, read_history_file, with_records
from katibflow.runs.live_page import LivePage
from katibflow.runs.options import Options, limits_for
from katibflow.runs.warm_start import with_warm_start
from katibflow.storage.sync import study_sync
from katibflow.study.changes import Change
from katibflow.study.counts import limit_text, standing_text
from katibflow.study.decision import decide
from katibflow.study.ending import Ending
from katibflow.study.failures import Failure, gave_nothing
from katibflow.study.files import PRIVATE
from katibflow.study.history import History, TrialState
from katibflow.study.job_name import job_name
from katibflow.study.reasons import ExperimentReason
from katibflow.tracking import track_of
from katibflow.tracking.base import Files
from katibflow.tracking.following import tracking

if TYPE_CHECKING:
    from katibflow.progress.status import Status
    from katibflow.runners.backends import RunSetup
    from katibflow.runners.stopping import StopReason, StopRequest

__all__ = [
    "Run",
    "Show",
    "ending_on_record",
    "preview",
    "read_history",
    "read_run",
    "run_to_end",
    "write_page",
]

Show = Callable[["Status"], AbstractContextManager[Watcher]]
"""Opens the watcher that shows a run, given the status that the run begins with."""


@dataclass(frozen=True)
class Run:
    """A run as it is on record.

    Attributes:
        folder: The files of the run.
        history: The history of the run, with all trials.
        ending: How the run ended, or that it has not ended.
        interrupted: Why the run was stopped from outside; None if nobody stopped it.
        is_driven: Whether a program runs it now.
    """

    folder: RunFolder
    history: History
    ending: Ending
    interrupted: StopReason | None = None
    is_driven: bool = False

    @property
    def gave_nothing(self) -> bool:
        """Whether the run is over and no trial gave a finite value of the objective."""
        objective, trials = self.history.experiment.spec.objective, self.history.trials
        return self.ending.succeeded is not None and gave_nothing(objective, trials)

    def log_of(self, failure: Failure) -> Path | None:
        """Returns the log that tells a failure's cause, of its first trial that has one."""
        logs = self.folder.logs()
        for trial in failure.trials:
            paths = [self.folder.path / log for log in logs.get(trial.number, {}).values()]
            for path in paths:
                with suppress(OSError):
                    if failure.cause in path.read_text(encoding="utf-8", errors="replace"):
                        return path
            if paths:
                return paths[0]
        return None


def run_to_end(
    experiment: Experiment,
    runs: Path,
    options: Options,
    *,
    show: Show,
    stop: StopRequest,
    warn: Callable[[str], None] = printing.warn,
) -> Run:
    """Runs an experiment to its end, or goes on with the run of its name.

    Args:
        experiment: The experiment to run.
        runs: The folder that holds a folder for each run.
        options: The options of the run.
        show: Opens the watcher that shows the run.
        stop: Ends the run early; a later call goes on from there.
        warn: Takes each warning for the user, in any thread; by default this prints a line to
            standard error.

    Returns:
        The run, with its report written.

    Raises:
        InputError: An option does not fit, the trials cannot run there, the algorithm's package is
            absent; the run of this name, or the study of the storage, has another search space or
            objective; or the run of this name differs in something else and the options do not say
            what to do about it.
        KatibflowError: The run cannot go on; all records stay.
    """
    from katibflow.progress.status import Status
    from katibflow.runners.record_copies import CopyingRunner

    experiment, setup = _set_up(experiment, options)
    folder = RunFolder(runs / experiment.name)
    tracked = track_of(experiment, options.track)
    # Only a storage needs it before the run's folder is locked, and the history may be large.
    before = None if options.fresh or options.storage is None else folder.on_record()
    run = None if before is None else before.run
    with (
        study_sync(options.storage, experiment, warn, run=run, fresh=options.fresh) as sync,
        tracking(tracked, Files.in_folder(folder.path), warn) as tracker,
        _opened(folder, experiment, setup, options.fresh, stop) as aside,
        ExitStack() as stack,
    ):
        history, changes = _begun(folder, experiment, setup, options)
        history = with_warm_start(
            history, options.warm_start, lambda path: read_history(path, warn), options.source
        )
        runner = setup.runner(history, folder.path)
        if not setup.fills_folder:
            runner = CopyingRunner(runner, folder.path, warn)
        try:
            # A record that cannot be read ends this before the history file loses its copy.
            history = with_records(history, runner.records())
            ended = as_it_ended(history, folder.found)
            if ended is not None:
                history, changes = ended, ()
            history = with_kept(history, changes)
            log = stack.enter_context(folder.log(history))
            sync.follow(history)
            tracker.follow(history)
            lines = (*opening_lines(folder.path, history, changes, aside), *sync.notes())
            lines += _notes(setup, history)
            with (
                show(
                    Status.of(history.experiment, history.trials, lines, ended is not None)
                ) as watch,
                LivePage(history, lambda now, refresh: _write_live(folder, now, refresh)) as page,
            ):
                result = run_experiment(
                    history,
                    runner,
                    watch=_each(log, watch, sync, tracker, page),
                    stop=stop,
                    limits=limits_for(experiment, options),
                    drain=options.drain,
                )
        finally:
            runner.close()
        sync.follow(result.history)
        tracker.follow(result.history)
        log.end(result.history)
        done = Run(folder, result.history, _ending_of(result), result.interrupted)
        tracker.end(done.history, done.ending, write_page(done))
    return done


def preview(experiment: Experiment, runs: Path, options: Options) -> list[str]:
    """Returns lines that say what a run would do, and with what command; nothing is written.

    Args:
        experiment: The experiment to run.
        runs: The folder that holds a folder for each run.
        options: The options of the run.

    Raises:
        InputError: As `run_to_end` does.
        RunnerError: The backend is out of reach.
    """
    from katibflow.suggestion.suggester import Suggester

    experiment, setup = _set_up(experiment, options)
    track_of(experiment, options.track)
    folder = RunFolder(runs / experiment.name)
    if options.fresh:
        history, lines = History(experiment, "0" * 8, 0), [f"would begin anew in {folder.path}"]
    else:
        history, changes = _begun(folder, experiment, setup, options)
        opening = opening_lines(folder.path, history, changes, None)
        lines = list(opening) or [f"a new run in {folder.path}"]
    history = with_warm_start(history, options.warm_start, read_history, options.source)
    spec = experiment.spec
    lines.append(
        f"{experiment.name}: {limit_text(spec.max_trial_count)}, {spec.parallelism} at a time, "
        f"{spec.algorithm.algorithm_name}"
    )
    lines += _notes(setup, history)
    for suggestion in Suggester(experiment).suggest(history, 1):
        values = ", ".join(f"{name}={value}" for name, value in suggestion.assignments.items())
        lines.append(f"a trial, for example of {values}:")
        manifest = render(
            template_of(spec),
            suggestion.assignments,
            name=job_name(experiment, history.run, history.next_number),
            namespace=setup.place.get("--namespace") or experiment.metadata.namespace or "default",
        )
        place = folder.path.resolve() / "trials" / f"{history.next_number:04d}"
        described = setup.preview(manifest, place) if setup.preview is not None else None
        lines += [f"  {line}" for line in described or dump_document(manifest).splitlines()]
    return lines


def _set_up(experiment: Experiment, options: Options) -> tuple[Experiment, RunSetup]:
    """Checks an Experiment and its options; returns it with as many trials as fit side by side."""
    from katibflow.runners.backends import backend_of, check_options
    from katibflow.suggestion.algorithms import check_packages

    check_packages(experiment.spec.algorithm)
    backend = backend_of(options.on)
    check_options(options.on, options.of_backend)
    backend.check(experiment, options.of_backend, options.source)
    setup = backend.set_up(experiment, options.of_backend, options.source)
    if setup.at_once is not None and setup.at_once < experiment.spec.parallelism:
        spec = experiment.spec.model_copy(update={"parallel_trial_count": setup.at_once})
        experiment = experiment.model_copy(update={"spec": spec})
    return experiment, setup


def _begun(
    folder: RunFolder, experiment: Experiment, setup: RunSetup, options: Options
) -> tuple[History, tuple[Change, ...]]:
    begin = setup.begin
    return folder.begin(
        options.source,
        experiment,
        None if begin is None else lambda history: begin(history, options.keep),
        programs=setup.programs,
        place={"--on": options.on, **setup.place},
        keep=options.keep,
    )


def _notes(setup: RunSetup, history: History) -> tuple[str, ...]:
    """Returns what the place of the trials has to say; nothing if no trial will run."""
    is_over = decide(history.experiment, history.trials).finished
    return () if is_over else setup.notes


@contextmanager
def _opened(
    folder: RunFolder, experiment: Experiment, setup: RunSetup, fresh: bool, stop: StopRequest
) -> Iterator[Path | None]:
    """Locks a run's folder; yields the new path of an earlier run's folder that it renamed.

    The lock tells other processes once the run was asked to stop.
    """
    from katibflow.runners.folder_records import locked

    aside = _set_aside(folder, experiment, setup) if fresh else None
    folder.check_parent()
    with locked(folder.path) as lock:
        forget = stop.subscribe(lock.note_stopping)
        try:
            yield aside
        finally:
            forget()


def _set_aside(folder: RunFolder, experiment: Experiment, setup: RunSetup) -> Path | None:
    """Ends what a run has left running and renames its folder; returns the new path, if any."""
    from katibflow.runners.folder_records import locked

    if not folder.path.is_dir():
        return None
    with locked(folder.path):
        try:
            old = read_history_file(folder.study)
        except HistoryError:  # without one, too, what runs on this machine is found
            old = History(experiment, "0" * 8, 0)
        runner = setup.runner(old, folder.path)
        try:
            runner.sweep((), "the experiment was begun anew")
        finally:
            runner.close()
        return folder.set_aside()


def _each(*watchers: Watcher) -> Watcher:
    def watch(update: Update) -> None:
        for watcher in watchers:
            watcher(update)

    return watch


def read_run(path: Path | RunFolder, warn: Callable[[str], None] = printing.warn) -> Run:
    """Reads the run of a folder or of a history file, whether the run is over or not.

    Args:
        path: The run's folder, its history file, or a folder that has one. A `RunFolder` that is
            given again reads only what has changed since.
        warn: Takes a warning for each line and record that cannot be read; by default this prints
            a line to standard error.

    Raises:
        InputError: There is no run at this path.
        HistoryError: The history of the run cannot be read.
    """
    from katibflow.runners.folder_records import is_in_use

    folder = RunFolder.of(path) if isinstance(path, Path) else path
    history = _on_record(folder, warn)
    is_driven = folder.has_trials and is_in_use(folder.path)
    return Run(folder, history, ending_on_record(history, is_driven), is_driven=is_driven)


def read_history(path: Path | RunFolder, warn: Callable[[str], None] = printing.warn) -> History:
    """Reads the history of a run's folder, or of a history file.

    Args:
        path: The run's folder, or the history file; as in `read_run`.
        warn: Takes a warning for each line and record that cannot be read; by default this prints
            a line to standard error.

    Raises:
        InputError: There is no history at this path.
        HistoryError: The history cannot be read.
    """
    return _on_record(RunFolder.of(path) if isinstance(path, Path) else path, warn)


def _on_record(folder: RunFolder, warn: Callable[[str], None]) -> History:
    from katibflow.runners.folder_records import FolderRecords

    history = folder.begun(warn)
    if not folder.has_trials:
        return history
    return with_records(history, FolderRecords(folder.path, history).readable(warn))


def write_page(run: Run, path: Path | None = None, refresh: float | None = None) -> Path:
    """Writes the report of a run and returns the file.

    Args:
        run: The run.
        path: The file; by default ``report.html`` in the run's folder.
        refresh: Seconds after which the page loads itself again; None (the default) if it does not.

    Raises:
        RunnerError: The file cannot be written.
    """
    mode = PRIVATE if path is None else 0o666
    path = path or run.folder.report
    start = path.resolve().parent
    logs = {
        number: {
            replica: os.path.relpath((run.folder.path / log).resolve(), start)
            for replica, log in trial_logs.items()
        }
        for number, trial_logs in run.folder.logs().items()
    }
    try:
        write_report(path, render_report(run.history, run.ending, logs, refresh), mode)
    except OSError as error:
        raise RunnerError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def _write_live(folder: RunFolder, history: History, refresh: float) -> None:
    """Writes the page of a run that goes on, which loads itself again."""
    write_page(Run(folder, history, ending_on_record(history, True)), refresh=refresh)


def _ending_of(result: Result) -> Ending:
    decision = result.decision
    if decision.finished:
        return Ending.of(decision)
    why = result.interrupted.text if result.interrupted is not None else ""
    running = sum(trial.state is TrialState.RUNNING for trial in result.history.trials)
    plural = "" if running == 1 else "s"
    stopped = f"; {running} running trial{plural} stopped, to begin anew then" if running else ""
    text = f"{why}; the same command goes on from here{stopped}"
    return Ending(None, ExperimentReason.INTERRUPTED, text)


def ending_on_record(history: History, is_in_use: bool) -> Ending:
    """Returns how a run ended, by its trials alone, or that it has not.

    Args:
        history: The run's Experiment and trials.
        is_in_use: Whether a program runs it now.
    """
    if is_in_use:
        # Also after the last trial: the program still ends jobs, and writes the report.
        return Ending(None, ExperimentReason.RUNNING, standing_text(history))
    decision = decision_on_record(history)
    if decision.finished:
        return Ending.of(decision)
    running = sum(trial.state is TrialState.RUNNING for trial in history.trials)
    were = "was" if running == 1 else "were"
    text = (
        "no program runs it now; the same command goes on, "
        f"{counted(running, 'trial')} {were} under way"
    )
    return Ending(None, ExperimentReason.INTERRUPTED, text)
