"""The command ``katibflow compile``: compiles an Experiment to a pipeline file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from katibflow.cli.argo_options import (
    ArgoVersion,
    Artifacts,
    ServiceAccount,
)
from katibflow.cli.options import (
    ConfigMapFile,
    ExperimentFile,
    Image,
    Layout,
    LayoutOption,
    Package,
    check_output,
)
from katibflow.compiler.argo.objects import Kind
from katibflow.compiler.targets import Target, check_options
from katibflow.printing import say

__all__ = ["compile_"]


def compile_(
    file: ExperimentFile,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The pipeline's file to write.", show_default=False),
    ],
    image: Image = None,
    package: Package = None,
    layout: LayoutOption = Layout.AUTO,
    config_map: ConfigMapFile = None,
    target: Annotated[
        Target,
        typer.Option(help="What runs the file: Kubeflow Pipelines, or Argo Workflows alone."),
    ] = Target.KFP,
    as_: Annotated[
        Kind | None,
        typer.Option(
            "--as",
            help="For Argo: the object to write; by default a WorkflowTemplate, or with "
            "--schedule a CronWorkflow.",
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="CRON", help='For Argo: when to run it, as "0 3 * * *" at 3:00 (UTC).'
        ),
    ] = None,
    service_account: ServiceAccount = None,
    artifacts: Artifacts = False,
    argo_version: ArgoVersion = None,
) -> None:
    """Compile an Experiment to a pipeline that Kubeflow Pipelines or Argo Workflows runs.

    \b
    Examples:
      katibflow compile examples/mnist.yaml -o compiled/mnist.yaml
      katibflow compile examples/mnist.yaml --layout controller -o mnist.yaml
      katibflow compile examples/mnist.yaml --target argo -o sweep.yaml
    """
    from katibflow.client.compiling import ForArgo, compile_for
    from katibflow.study.files import write_file
    from katibflow.validation.reading import map_in_file, read_experiment

    check_output(output, file)
    options = ForArgo(as_, schedule, service_account, artifacts, argo_version)
    check_options(target, options.given(), "--target")
    compiled = compile_for(
        target,
        read_experiment(file, read=map_in_file(config_map)),
        options,
        image=image,
        package=package,
        layout=layout,
        source=str(file),
    )
    for warning in compiled.warnings:
        say(f"{file}: {warning}", file=sys.stderr)
    write_file(output, compiled.text)
    say(f"layout {compiled.layout}: {compiled.why}")
    say(f"{output}: {len(compiled.text.encode()) / 1024:.0f} KB")
