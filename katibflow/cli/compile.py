"""The command ``katibflow compile``: compiles an Experiment to a pipeline file."""

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
    LayoutOption,
    Package,
    check_output,
)

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
) -> None:
    """Compile an Experiment to a pipeline that Kubeflow Pipelines runs.

    \b
    Examples:
      katibflow compile examples/mnist.yaml -o compiled/mnist.yaml
      katibflow compile examples/mnist.yaml --layout controller -o mnist.yaml
    """
    from katibflow.compiler.emit import compile_experiment
    from katibflow.study.files import write_file
    from katibflow.validation.reading import map_in_file, read_experiment

    check_output(output, file)
    experiment = read_experiment(file, read=map_in_file(config_map))
    compiled = compile_experiment(
        experiment, image=image, package=package, layout=layout, source=str(file)
    )
    for warning in compiled.warnings:
        print(f"{file}: {warning}", file=sys.stderr)
    write_file(output, compiled.text)
    print(f"layout {compiled.layout}: {compiled.why}")
    print(f"{output}: {len(compiled.text.encode()) / 1024:.0f} KB")
