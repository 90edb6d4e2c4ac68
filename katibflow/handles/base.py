"""Defines `RunHandle`, one run wherever it is, and `RunSource`, which finds runs of one sort.

Each source is a module beside this one, which a row of `registry` names. The commands and the
Python API are written once over these protocols.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TextIO

from katibflow.errors import InputError
from katibflow.report.data import best_data, trials_data
from katibflow.runs.folder import RunFolder
from katibflow.study.ending import Ending
from katibflow.study.history import History

__all__ = [
    "Configured",
    "LogLines",
    "Pause",
    "RunHandle",
    "RunSource",
    "RunState",
    "Snapshot",
    "StopOutcome",
    "Streams",
    "Where",
    "state_of",
]

LogLines = Iterator[tuple[str, str | None]]
"""The name of a log with its next line; None in place of a line at a log's beginning."""

Pause = Callable[[float], bool]
"""Waits for so many seconds between two looks; returns True to end the following at once."""

Streams = Callable[[], TextIO]
"""Returns the stream for the next line of progress."""


class RunState(StrEnum):
    """The state of a run: KFP's RuntimeState, and INTERRUPTED for a run that can go on."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    CANCELING = "CANCELING"
    CANCELED = "CANCELED"
    PAUSED = "PAUSED"
    INTERRUPTED = "INTERRUPTED"


_OVER = (
    RunState.SUCCEEDED,
    RunState.SKIPPED,
    RunState.FAILED,
    RunState.CANCELED,
    RunState.INTERRUPTED,
)


def state_of(ending: Ending, is_driven: bool) -> RunState:
    """Returns the state of a run of which only its trials are known.

    Args:
        ending: How the run ended, or that it has not.
        is_driven: Whether a program runs it now.
    """
    if ending.succeeded is not None and not is_driven:
        return RunState.SUCCEEDED if ending.succeeded else RunState.FAILED
    return RunState.RUNNING if is_driven else RunState.INTERRUPTED


@dataclass(frozen=True)
class Where:
    """What the user says of where runs are; each source takes what concerns it.

    Attributes:
        on: The name of the only source to ask; None for all to which something leads.
        runs: The folder with a folder for each run on this machine.
        host: The address of Kubeflow Pipelines; None for the environment's.
        namespace: The namespace of runs and jobs; None for the default one.
        context: The kubeconfig's context; None for the current one.
        ca_file: File with the certificates to trust; None for the usual ones.
        warn: Called with each warning for the user.

    Raises:
        InputError: The folder of runs is a file.
    """

    warn: Callable[[str], None]
    on: str | None = None
    runs: Path = Path("runs")
    host: str | None = None
    namespace: str | None = None
    context: str | None = None
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        if self.runs.exists() and not self.runs.is_dir():
            raise InputError(f"--runs {self.runs}: found a file; allowed: a folder of runs")


class Configured(StrEnum):
    """Whether there is anything to ask a source about.

    NO: nothing leads to it. FOUND: something on this machine does, as a kubeconfig, so that an
    error of it is a remark. GIVEN: the user names it, so that its errors are the command's.
    """

    NO = "NO"
    FOUND = "FOUND"
    GIVEN = "GIVEN"


@dataclass(frozen=True)
class Snapshot:
    """A run as it is at one time.

    Attributes:
        on: The name of the run's source, as ``local``.
        run_id: The run's id, which is unique in its source.
        name: The run's name, which users give.
        experiment: The Experiment's name.
        state: A `RunState`; a text, as servers may learn other states.
        created: When the run began; None if unknown.
        history: The run's Experiment and trials; None where the trials cannot be read.
        ending: How the run ended, or that it has not.
        link: Where the rest is: a page's address, or a folder.
        stall: The stall of a run that stands still, as JSON can hold it, with ``message``; else
            None.
        problems: Why something could not be read or went wrong, a line each.
        unseen: Why ``history`` is None, and where the trials are, as a phrase; else empty.
        steps: Name, state and count of the run's steps, of a run in steps that has no history.
    """

    on: str
    run_id: str
    name: str
    experiment: str
    state: str
    created: datetime | None
    history: History | None
    ending: Ending
    link: str
    stall: Mapping[str, Any] | None = None
    problems: tuple[str, ...] = ()
    unseen: str = ""
    steps: tuple[tuple[str, str, str], ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens in the run, unless somebody starts it again."""
        return self.state in _OVER

    def data(self) -> dict[str, Any]:
        """Returns the run as JSON can hold it, with the same keys for every source.

        ``best`` and ``trials`` are null where the trials cannot be read. With several objectives
        ``front`` replaces ``best``.
        """
        history = self.history
        counts = Counter(trial.state.value for trial in history.trials) if history else {}
        return {
            "on": self.on,
            "experiment": self.experiment,
            "run": self.run_id,
            "name": self.name,
            "state": self.state,
            "created": None if self.created is None else self.created.isoformat(),
            "succeeded": self.ending.succeeded,
            "reason": self.ending.reason,
            "message": self.ending.message,
            **(best_data(history) if history is not None else {"best": None}),
            "trials": dict(sorted(counts.items())) if history is not None else None,
            "stall": self.stall,
            "link": self.link,
        }

    def whole_data(self) -> dict[str, Any]:
        """Returns `data` with all trials as ``history``, null where they cannot be read."""
        trials = None if self.history is None else trials_data(self.history)
        return {**self.data(), "history": trials}


