"""The application: registers the commands, reads the global options, ends with an exit status."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated, NoReturn

import typer

from katibflow import __version__
from katibflow.cli.compile import compile_
from katibflow.cli.dashboard import dashboard
from katibflow.cli.init import init
from katibflow.cli.logs import logs
from katibflow.cli.options import BAD_INPUT, EXPERIMENT_FAILED
from katibflow.cli.report import report
from katibflow.cli.run import run
from katibflow.cli.runs import best, list_, show, stop
from katibflow.cli.submit import submit
from katibflow.cli.usage import Checked, UsageError, usage_text
from katibflow.cli.validate import validate
from katibflow.errors import InputError, KatibflowError

__all__ = ["app", "main"]

_HELP = "Runs Katib Experiments on this machine, on a cluster and in Kubeflow Pipelines."


@dataclass
class _GlobalOptions:
    """The values of the options that stand before the command."""

    debug: bool = False


app = typer.Typer(
    name="katibflow",
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=Checked)(init)
app.command(cls=Checked)(run)
app.command(cls=Checked)(validate)
app.command("compile", cls=Checked)(compile_)
app.command(cls=Checked)(submit)
app.command("list", cls=Checked)(list_)
app.command(cls=Checked)(show)
app.command(cls=Checked)(best)
app.command(cls=Checked)(logs)
app.command(cls=Checked)(stop)
app.command(cls=Checked)(report)
app.command(cls=Checked)(dashboard)


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Runs Katib Experiments on this machine, on a cluster and in Kubeflow Pipelines."""
    context.ensure_object(_GlobalOptions).debug = debug


def main() -> NoReturn:
    """Runs the command line; prints an error as one message, or with ``--debug`` a traceback."""
    options = _GlobalOptions()
    try:
        status = app(prog_name="katibflow", obj=options, standalone_mode=False)
    except typer.Abort:
        _fail("interrupted", EXPERIMENT_FAILED)
    except Exception as error:
        if isinstance(error, UsageError):
            _fail(usage_text(error), BAD_INPUT)
        if options.debug:
            raise
        if isinstance(error, InputError):
            _fail(str(error), BAD_INPUT)
        if isinstance(error, KatibflowError):
            _fail(str(error), EXPERIMENT_FAILED)
        _fail(
            f"internal error: {type(error).__name__}: {error}; `katibflow --debug ...` shows where",
            EXPERIMENT_FAILED,
        )
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(status)
