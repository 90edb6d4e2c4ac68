"""The command ``katibflow submit``: runs an Experiment in a pipelines' engine, or schedules it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from katibflow.cli.argo_options import ArgoVersion, Artifacts, ServiceAccount
from katibflow.cli.finding import CaFile, Context, Host, Namespace, Poll
from katibflow.cli.following import follow_to_end
from katibflow.cli.options import (
    AsJson,
    ConfigMapFile,
    ExperimentFile,
    Image,
    Layout,
    LayoutOption,
    Package,
)
from katibflow.cli.run_options import with_run_options
from katibflow.compiler.targets import Target
from katibflow.errors import KatibflowError
from katibflow.extras import require
from katibflow.handles import submitting as handles
from katibflow.handles.submitting import Destination
from katibflow.printing import say, warn

__all__ = ["submit"]


@with_run_options(before="kfp_experiment")
def submit(
    file: ExperimentFile,
    to: Annotated[
        Target, typer.Option(help="What runs it: Kubeflow Pipelines, or Argo Workflows alone.")
    ] = Target.KFP,
    host: Host = None,
    namespace: Namespace = None,
    context: Context = None,
    ca_file: CaFile = None,
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
    poll: Poll = None,
    image: Image = None,
    package: Package = None,
    layout: LayoutOption = Layout.AUTO,
    config_map: ConfigMapFile = None,
    service_account: ServiceAccount = None,
    artifacts: Artifacts = False,
    argo_version: ArgoVersion = None,
    as_json: AsJson = False,
    **run_parameters: str | None,
) -> None:
    """Run an Experiment in Kubeflow Pipelines or Argo Workflows, and follow it to its end.

    For Kubeflow Pipelines the pipeline is compiled, and uploaded unless that version is there. For
    Argo a Workflow is created through the kubeconfig, or from a pod of the cluster. Ctrl-C leaves
    the run alone. Exit status as of `katibflow run`.

    \b
    Examples:
      katibflow submit examples/mnist.yaml --host http://localhost:8080
      katibflow submit examples/mnist.yaml --max-trials 20 --goal 0.1 --no-wait
      katibflow submit examples/mnist.yaml --name nightly --schedule "0 3 * * *"
      katibflow submit examples/mnist.yaml --to argo --service-account katibflow
    """
    destination = Destination(
        to, host, namespace, context, ca_file, service_account, artifacts, argo_version
    )
    destination.check(kfp_experiment)
    require(to, "katibflow submit")
    from katibflow.client.schedules import trigger_of
    from katibflow.client.submitting import Recurring, Submission
    from katibflow.runners.kubernetes.config_maps import map_in_cluster
    from katibflow.validation.reading import map_in_file, read_experiment

    trigger = trigger_of(schedule, every)
    submission = Submission(
        read_experiment(file, read=map_in_file(config_map) or map_in_cluster(context)),
        str(file),
        {key: value for key, value in run_parameters.items() if value is not None},
        layout,
        image,
        package,
        kfp_experiment,
    )
    listener = _PrintingListener(file, as_json)
    made = handles.submit(submission, destination, listener, trigger, warn)
    if isinstance(made, Recurring):
        if as_json:
            data = {"name": made.name, "recurringRun": made.recurring_run_id, "link": made.link}
            print(json.dumps(data))
    elif wait:
        raise follow_to_end(made, poll, as_json)
    elif as_json:
        print(json.dumps({"run": made.run_id, "name": made.name, "link": made.link}))


class _PrintingListener:
    """A `SubmissionListener` that prints warnings to standard error, and lines to one stream."""

    def __init__(self, file: Path, as_json: bool) -> None:
        self._file = file
        self._stream = sys.stderr if as_json else sys.stdout

    def warning(self, text: str) -> None:
        say(f"{self._file}: {text}", file=sys.stderr)

    def line(self, text: str) -> None:
        say(text, file=self._stream)

    def cluster_unavailable(self, error: KatibflowError) -> None:
        from katibflow.handles.kfp import unavailable_text

        say(unavailable_text(error), file=sys.stderr)
