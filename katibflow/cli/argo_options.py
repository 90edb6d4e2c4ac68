"""Options of the commands that make Workflows for Argo alone."""

from __future__ import annotations

from typing import Annotated

import typer

from katibflow.compiler.argo.objects import NEWEST, VERSIONS, Kind
from katibflow.errors import InputError

__all__ = ["ArgoVersion", "Artifacts", "ServiceAccount", "check_target"]

ServiceAccount = Annotated[
    str | None,
    typer.Option(help="For Argo: the pods' service account; by default the namespace's."),
]
Artifacts = Annotated[
    bool,
    typer.Option(
        "--artifacts", help="For Argo: keep report, study and logs in its artifact repository."
    ),
]
ArgoVersion = Annotated[
    str, typer.Option(metavar="X.Y", help=f"For Argo: its version, of {', '.join(VERSIONS)}.")
]


def check_target(
    kind: Kind | None,
    schedule: str | None,
    service_account: str | None,
    artifacts: bool,
    version: str,
) -> None:
    """Checks that no option for Argo is given with another target.

    Raises:
        InputError: One is.
    """
    given = {
        "--as": kind,
        "--schedule": schedule,
        "--service-account": service_account,
        "--artifacts": artifacts or None,
        "--argo-version": version if version != NEWEST else None,
    }
    for option, value in given.items():
        if value is not None:
            found = "it" if value is True else value
            raise InputError(f"{option}: found {found}; allowed: only with --target argo")
