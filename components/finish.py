"""The component `finish`, the exit handler: stops the run's jobs, and reports what there is.

An exit handler has no study as input, so it finds the trials by the labels of their jobs, and
writes the study from their records. A run that succeeded has a report; of any other run it is
written here, and the packages that it needs are installed only then, after the jobs were stopped.
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
    from katibflow.study.resume import run_name

    steps.finish(given["name"], run_name(run), job)
    is_written = steps.study_at_end(document, given, layout, run, room, study)
    # KFP's backend gives the state of its metadata, COMPLETE, and its documents say SUCCEEDED.
    if not is_written or status.state in ("COMPLETE", "SUCCEEDED"):
        return
    if packages:
        import subprocess
        import sys

        pip = (sys.executable, "-m", "pip", "install", "-q", *packages.split())
        subprocess.run(pip, check=True)
    steps.report_at_end(study.path, layout, page, text, metrics)
