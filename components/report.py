"""Shows how the experiment ended."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp import dsl

__all__ = ["report"]


def report(
    study: dsl.Input[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    text: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],
    best_parameters: dsl.OutputPath(dict),
    result: dsl.OutputPath(dict),
) -> None:
    """Shows how the experiment ended, and its best parameters."""
    import json
    import sys

    sys.path.insert(0, study.path + "/library.zip")
    from katibflow import steps

    best, ended, values = steps.report(study.path, page.path, text.path)
    for path, told in ((best_parameters, best), (result, ended)):
        with open(path, "w") as file:
            json.dump(told, file)
    for artifact in (page, text, metrics):
        artifact.metadata["display_name"] = "report"
    for name, value in values.items():
        metrics.log_metric(name, value)
