"""Registry of the backends, the places where trials can run, and their command-line options.

Each backend is a folder beside this module. The folder's module ``backend`` defines a `Backend`
named ``BACKEND``, and a line in `BACKENDS` registers it. Every command imports that module, so the
module imports its runner late, inside its functions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from katibflow import __version__
from katibflow.errors import InputError, RunnerError

if TYPE_CHECKING:
    from pathlib import Path

    from katibflow.experiment.config_map import ReadConfigMap
    from katibflow.experiment.types import Experiment, TrialTemplate
    from katibflow.runners.base import Runner
    from katibflow.study.history import History
    from katibflow.study.resume import EarlierTrial

__all__ = [
    "BACKENDS",
    "DEFAULT",
    "Backend",
    "Given",
    "Option",
    "OwnedOption",
    "RunSetup",
    "all_options",
    "backend_of",
    "backend_of_steps",
    "check_options",
]

BACKENDS: Mapping[str, str] = {
    "local": "katibflow.runners.local.backend",
    "kubernetes": "katibflow.runners.kubernetes.backend",
}
"""Name of a backend to the module that defines it."""

DEFAULT = "local"
"""The backend of ``katibflow run`` without the option ``--on``."""

_IN_CLUSTER = "kubernetes"
"""The backend of pipeline steps that run in a cluster."""

Given = Mapping[str, Any]
"""The options that a caller gave to a backend, by name; None, or absent, if not given."""


@dataclass(frozen=True)
class Option:
    """An option of ``katibflow run``, and argument of ``Experiment.run``, that a backend takes.

    Attributes:
        name: Name in Python.
        help: Help text, a sentence or two.
        flag: Name on the command line; by default ``--name``.
        metavar: Placeholder of the value in the help; by default the type.
        type: Type of the value, or of each value.
        is_list: Whether the option may be given several times.
    """

    name: str
    help: str
    flag: str = ""
    metavar: str | None = None
    type: type = str
    is_list: bool = False

    @property
    def words(self) -> str:
        """Returns the name on the command line."""
        return self.flag or f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True)
class OwnedOption:
    """An option, and the names of the backends that take it."""

    option: Option
    backends: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """Returns the choice of backends that the option goes with, in words."""
        return "only with " + " or ".join(f"--on {name}" for name in self.backends)


@dataclass(frozen=True)
class RunSetup:
    """The parts of a run on this machine that its backend makes, after its checks.

    Attributes:
        runner: Makes the runner, from the history and the run's folder.
        begin: Adds trials of earlier runs to a new history, also those of an Experiment that has
            changed since if the second argument is True; None if none are wanted.
        fills_folder: Whether the runner itself writes records and logs to the run's folder;
            otherwise they are copied there.
        programs: Name to hash of the files of the trials' programs, where they can be read.
        place: What says where the trials run beside the backend's name: an option to its value. A
            run that goes on elsewhere is told so.
        at_once: The most trials that this place can run at a time; None for no limit.
        notes: What the user is told of the place when the run starts.
        preview: Returns lines that say what is made of a rendered job, given the trial's folder;
            None if there is nothing to say but the job itself.
    """

    runner: Callable[[History, Path], Runner]
    begin: Callable[[History, bool], History] | None = None
    fills_folder: bool = False
    programs: Mapping[str, str] = field(default_factory=dict)
    place: Mapping[str, str] = field(default_factory=dict)
    at_once: int | None = None
    notes: tuple[str, ...] = ()
    preview: Callable[[Mapping[str, Any], Path], Sequence[str]] | None = None


class Backend(Protocol):
    """A place where trials run, for runs on this machine and for the steps of a pipeline."""

    @property
    def summary(self) -> str:
        """Returns what a trial is in this backend, in two or three words."""

    @property
    def options(self) -> Sequence[Option]:
        """Returns the backend's own options, besides those of every run."""

    def check(self, experiment: Experiment, given: Given, source: str) -> None:
        """Checks that the backend can run an Experiment's trials, before anything is changed.

        Args:
            experiment: The Experiment to run.
            given: The backend's options.
            source: Name of the Experiment's file, for errors.

        Raises:
            InputError: It cannot run them, or an option is wrong.
        """

    def set_up(self, experiment: Experiment, given: Given, source: str) -> RunSetup:
        """Prepares a run on this machine; the arguments are those that passed `check`.

        Raises:
            InputError: The backend cannot run the trials.
            RunnerError: The backend is out of reach.
        """

    def template_reader(self, given: Given) -> ReadConfigMap | None:
        """Returns the reader of a trial template's ConfigMap, or None if the backend has none."""

    def step_runner(self, history: History) -> Runner:
        """Makes the runner of a pipeline's run, in one of its steps.

        Raises:
            RunnerError: The backend is out of reach.
        """

    def earlier(self, history: History) -> Iterable[EarlierTrial]:
        """Finds the recorded trials of all runs of the Experiment's name, in a pipeline's step.

        Raises:
            RunnerError: The records cannot be read.
        """

    def log_files(self, history: History) -> Mapping[int, Mapping[str, Path]]:
        """Finds the logs of a pipeline's trials: number to replica to file; none if elsewhere."""

    def experiments_of(self, run: str) -> Iterable[str]:
        """Finds the Experiments of a pipeline's run, as JSON; none where there is no Workflow.

        Args:
            run: KFP's id of the run.

        Raises:
            RunnerError: They cannot be read.
        """

    def left_logs(
        self, experiment: str, run: str, template: TrialTemplate
    ) -> Iterable[tuple[str, Sequence[str]]]:
        """Yields file name and lines of each log of a pipeline's run that `finish` may take away.

        Args:
            experiment: The Experiment's name.
            run: The run's id.
            template: The kind of the trials and their conditions; the rest may be missing.

        Raises:
            RunnerError: They cannot be read.
        """

    def is_shut_down(self) -> bool:
        """Returns whether somebody has ended the run of this step, so that no other step follows.

        Raises:
            RunnerError: That cannot be read.
        """

    def pipeline_run(self) -> str | None:
        """Returns KFP's id of the run of this step; None outside of Kubeflow Pipelines.

        Raises:
            RunnerError: That cannot be read.
        """

    def finish(self, experiment: str, run: str, template: TrialTemplate) -> Sequence[str]:
        """Stops what still runs of a pipeline's run; returns the names of what it stopped.

        Args:
            experiment: The Experiment's name; there is nothing to stop if it is no name.
            run: The run's id.
            template: The kind of the trials and their conditions; the rest may be missing.

        Raises:
            RunnerError: Not all of it could be stopped.
        """


