"""The command ``katibflow report``: writes the report of a run on this machine again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from katibflow.cli.options import AsJson, check_output
from katibflow.cli.results import print_result
from katibflow.errors import InputError

__all__ = ["report"]


def report(
    run_folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run's folder, as runs/mnist.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page; RUN/report.html by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a run, over or not: one HTML page that needs no network.

    \b
    Examples:
      katibflow report runs/mnist
      katibflow report runs/mnist -o mnist.html
    """
    from katibflow.runs.folder import RunFolder
    from katibflow.runs.running import read_run, write_page

    if output is not None:
        check_output(output)
        RunFolder.of(run_folder).check_outside(output)
    if run_folder.is_file() and not _may_be_history(run_folder):
        raise InputError(
            f"{run_folder}: found a file that is no history; allowed: the folder of a run, or a "
            "history, as its study.jsonl"
        )
    run = read_run(run_folder)
    print_result(run, as_json, write_page(run, output))


def _may_be_history(path: Path) -> bool:
    """Returns whether a file begins as a history does; its reader says why it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(1) in (b"{", b"")
    except OSError:
        return True
