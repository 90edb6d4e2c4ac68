"""The component `controller`: checks the Experiment, and runs all of it in one step."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp.dsl import HTML, Artifact, Markdown, Metrics, Output, OutputPath

from katibflow.components.loading import load_library

__all__ = ["controller"]


def controller(
    study: Output[Artifact],
    logs: Output[Artifact],
    page: Output[HTML],
    text: Output[Markdown],
    metrics: Output[Metrics],
    best_parameters: OutputPath(dict),
    result: OutputPath(dict),
    experiment: str,
    layout: str,
    run: str,
    library: str,
    room: int,
    **given: str,
) -> str:
    """Runs the experiment, a new trial as soon as one ends, and reports; returns why it ended."""
    load_library(library, run, f"{study.path}/library.zip")
    from katibflow import steps

    steps.start(experiment, given, layout, run, library, room, study)
    with steps.stopped_with_its_run() as stop:
        reason = steps.controller(study.path, study, logs, stop)
    steps.report(study.path, page, text, metrics, best_parameters, result)
    return reason
