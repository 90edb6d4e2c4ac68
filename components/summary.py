"""The component `summary`: shows how the experiment stood after its last round."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp.dsl import HTML, Artifact, Input, Output

__all__ = ["summary"]


def summary(study: Input[Artifact], page: Output[HTML]) -> None:
    """Shows how the experiment stood after its last round."""
    from katibflow import steps

    steps.summary(study.path, page)
