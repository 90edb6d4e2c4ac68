"""The component `controller`: runs a whole experiment in one step."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp.dsl import Artifact, Input, Output

__all__ = ["controller"]


def controller(before: Input[Artifact], study: Output[Artifact], logs: Output[Artifact]) -> str:
    """Runs the experiment, a new trial as soon as one ends; returns why it ended."""
    from katibflow import steps

    return steps.controller(before.path, study, logs)
