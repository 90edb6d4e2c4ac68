"""The component `report`: shows how the experiment ended, and outputs its result."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp.dsl import HTML, Artifact, Input, Markdown, Metrics, Output, OutputPath

__all__ = ["report"]


def report(
    study: Input[Artifact],
    page: Output[HTML],
    text: Output[Markdown],
    metrics: Output[Metrics],
    best_parameters: OutputPath(dict),
    result: OutputPath(dict),
) -> None:
    """Shows how the experiment ended, and its best parameters."""
    from katibflow import steps

    steps.report(study.path, page, text, metrics, best_parameters, result)
