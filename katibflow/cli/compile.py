"""``katibflow compile``: writes an Experiment's pipeline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from katibflow.cli.options import (
    ConfigMapFile,
    ExperimentFile,
    Image,
    Layout,
    Package,
    check_output,
    write_output,
)
from katibflow.errors import InputError

__all__ = ["compile_"]


def compile_(
    file: ExperimentFile,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The pipeline's file to write.", show_default=False),
    ],
    image: Image = None,
    package: Package = None,
    layout: Annotated[
        Layout,
        typer.Option(help="rounds: a step for each trial; controller: one step for all of them."),
    ] = Layout.ROUNDS,
    config_map: ConfigMapFile = None,
) -> None:
    """Compile an Experiment to a pipeline that Kubeflow Pipelines runs.

    \b
    Examples:
      katibflow compile examples/mnist.yaml -o compiled/mnist.yaml
      katibflow compile examples/mnist.yaml --layout controller -o mnist.yaml
    """
    from katibflow.compiler.emit import compile_experiment
    from katibflow.reading import map_in_file, read_experiment
    from katibflow.runners.kubernetes_checkpoints import check_checkpoints

    if image is not None and package is not None:
        raise InputError("--image and --package: found both; allowed: one of them")
    check_output(output)
    experiment = read_experiment(file, read=map_in_file(config_map))
    check_checkpoints(experiment, str(file))
    compiled = compile_experiment(experiment, image=image, package=package, layout=layout)
    for warning in compiled.warnings:
        print(f"{file}: {warning}", file=sys.stderr)
    write_output(output, compiled.text)
    print(f"{output}: {len(compiled.text.encode()) / 1024:.0f} KB")
