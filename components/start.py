"""The component `start`, the first step: checks the Experiment with the run's parameters.

KFP needs each input's name, so the compiler replaces ``**given`` by the run's parameters
(`katibflow.compiler.run_inputs`).
"""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp.dsl import Artifact, Output

from katibflow.components.loading import load_library

__all__ = ["start"]


def start(
    study: Output[Artifact],
    experiment: str,
    layout: str,
    run: str,
    library: str,
    room: int,
    **given: str,
) -> None:
    """Checks the Experiment with this run's parameters, and writes the first study."""
    load_library(library, run, f"{study.path}/library.zip")
    from katibflow import steps

    steps.start(experiment, given, layout, run, library, room, study)
