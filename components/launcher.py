"""The component `launcher`: runs one trial's job to its end."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp.dsl import Artifact, Input, Output

__all__ = ["launcher"]


def launcher(study: Input[Artifact], trial: str, log: Output[Artifact]) -> str:
    """Runs one trial's job, follows it to its end, and puts its metrics on record."""
    from katibflow import steps

    with steps.stopped_with_its_run() as stop:
        return steps.launcher(study.path, trial, log, stop)
