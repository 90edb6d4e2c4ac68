"""The command ``katibflow validate``: checks Experiments and prints their faults."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from katibflow.cli.options import BAD_INPUT, AsJson, ConfigMapFile
from katibflow.errors import InputError
from katibflow.printing import counted, say

if TYPE_CHECKING:
    from katibflow.experiment.types import Experiment

__all__ = ["validate"]


def validate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Katib Experiments (YAML).", show_default=False),
    ],
    config_map: ConfigMapFile = None,
    as_json: AsJson = False,
) -> None:
    """Check Experiments, list all that is wrong with them, and note what differs from Katib.

    \b
    Examples:
      katibflow validate examples/*.yaml
      katibflow validate --json examples/mnist.yaml
    """
    from katibflow.errors import InvalidExperiment
    from katibflow.validation.katib_differences import katib_differences_of
    from katibflow.validation.reading import map_in_file, read_experiment

    read = map_in_file(config_map)
    reports: list[dict[str, Any]] = []
    for file in files:
        faults: list[dict[str, str]] = []
        differences: tuple[str, ...] = ()
        try:
            experiment = read_experiment(file, read=read, needs_template=False)
        except InvalidExperiment as error:
            faults = [
                {"path": fault.path, "found": fault.found, "allowed": fault.allowed}
                for fault in error.faults
            ]
            say(str(error), file=sys.stderr)
        except InputError as error:
            faults = [{"path": "", "found": str(error), "allowed": ""}]
            say(str(error), file=sys.stderr)
        else:
            if not as_json:
                say(f"{file}: {_summary(experiment)}")
            differences = katib_differences_of(experiment)
            for note in differences:
                say(f"{file}: note: {note}", file=sys.stderr)
        report = {"file": str(file), "valid": not faults, "faults": faults, "notes": differences}
        reports.append(report)
    if as_json:
        print(json.dumps({"files": reports}))
    if not all(report["valid"] for report in reports):
        raise typer.Exit(BAD_INPUT)


def _summary(experiment: Experiment) -> str:
    from katibflow.study.counts import limit_text

    spec = experiment.spec
    trials = limit_text(spec.max_trial_count)
    searched = counted(len(spec.parameters), "parameter")
    if spec.nas_config is not None:
        searched = f"networks with numLayers {spec.nas_config.graph_config.num_layers}"
    return (
        f"valid: {experiment.name}, {searched}, "
        f"{spec.algorithm.algorithm_name}, {trials}, {spec.parallelism} at a time"
    )
