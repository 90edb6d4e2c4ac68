"""The first step: checks the Experiment with this run's parameters and carries the library."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp import dsl

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
    import bz2
    import sys
    import zipfile

    text = "@katibflow-pack@".translate(str.maketrans(",.:/[]'", "{}$`&<>"))
    parts = bz2.decompress(base64.b85decode(text)).decode().split("\0")
    with zipfile.ZipFile(library.path, "w") as archive:
        for path, source in zip(parts[::2], parts[1::2], strict=False):
            archive.writestr(path, source)
    sys.path.insert(0, library.path)
    from katibflow import steps

    steps.start(experiment, name, parallel, most, failed, goal, run, study.path)
