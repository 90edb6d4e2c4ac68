"""Runs one trial's job to its end."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp import dsl

__all__ = ["launcher"]


def launcher(
    study: dsl.Input[dsl.Artifact],
    trial: str,
    log: dsl.Output[dsl.Artifact],
) -> str:
    """Runs one trial's job and follows it to its end."""
    import sys

    sys.path.insert(0, study.path + "/library.zip")
    from katibflow import steps

    outcome, log.metadata = steps.launcher(study.path, trial, log.path)
    return outcome
