"""The study and the report that the step `finish` writes for a run that did not succeed.

An exit handler has no artifact as input, so the Experiment comes from the run's own Workflow, and
the trials from the records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from katibflow.errors import InputError, RunnerError
from katibflow.runners.backends import backend_of_steps
from katibflow.steps.backends import runner_for
from katibflow.steps.files import Artifact, exits_with_message, read_study, write_study
from katibflow.steps.installing import install
from katibflow.steps.presenting import write_report
from katibflow.steps.starting import ROUNDS, first_study

__all__ = ["document_mark", "report_at_end", "study_at_end"]


def document_mark(document: str) -> str:
    """Returns the mark of an Experiment's JSON text, by which `study_at_end` finds the text."""
    return hashlib.sha256(document.encode()).hexdigest()[:12]


@exits_with_message
def study_at_end(
    mark: str,
    parameters: Mapping[str, str],
    layout: str,
    run: str,
    room: int,
    study: Artifact,
) -> bool:
    """Writes the study of a run that is over, with all trials on record.

    Writes nothing where there is no Workflow of the run, or if the run began no trial.

    Args:
        mark: The mark of the Experiment's text (`document_mark`).
        parameters: The run's parameters as texts, by name.
        layout: The pipeline's layout.
        run: KFP's id of the run.
        room: Bytes that rounds may take in the Workflow object.
        study: The output for the study.

    Returns:
        Whether a study was written.
    """
    document = _document(mark, run)
    if document is None:
        print("no report, as the run's own Workflow, which has the Experiment, was not found")
        return False
    try:
        history = first_study(document, parameters, layout, run, room)
    except InputError as error:
        print(f"no report, as no trial could begin: {error}")
        return False
    runner = runner_for(history)
    try:
        own = runner.records()
    finally:
        runner.close()
    if not own:
        print("no report, as no trial has begun")
        return False
    write_study(study.path, history.with_trials(own))
    study.metadata["display_name"] = "study at the end"
    return True


@exits_with_message
def report_at_end(
    study_path: str, layout: str, page: Artifact, text: Artifact, metrics: Artifact, packages: str
) -> None:
    """Shows how the experiment stood when its run ended.

    Args:
        study_path: The study that `study_at_end` wrote.
        layout: The pipeline's layout.
        page: The output for the HTML page.
        text: The output for the Markdown.
        metrics: The output for KFP's metrics.
        packages: Names of what is installed only now, when it is known that a report is to be
            written; "" if the image has all.
    """
    install(packages.split())
    write_report(read_study(study_path), page, text, metrics, layout == ROUNDS)


def _document(mark: str, run: str) -> str | None:
    """Returns the Experiment's text from the run's own record, or None if it is not found."""
    try:
        texts = backend_of_steps().experiments_of(run)
        return next((text for text in texts if document_mark(text) == mark), None)
    except RunnerError as error:
        print(error)
        return None