def backend_of(name: str) -> Backend:
    """Returns the backend of a name.

    Raises:
        InputError: There is no such backend.
        RunnerError: It is not in the library that a pipeline carries.
    """
    if name not in BACKENDS:
        raise InputError(f"on: found {name}; allowed: {', '.join(BACKENDS)}")
    module = BACKENDS[name]
    try:
        backend: Backend = import_module(module).BACKEND
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise
        raise RunnerError(
            f"trials of the backend {name} need katibflow in the steps' Python: "
            f"pip install katibflow=={__version__}"
        ) from error
    return backend


def backend_of_steps() -> Backend:
    """Returns the backend that ``KATIBFLOW_RUNNER`` names, or else the one for this container.

    Raises:
        InputError: ``KATIBFLOW_RUNNER`` names no backend.
        RunnerError: It is not in the library that a pipeline carries.
    """
    is_inside = "KUBERNETES_SERVICE_HOST" in os.environ
    name = os.environ.get("KATIBFLOW_RUNNER") or (_IN_CLUSTER if is_inside else DEFAULT)
    if name not in BACKENDS:
        allowed = ", ".join(sorted(BACKENDS))
        raise InputError(f'KATIBFLOW_RUNNER: found "{name}"; allowed: {allowed}')
    return backend_of(name)


def all_options() -> Mapping[str, OwnedOption]:
    """Returns the options of all backends by name; the first backend with an option defines it."""
    owned: dict[str, OwnedOption] = {}
    for name in BACKENDS:
        for option in backend_of(name).options:
            known = owned.get(option.name, OwnedOption(option, ()))
            owned[option.name] = OwnedOption(known.option, (*known.backends, name))
    return owned


def check_options(on: str, given: Given) -> None:
    """Checks that a backend takes the given options.

    Args:
        on: The backend's name.
        given: The options by name.

    Raises:
        InputError: An option belongs to another backend only, or to none.
    """
    known = all_options()
    for name, value in given.items():
        if value is None or value in ([], ()):
            continue
        owned = known.get(name)
        if owned is None:
            raise InputError(f"{name}: found {value}; allowed: {', '.join(known)}")
        if on not in owned.backends:
            found = value[0] if owned.option.is_list else value
            raise InputError(f"{owned.option.words}: found {found}; allowed: {owned.allowed}")
