"""The command ``katibflow init``: writes a first Experiment, for a script or as an example."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from katibflow.cli.options import check_output
from katibflow.errors import InputError
from katibflow.printing import say

__all__ = ["init"]


def init(
    script: Annotated[
        Path | None, typer.Argument(metavar="[SCRIPT]", help="A Python script.", show_default=False)
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")
    ] = Path("experiment.yaml"),
    example: Annotated[
        str | None, typer.Option(metavar="NAME", help="Write one of katibflow's examples instead.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write an Experiment for a script, with what to search from the script's own options.

    The script is read and not run: options of argparse, click and typer become parameters with
    ranges around their defaults. Look them over, then `katibflow run experiment.yaml`.

    \b
    Examples:
      katibflow init train.py
      katibflow init -o tune.yaml
      katibflow init --example sklearn
    """
    if example is not None:
        _write_example(example, script, force)
        return
    from katibflow.scaffold.document import draft_for, name_of

    check_output(output)
    relative, source, name = None, "", output.stem
    if script is not None:
        try:
            source = script.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "no text in UTF-8"
            raise InputError(f"{script}: cannot be read: {reason}; allowed: a script") from error
        relative = os.path.relpath(script.resolve(), output.resolve().parent)
        name = script.stem
    draft = draft_for(name_of(name), relative, source, "{}.{}".format(*sys.version_info))
    _write({output: draft.text.encode()}, force)
    for note in draft.notes:
        say(f"{output}: note: {note}", file=sys.stderr)
    say(f"katibflow run {output}")


def _write_example(name: str, script: Path | None, force: bool) -> None:
    from katibflow.scaffold.carried import EXAMPLES

    if name not in EXAMPLES:
        raise InputError(f'--example: found "{name}"; allowed: {", ".join(EXAMPLES)}')
    if script is not None:
        raise InputError(f"--example: found a script, {script}, too; allowed: one of them")
    found = EXAMPLES[name]
    _write({Path(path): content for path, content in found.files().items()}, force)
    say(*found.commands())


def _write(files: dict[Path, bytes], force: bool) -> None:
    """Writes all files, or none if one of them is there."""
    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise InputError(f"{', '.join(there)}: found in place; allowed: another -o, or --force")
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        say(f"{path}: written", file=sys.stderr)
