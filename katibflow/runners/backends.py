"""Where trials can run: what such a backend brings, which there are, and their options.

Each backend is a folder beside this module. Its module ``backend`` has a `Backend` of the name
``BACKEND``, and a line in `BACKENDS` makes it known. That module is imported by every command, so
it imports what runs trials when it is asked to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from katibflow import __version__
from katibflow.errors import InputError, RunnerError

if TYPE_CHECKING:
    from pathlib import Path

    from katibflow.experiment.config_map import ReadConfigMap
    from katibflow.experiment.types import Experiment
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
"""Name of a backend to the module that has it."""

DEFAULT = "local"
"""Where trials of ``katibflow run`` go, unless it says otherwise."""

_IN_CLUSTER = "kubernetes"
"""Where trials of a pipeline's steps go that run in a cluster."""

Given = Mapping[str, Any]
"""The options that a caller gave to a backend, by name; None, or nothing, where it gave none."""


@dataclass(frozen=True)
class Option:
    """An option of ``katibflow run``, and argument of ``Experiment.run``, that a backend takes.

    Attributes:
        name: Its name in Python.
        help: What it says, in a sentence or two.
        flag: Its name on the command line; by default ``--name``.
        metavar: What stands for its value in the help; by default the type.
        type: Of its value, or of each of its values.
        is_list: Whether it may be given several times.
    """

    name: str
    help: str
    flag: str = ""
    metavar: str | None = None
    type: type = str
    is_list: bool = False

    @property
    def words(self) -> str:
        """Its name on the command line."""
        return self.flag or f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True)
class OwnedOption:
    """An option, and the names of the backends that take it."""

    option: Option
    backends: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """Which choice of a backend it goes with, in words."""
        return "only with " + " or ".join(f"--on {name}" for name in self.backends)


@dataclass(frozen=True)
class RunSetup:
    """What a run on this machine needs of a backend that was found fit for it.

    Attributes:
        runner: Makes the runner of a run, whose folder is given.
        begin: Adds trials of earlier runs to a new history; None when none are wanted.
        fills_folder: Whether the runner itself puts records and logs into the run's folder;
            otherwise they are copied to it.
    """

    runner: Callable[[History, Path], Runner]
    begin: Callable[[History], History] | None = None
    fills_folder: bool = False


class Backend(Protocol):
    """A place where trials run, as runs on this machine and the steps of a pipeline use it."""

    @property
    def summary(self) -> str:
        """What trials are there, in two or three words."""

    @property
    def options(self) -> Sequence[Option]:
        """The options that it takes, beside those of every run."""

    def check(self, experiment: Experiment, given: Given, source: str) -> None:
        """Checks that an Experiment's trials can run there, before anything is touched.

        Args:
            experiment: What is to be run.
            given: Its options.
            source: Where the Experiment comes from, for errors.

        Raises:
            InputError: They cannot, or an option is wrong.
        """

    def set_up(self, experiment: Experiment, given: Given, source: str) -> RunSetup:
        """Makes ready for a run of this machine; the arguments are those that `check` let pass.

        Raises:
            InputError: The trials cannot run there.
            RunnerError: It cannot be reached.
        """

    def template_reader(self, given: Given) -> ReadConfigMap | None:
        """Returns what reads a trial template's ConfigMap there, or None if there are none."""

    def step_runner(self, history: History) -> Runner:
        """Makes the runner of a pipeline's run, in one of its steps.

        Raises:
            RunnerError: It cannot be reached from here.
        """

    def earlier(self, history: History) -> Iterable[EarlierTrial]:
        """Finds all trials on record of the Experiment's name, in a step of a pipeline.

        Raises:
            RunnerError: The records cannot be read.
        """

    def log_files(self, history: History) -> Mapping[int, Mapping[str, Path]]:
        """Finds the logs of a pipeline's trials: number to replica to file; none if elsewhere."""

    @property
    def finish(self) -> Callable[[str, str], None] | None:
        """Stops what still runs of a pipeline's run, given the Experiment's name and the run's id.

        None if the component `finish` does so by itself, without this library.
        """


def backend_of(name: str) -> Backend:
    """Returns the backend of a name.

    Raises:
        InputError: There is none.
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
    """Returns the backend that ``KATIBFLOW_RUNNER`` names; else the one of where this runs.

    Raises:
        InputError: It names none.
        RunnerError: It is not in the library that a pipeline carries.
    """
    is_inside = "KUBERNETES_SERVICE_HOST" in os.environ
    name = os.environ.get("KATIBFLOW_RUNNER") or (_IN_CLUSTER if is_inside else DEFAULT)
    if name not in BACKENDS:
        allowed = ", ".join(sorted(BACKENDS))
        raise InputError(f'KATIBFLOW_RUNNER: found "{name}"; allowed: {allowed}')
    return backend_of(name)


def all_options() -> Mapping[str, OwnedOption]:
    """Returns the options of all backends, by name; of one that several have, the first says it."""
    owned: dict[str, OwnedOption] = {}
    for name in BACKENDS:
        for option in backend_of(name).options:
            known = owned.get(option.name, OwnedOption(option, ()))
            owned[option.name] = OwnedOption(known.option, (*known.backends, name))
    return owned


def check_options(on: str, given: Given) -> None:
    """Checks that a backend takes the options that were given.

    Args:
        on: Its name.
        given: The options.

    Raises:
        InputError: One is another backend's, or nobody's.
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
