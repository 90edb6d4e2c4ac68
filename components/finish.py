"""The component `finish`, the exit handler: stops the run's jobs, and reports what there is.

An exit handler has no study as input, so it finds the trials by the labels of their jobs, and
writes the study from their records. A run that succeeded has a report and its logs; of any other
run both are written here: the logs of the trials that still have pods before the jobs are stopped,
and the report afterwards, since the packages that it needs are installed only then.
"""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp.dsl import HTML, Artifact, Markdown, Metrics, Output, PipelineTaskFinalStatus

from katibflow.components.loading import load_library

__all__ = ["finish"]


def finish(
    study: Output[Artifact],
    page: Output[HTML],
    text: Output[Markdown],
    metrics: Output[Metrics],
    logs: Output[Artifact],
    document: str,
    job: str,
    packages: str,
    layout: str,
    run: str,
    library: str,
    room: int,
    status: PipelineTaskFinalStatus,
    **given: str,
) -> None:
    """Stops the jobs that have not ended; writes the study, and a report if there is none."""
    load_library(library, run, f"{study.path}/library.zip")
    from katibflow import steps

    # KFP's backend gives the state of its metadata, COMPLETE, and its documents say SUCCEEDED.
    succeeded = status.state in ("COMPLETE", "SUCCEEDED")
    steps.end_run(given["name"], run, job, None if succeeded else logs)
    if steps.study_at_end(document, given, layout, run, room, study) and not succeeded:
        steps.report_at_end(study.path, layout, page, text, metrics, packages)
