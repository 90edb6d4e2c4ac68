"""The command ``katibflow run``: runs an Experiment on this machine or in a cluster."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TextIO

import typer

from katibflow.cli.options import (
    EXPERIMENT_FAILED,
    AsJson,
    ConfigMapFile,
    ExperimentFile,
    RunsFolder,
    interrupted,
    with_backends,
)
from katibflow.cli.results import has_best, print_result
from katibflow.engine.signals import caught
from katibflow.printing import say
from katibflow.runners.backends import DEFAULT, backend_of

if TYPE_CHECKING:
    from katibflow.runners.stopping import StopRequest

__all__ = ["run"]


@with_backends
def run(
    file: ExperimentFile,
    name: Annotated[
        str | None, typer.Option(help="Run it under another name than the file's.")
    ] = None,
    runs: RunsFolder = Path("runs"),
    on: str = DEFAULT,
    trial_timeout: Annotated[
        float | None,
        typer.Option(min=0.001, help="Seconds a trial may take; no limit by default."),
    ] = None,
    trial_start_timeout: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Seconds within which a trial's replicas must have started and connected; "
            "600 by default.",
        ),
    ] = None,
    drain: Annotated[
        bool, typer.Option(help="Let running trials finish when the experiment is over.")
    ] = False,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL|FILE",
            help="Mirror the run, while it goes on, into the study of its name in this Optuna "
            "storage, as sqlite:///studies.db, postgresql://USER@HOST/DATABASE, or a journal's "
            "file; made if it is not there.",
        ),
    ] = None,
    track: Annotated[
        str | None,
        typer.Option(
            metavar="mlflow[:URI]|wandb[:PROJECT]",
            help="Write the run, while it goes on, to a tracker: a run for the experiment and one "
            "below it for each trial.",
        ),
    ] = None,
    warm_start: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Let the algorithm learn from the trials of an earlier run of the same search "
            "space, as runs/mnist or its study.jsonl; they count for nothing else.",
        ),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Begin anew; the folder of an earlier run of this name is kept beside, under a "
            "dated name.",
        ),
    ] = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Go on with the trials on record though the Experiment, or a script that it "
            "names, has changed since; the report says so.",
        ),
    ] = False,
    max_trials: Annotated[
        int | None, typer.Option(metavar="N", help="In place of maxTrialCount.")
    ] = None,
    parallel: Annotated[
        int | None, typer.Option(metavar="N", help="In place of parallelTrialCount.")
    ] = None,
    max_failed: Annotated[
        int | None,
        typer.Option(
            "--max-failed",
            "--max-failed-trials",
            metavar="N",
            help="In place of maxFailedTrialCount.",
        ),
    ] = None,
    goal: Annotated[
        float | None, typer.Option(metavar="X", help="In place of the objective's goal.")
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="In place of algorithmName, with its own defaults."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="In place of the setting random_state.")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A variable of the trials' container, kept with the run. May be given several "
            "times.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check all, and print what would run: the Python, a trial's command and folder.",
        ),
    ] = False,
    config_map: ConfigMapFile = None,
    as_json: AsJson = False,
    **of_backend: Any,
) -> None:
    """Run an Experiment, its trials as processes of this machine or as jobs of a cluster.

    A run that was interrupted, or killed, goes on where it was when it is started again. If the
    Experiment or a script has changed since, --fresh, --keep or --name says what to do. Ctrl-C
    stops its trials first; a second one leaves at once, and says what it leaves.

    \b
    Examples:
      katibflow run examples/mnist.yaml --map /opt/pytorch-mnist=trial_image
      katibflow run examples/mnist.yaml --on kubernetes --namespace kubeflow
      katibflow run examples/mnist.yaml --storage sqlite:///studies.db
    """
    from katibflow.progress.display import progress_for
    from katibflow.runners.folder_records import daemons_end
    from katibflow.runners.stopping import StopRequest
    from katibflow.runs.options import Options
    from katibflow.runs.overrides import Overrides, checked_with_overrides, parse_env
    from katibflow.runs.running import preview, run_to_end
    from katibflow.validation.reading import map_in_file, read_plain
    from katibflow.validation.rules import check_document

    read = map_in_file(config_map) or backend_of(on).template_reader(of_backend)
    overrides = Overrides(
        name, max_trials, parallel, max_failed, goal, algorithm, seed, parse_env(env or [])
    )
    document = read_plain(file, read=read)
    experiment = checked_with_overrides(document, overrides, str(file), check_document)
    options = Options(
        source=str(file),
        on=on,
        of_backend=of_backend,
        trial_timeout=trial_timeout,
        trial_start_timeout=trial_start_timeout,
        drain=drain,
        storage=storage,
        track=track,
        warm_start=warm_start,
        fresh=fresh,
        keep=keep,
    )
    if dry_run:
        say(*preview(experiment, runs, options))
        return
    stream = sys.stderr if as_json else sys.stdout
    stop = StopRequest()
    with caught(stop, again=lambda number: _leave(stop, number, stream)), daemons_end():
        done = run_to_end(
            experiment,
            runs,
            options,
            show=lambda status: progress_for(status, stream, datetime.now(UTC)),
            stop=stop,
        )
    print_result(done, as_json, done.folder.report)
    if done.interrupted is not None:
        raise interrupted(done.interrupted)
    raise typer.Exit(0 if done.ending.succeeded and has_best(done.history) else EXPERIMENT_FAILED)


def _leave(stop: StopRequest, number: int, stream: TextIO) -> NoReturn:
    """Ends this process at once, as all that was told is on record, and says what is left."""
    if stream.isatty():
        stream.write("\x1b[?25h")  # the table of a terminal hides the cursor
    text = stop.left or "no trial is known to run"
    say(f"\nkatibflow: leaves at once, by a second signal\n{text}", file=sys.stderr)
    say("the same command goes on from here", file=sys.stderr)
    for each in (stream, sys.stderr):
        with suppress(OSError, ValueError):
            each.flush()
    os._exit(128 + number)
