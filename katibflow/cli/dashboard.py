"""The command ``katibflow dashboard``: serves Optuna's dashboard of a run, a file or a storage."""

from __future__ import annotations

import os
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from katibflow.errors import InputError
from katibflow.printing import say

__all__ = ["dashboard"]


def dashboard(
    history: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN|FILE",
            help="A run's folder, as runs/mnist, or a study history (study.jsonl, also one that "
            "was downloaded from a pipeline's run).",
            show_default=False,
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL|FILE", help="An Optuna storage instead, as `katibflow run` mirrors into."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8080,
    writable: Annotated[
        bool,
        typer.Option("--writable", help="Let the page change the storage: notes, deleted studies."),
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open it in a browser, if there is one.")
    ] = True,
) -> None:
    """Show a run, over or not, in Optuna's dashboard, until Ctrl-C. What it shows is followed.

    \b
    Examples:
      katibflow dashboard runs/mnist
      katibflow dashboard --storage sqlite:///studies.db --port 0 --no-browser
    """
    from katibflow.runs.dashboard import HistoryOnDisk, follow, server
    from katibflow.storage.location import Storage

    if (history is None) == (storage is None):
        found = "neither" if history is None else "both"
        raise InputError(f"RUN|FILE, --storage: found {found}; allowed: one of them")
    path = "/dashboard"
    if history is not None:
        opened, study = follow(HistoryOnDisk(history), _warn)
        path = f"/dashboard/studies/{study}"
    else:
        opened = Storage(storage or "").existing()
    if not _is_this_machine(host):
        _warn(f"--host {host}: whoever reaches this machine there sees the study; nobody is asked")
    with server(opened, host, port, writable=writable) as serving:
        address = f"http://{host}:{serving.server_port}{path}"
        say(f"{address} (Ctrl-C ends it)")
        if browser and _has_screen():
            typer.launch(address)
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            print()


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _has_screen() -> bool:
    """Returns whether a browser can open a window; macOS sets no variable for it."""
    is_mac = sys.platform == "darwin"
    return is_mac or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _warn(text: str) -> None:
    say(text, file=sys.stderr)
