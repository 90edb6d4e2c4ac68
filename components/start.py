"""The first step: checks the Experiment with this run's parameters and carries the library."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc"

from kfp import dsl  # type: ignore[import-untyped]

__all__ = ["PACK", "start"]

PACK = "@katibflow-pack@"
"""Stands in the source where the compiler puts the packed library."""


def start(
    library: dsl.Output[dsl.Artifact],
    study: dsl.Output[dsl.Artifact],
    experiment: str,
    run: str,
    name: str,
    parallel: str,
    most: str,
    failed: str,
    goal: str,
) -> None:
    """Checks the Experiment with this run's parameters; an empty study."""
    import base64
    import lzma
    import sys

    with open(library.path, "wb") as file:
        file.write(lzma.decompress(base64.b64decode("@katibflow-pack@")))
    sys.path.insert(0, library.path)
    from katibflow import steps

    steps.start(experiment, name, parallel, most, failed, goal, run, study.path)