class StopOutcome(Protocol):
    """The outcome of stopping a run."""

    @property
    def asked(self) -> bool:
        """Whether this call asked the run to end; False if it is over, or was asked before."""

    @property
    def is_done(self) -> bool:
        """Whether the user has nothing left to do."""

    def lines(self) -> list[str]:
        """Returns the outcome in lines for a person."""


class RunHandle(Protocol):
    """One run. The run does not depend on this object and goes on without it.

    Every method may raise RunnerError: what has the run does not answer, or refuses.
    """

    @property
    def on(self) -> str:
        """The name of the run's source, as ``local``."""

    @property
    def run_id(self) -> str:
        """The run's id, which is unique in its source."""

    @property
    def name(self) -> str:
        """The run's name, which users give."""

    @property
    def experiment(self) -> str:
        """The Experiment's name; the run's own where that is all that is known of it."""

    @property
    def argument(self) -> str:
        """What names the run on the command line."""

    @property
    def job_run(self) -> str:
        """The label ``katibflow/run`` of the jobs, by which sources know each other's runs."""

    @property
    def link(self) -> str:
        """Where the rest is: a page's address, or a folder."""

    @property
    def files(self) -> RunFolder | None:
        """The run's files on this machine; None if it has none here."""

    def state(self) -> str:
        """Returns the run's present `RunState`, or another state that its server says."""

    def snapshot(self, *, brief: bool = False) -> Snapshot:
        """Returns the run as it is now.

        Args:
            brief: Whether what a list of runs shows is enough, as one of many is read.
        """

    def follow(
        self, pause: Pause, stream: Streams | None, *, poll: float | None = None
    ) -> Snapshot:
        """Shows the run until it is over, or until ``pause`` returns True.

        Args:
            pause: Waits between two looks; returns True to stop.
            stream: Returns the stream for the next line; None to show nothing.
            poll: Seconds between two looks; None for what suits the source.
        """

    def logs(
        self, trial: int | None, *, follow: bool = False, poll: float | None = None
    ) -> LogLines:
        """Yields the lines of a trial's logs, or of the whole run's.

        Args:
            trial: The trial's number; None for the logs of the run itself.
            follow: Whether to go on until the trial, or the run, is over.
            poll: Seconds between two looks at what there is; None for what suits the source.

        Raises:
            InputError: The run has no trial of that number.
            RunnerError: There is no log, or it cannot be read.
        """

    def stop(self, *, poll: float | None = None) -> StopOutcome:
        """Stops the run and its trials; stopping a run that is over is no error.

        Args:
            poll: Seconds between two looks at whether it stops; None for what suits the source.
        """


class RunSource(Protocol):
    """Finds runs of one sort."""

    @property
    def summary(self) -> str:
        """What these runs are, in a few words for the help and for messages."""

    @property
    def wanted(self) -> str:
        """What names one of these runs, as a phrase that follows "allowed:"."""

    def configured(self, where: Where) -> Configured:
        """Returns whether anything leads to such runs; asks no server."""

    def find(self, wanted: str, where: Where) -> Sequence[RunHandle]:
        """Returns the runs that a user means; none, one or several.

        Raises:
            InputError: An option is wrong, or what is meant is no run of katibflow's.
            RunnerError: What has the runs does not answer, or refuses.
        """

    def latest(self, where: Where, limit: int) -> Iterable[RunHandle]:
        """Yields the latest runs, the newest first.

        Args:
            where: What the user says of where runs are.
            limit: The greatest number of runs that are looked at, from 1.

        Raises:
            InputError: An option is wrong.
            RunnerError: What has the runs does not answer, or refuses.
        """
