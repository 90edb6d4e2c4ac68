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
    layout: str,
    run: str,
    name: str,
    parallelTrialCount: str,  # noqa: N803 - the YAML's names
    maxTrialCount: str,  # noqa: N803
    maxFailedTrialCount: str,  # noqa: N803
    goal: str,
    trialTimeout: str,  # noqa: N803
    trialStartTimeout: str,  # noqa: N803
    resume: str,
) -> None:
    """Checks the Experiment with this run's parameters; the study to begin with."""
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

    given = {
        "name": name,
        "parallelTrialCount": parallelTrialCount,
        "maxTrialCount": maxTrialCount,
        "maxFailedTrialCount": maxFailedTrialCount,
        "goal": goal,
        "trialTimeout": trialTimeout,
        "trialStartTimeout": trialStartTimeout,
        "resume": resume,
    }
    library.metadata["display_name"] = "the steps' code"
    study.metadata["display_name"] = "study at the start"
    steps.start(experiment, given, layout, run, study.path)
