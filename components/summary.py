"""Shows how the experiment stands after a round."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp import dsl

__all__ = ["summary"]


def summary(
    library: dsl.Input[dsl.Artifact],
    study: dsl.Input[dsl.Artifact],
    number: int,
    trials: int,
    page: dsl.Output[dsl.HTML],
    text: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Shows how the experiment stands after this round."""
    import sys

    sys.path.insert(0, library.path)
    from katibflow import steps

    values = steps.summary(study.path, number, trials, page.path, text.path)
    for artifact in (page, text, metrics):
        artifact.metadata["display_name"] = f"round {number}"
    for name, value in values.items():
        metrics.log_metric(name, value)
