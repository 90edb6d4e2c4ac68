"""Options, arguments and exit statuses that several commands share, and checks of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from katibflow.errors import InputError
from katibflow.runners.backends import BACKENDS, OwnedOption, all_options, backend_of
from katibflow.runners.stopping import StopReason

__all__ = [
    "BAD_INPUT",
    "EXPERIMENT_FAILED",
    "AsJson",
    "ConfigMapFile",
    "ExperimentFile",
    "Image",
    "Layout",
    "LayoutOption",
    "Package",
    "RunsFolder",
    "check_output",
    "interrupted",
    "with_backends",
]

EXPERIMENT_FAILED = 1
"""Exit status: the experiment failed, or could not be run."""

BAD_INPUT = 2
"""Exit status: the input is wrong, and nothing was started."""


class Layout(StrEnum):
    """How a compiled pipeline runs the trials."""

    AUTO = "auto"
    ROUNDS = "rounds"
    CONTROLLER = "controller"


ExperimentFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A Katib Experiment (YAML).", show_default=False)
]
ConfigMapFile = Annotated[
    Path | None,
    typer.Option(
        "--config-map",
        metavar="FILE",
        help="The ConfigMap with the trial template, as `kubectl get configmap -o yaml` prints it; "
        "for an Experiment with trialTemplate.configMap.",
    ),
]
RunsFolder = Annotated[Path, typer.Option(help="Folder that holds a folder for each run.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, and all else to standard error.")
]
Image = Annotated[
    str | None,
    typer.Option(help="Image with katibflow for all steps, in place of the code in the file."),
]
LayoutOption = Annotated[
    Layout,
    typer.Option(
        help="rounds: a step for each trial; controller: one step for all of them; auto: rounds "
        "where the trials fit into one run, else controller."
    ),
]
Package = Annotated[
    str | None,
    typer.Option(metavar="katibflow==X", help="Install this release in each step, likewise."),
]


def with_backends(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command's option ``on`` the backends' names, and adds all backends' options.

    Args:
        command: A command with ``on``, which has a default, and ``**`` for the backends' options.

    Returns:
        The command, with a signature that lists the backends' options after ``on``.
    """
    signature = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.name != "on":
            parameters.append(parameter)
            continue
        names = _enumeration("Backend", {name.upper(): name for name in BACKENDS})
        summaries = ", or ".join(backend_of(name).summary for name in BACKENDS)
        choice = typer.Option(help=f"Where trials run: {summaries}.")
        default = names(parameter.default)
        parameters.append(parameter.replace(annotation=Annotated[names, choice], default=default))
        parameters += map(_parameter, all_options().values())
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


_enumeration: Any = StrEnum
"""Makes an enumeration of names that are only known at run time, which mypy cannot check."""


def _parameter(owned: OwnedOption) -> inspect.Parameter:
    option = owned.option
    kind: Any = option.type
    typer_option = typer.Option(
        option.words,
        metavar=option.metavar,
        help=f"{option.help} {owned.allowed.capitalize()}.",
        show_default=False,
    )
    return inspect.Parameter(
        option.name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[(list[kind] if option.is_list else kind) | None, typer_option],
    )


def interrupted(reason: StopReason) -> typer.Exit:
    """Returns the exit of a stopped command: status 128 + the signal's number, as in shells.

    Args:
        reason: Why the command stops.
    """
    return typer.Exit(EXPERIMENT_FAILED if reason.signal is None else 128 + reason.signal)


def check_output(path: Path, source: Path | None = None) -> None:
    """Checks that a file can be written, before the work for it is done.

    Args:
        path: The file to write.
        source: The input file, which must not be overwritten; None without one.

    Raises:
        InputError: The path is a folder, a device or a pipe, its folder does not exist, or it is
            the source.
    """
    if source is not None and path.resolve() == source.resolve():
        raise InputError(f"--output {path}: found the input's own file; allowed: another")
    found = ""
    if path.is_dir():
        found = "a folder"
    elif not path.resolve().parent.is_dir():
        found = f"no folder {path.parent}"
    elif str(path) == "-":
        found = "no name of a file"
    elif path.exists() and not path.is_file():
        found = "a device or a pipe"
    if found:
        raise InputError(f"--output {path}: found {found}; allowed: a file in a folder")
