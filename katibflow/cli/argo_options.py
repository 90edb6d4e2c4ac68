"""Options of the commands that make Workflows for Argo alone."""

from __future__ import annotations

from typing import Annotated

import typer

from katibflow.compiler.argo.objects import NEWEST, VERSIONS

__all__ = ["ArgoVersion", "Artifacts", "ServiceAccount"]

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
    str | None,
    typer.Option(
        metavar="X.Y",
        help=f"For Argo: its version, of {', '.join(VERSIONS)}; by default {NEWEST}.",
    ),
]
