"""Gives a command the options that say which run is meant and where to look for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from katibflow.cli.options import RunsFolder
from katibflow.handles.base import Where
from katibflow.handles.registry import SOURCES, source_of
from katibflow.printing import warn

__all__ = [
    "CaFile",
    "Context",
    "Host",
    "Namespace",
    "Poll",
    "RunName",
    "with_where",
]

Host = Annotated[
    str | None,
    typer.Option(
        help="Address of Kubeflow Pipelines, as http://localhost:8080; by default "
        "KF_PIPELINES_ENDPOINT, the cluster that this runs in, or the kubeconfig's.",
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(help="Of the runs and their jobs; needed where users have their own."),
]
Context = Annotated[
    str | None,
    typer.Option(
        help="The kubeconfig's context, for the trials' jobs; by default the current one."
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Certificates (PEM) to trust in place of the usual ones."),
]
Poll = Annotated[
    float | None,
    typer.Option(
        min=0.05,
        help="Seconds between two looks at a run that is followed; by default 0.5 on this machine, "
        "5 elsewhere.",
        show_default=False,
    ),
]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's folder, as runs/mnist, or its history; or its name, its id, or the id's "
        "first letters; or the name of an Experiment of which there is one run. RUN/NAME for one "
        "of several Experiments of a pipeline.",
        show_default=False,
    ),
]


def with_where(command: Callable[..., None]) -> Callable[..., None]:
    """Puts the options that say where runs are in the place of a command's ``where``.

    The command gets a `Where` made of them.
    """
    made_of = _options()
    names = [each.name for each in made_of]

    @wraps(command)
    def made(**options: Any) -> None:
        given = {name: options.pop(name) for name in names}
        on = given.pop("on")
        command(**options, where=Where(warn, on=on and on.value, **given))

    signature = inspect.signature(command, eval_str=True)
    own = list(signature.parameters.values())
    at = [parameter.name for parameter in own].index("where")
    parameters = [*own[:at], *made_of, *own[at + 1 :]]
    made.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    )
    made.__annotations__ = {each.name: each.annotation for each in parameters}
    return made


def _options() -> list[inspect.Parameter]:
    of_names: Any = StrEnum
    names = of_names("Source", {name.upper(): name for name in SOURCES})
    summaries = ", ".join(f"{name}: {source_of(name).summary}" for name in SOURCES)
    on = typer.Option(help=f"Look here only. {summaries}.", show_default=False)
    annotations: dict[str, tuple[Any, Any]] = {
        "on": (Annotated[names | None, on], None),
        "runs": (RunsFolder, Path("runs")),
        "host": (Host, None),
        "namespace": (Namespace, None),
        "context": (Context, None),
        "ca_file": (CaFile, None),
    }
    return [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default
        )
        for name, (annotation, default) in annotations.items()
    ]
