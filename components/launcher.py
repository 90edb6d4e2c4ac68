"""Runs one trial's job to its end."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp import dsl

__all__ = ["launcher"]


def launcher(
    library: dsl.Input[dsl.Artifact],
    batch: dsl.Input[dsl.Artifact],
    trial: str,
    log: dsl.Output[dsl.Artifact],
) -> str:
    """Runs one trial's job and follows it to its end."""
    import sys

    sys.path.insert(0, library.path)
    from katibflow import steps

    outcome, metadata = steps.launcher(batch.path, trial, log.path)
    log.metadata.update(metadata)
    return outcome
