"""``katibflow submit``: runs an Experiment in Kubeflow Pipelines, now or again and again."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from katibflow.cli.kubeflow import (
    CaFile,
    Cluster,
    Context,
    Host,
    Namespace,
    Poll,
    access_of,
    follow_to_end,
    link_of,
)
from katibflow.cli.options import (
    AsJson,
    ConfigMapFile,
    ExperimentFile,
    Image,
    Layout,
    LayoutOption,
    Package,
)
from katibflow.errors import InputError
from katibflow.extras import require

if TYPE_CHECKING:
    from katibflow.client.base import Trigger

__all__ = ["submit"]


def submit(
    file: ExperimentFile,
    host: Host = None,
    namespace: Namespace = None,
    context: Context = None,
    ca_file: CaFile = None,
    name: Annotated[
        str | None, typer.Option(help="The run's Experiment gets this name, not the file's.")
    ] = None,
    parallel: Annotated[
        str | None, typer.Option(metavar="N|none", help="In place of parallelTrialCount.")
    ] = None,
    max_trials: Annotated[
        str | None,
        typer.Option(
            metavar="N|+N|none",
            help="In place of maxTrialCount; +N is N beside the trials that --resume takes over.",
        ),
    ] = None,
    max_failed_trials: Annotated[
        str | None, typer.Option(metavar="N|none", help="In place of maxFailedTrialCount.")
    ] = None,
    goal: Annotated[
        str | None, typer.Option(metavar="X|none", help="In place of the objective's goal.")
    ] = None,
    trial_timeout: Annotated[
        str | None, typer.Option(metavar="S|none", help="Seconds that a trial may take.")
    ] = None,
    trial_start_timeout: Annotated[
        str | None,
        typer.Option(metavar="S|none", help="Seconds for a trial's replicas to start in."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="all|none|RUN",
            help="Whether the trials of this name's earlier runs count: of all, or of one.",
        ),
    ] = None,
    kfp_experiment: Annotated[
        str | None,
        typer.Option(help="KFP's experiment for the run; by default of the Experiment's name."),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(metavar="CRON", help='Run it again and again, as "0 3 * * *" at 3:00 (UTC).'),
    ] = None,
    every: Annotated[
        str | None, typer.Option(metavar="TIME", help="The same after each time, as 6h or 1d.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Whether to follow the run to its end.")
    ] = True,
    poll: Poll = 5.0,
    image: Image = None,
    package: Package = None,
    layout: LayoutOption = Layout.AUTO,
    config_map: ConfigMapFile = None,
    as_json: AsJson = False,
) -> None:
    """Run an Experiment in Kubeflow Pipelines and follow it to its end.

    The pipeline is compiled, and uploaded unless that version is there. Ctrl-C leaves the run
    alone. Exit status as of `katibflow run`.

    \b
    Examples:
      katibflow submit examples/mnist.yaml --host http://localhost:8080
      katibflow submit examples/mnist.yaml --max-trials 20 --goal 0.1 --no-wait
      katibflow submit examples/mnist.yaml --name nightly --schedule "0 3 * * *"
    """
    require("kfp", "katibflow submit")
    from katibflow.client.api import connect
    from katibflow.client.reading import Sweep, full_run_id
    from katibflow.client.schedules import read_cron, read_interval
    from katibflow.client.submitting import (
        Submission,
        prepare,
        start,
        upload,
    )
    from katibflow.client.submitting import schedule as make_recurring
    from katibflow.runners.kubernetes.config_maps import map_in_cluster
    from katibflow.study.resume import NONE
    from katibflow.validation.reading import map_in_file, read_experiment

    if schedule is not None and every is not None:
        raise InputError("--schedule and --every: found both; allowed: one of them")
    trigger: Trigger | None = None
    if schedule is not None:
        trigger = read_cron(schedule)
    elif every is not None:
        trigger = read_interval(every)
    access = access_of(host, namespace, context, ca_file)
    given = {
        "name": name,
        "parallelTrialCount": parallel,
        "maxTrialCount": max_trials,
        "maxFailedTrialCount": max_failed_trials,
        "goal": goal,
        "trialTimeout": trial_timeout,
        "trialStartTimeout": trial_start_timeout,
        "resume": resume,
    }
    ready = prepare(
        Submission(
            read_experiment(file, read=map_in_file(config_map) or map_in_cluster(context)),
            str(file),
            {key: value for key, value in given.items() if value is not None},
            layout,
            image,
            package,
            kfp_experiment,
        )
    )
    stream = sys.stderr if as_json else sys.stdout
    for warning in ready.warnings:
        print(f"{file}: {warning}", file=sys.stderr)
    print(f"layout {ready.layout}: {ready.why}", file=stream)
    pipelines = connect(access)
    if resume is not None:
        ready = ready.resuming(full_run_id(pipelines, resume.strip().lower()))
    resumes = ready.parameters.get("resume", NONE) if trigger is not None else ready.resume
    Cluster(pipelines, access).check_earlier(ready, resumes)
    version, is_new = upload(pipelines, ready)
    done = "uploaded" if is_new else "there already"
    print(f"pipeline {ready.pipeline}, version {ready.version}: {done}", file=stream)
    if trigger is not None:
        recurring = make_recurring(pipelines, ready, version, trigger)
        link = pipelines.link(f"recurringrun/details/{recurring}") or recurring
        print(f"recurring run {ready.experiment.name}: {link}", file=stream)
        if as_json:
            data = {"name": ready.experiment.name, "recurringRun": recurring, "link": link}
            print(json.dumps(data))
        return
    run = start(pipelines, ready, version)
    link = link_of(pipelines, run)
    print(f"run {run.name}: {link}", file=stream, flush=True)
    if not wait:
        if as_json:
            print(json.dumps({"run": run.run_id, "name": run.name, "link": link}))
        return
    sweep = Sweep(run, ready.experiment, ready.layout, ready.resume)
    raise follow_to_end(pipelines, sweep, access, poll, as_json)
