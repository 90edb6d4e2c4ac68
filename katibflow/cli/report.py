"""The command ``katibflow report``: writes the report of a run on this machine again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from katibflow.cli.options import AsJson, RunsFolder, check_output
from katibflow.cli.results import print_result
from katibflow.errors import InputError
from katibflow.printing import warn

__all__ = ["report"]


def report(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run's folder, as runs/mnist, or a history, also one that was downloaded; or "
            "the folder's name, its id, or the id's first letters.",
            show_default=False,
        ),
    ],
    runs: RunsFolder = Path("runs"),
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The page; by default RUN/report.html of a folder, and beside a history that "
            "has another name than study.jsonl a page of its name: hist.html of hist.jsonl.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a run, over or not: one HTML page that needs no network.

    \b
    Examples:
      katibflow report runs/mnist
      katibflow report mnist -o mnist.html
      katibflow report hist.jsonl
    """
    from katibflow.handles.base import Where
    from katibflow.handles.local import path_meant
    from katibflow.runs.folder import RunFolder
    from katibflow.runs.running import read_run, write_page

    path = path_meant(run, Where(warn, runs=runs))
    if output is not None:
        check_output(output)
        RunFolder.of(path).check_outside(output)
    if path.is_file() and not _may_be_history(path):
        raise InputError(
            f"{path}: found a file that is no history; allowed: the folder of a run, or a "
            "history, as its study.jsonl"
        )
    done = read_run(path)
    print_result(done, as_json, write_page(done, output))


def _may_be_history(path: Path) -> bool:
    """Returns whether a file begins as a history does; its reader says why it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(1) in (b"{", b"")
    except OSError:
        return True
