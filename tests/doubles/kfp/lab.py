"""The command line in this process, and trials as they lie in a cluster."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from katibflow.cli import main
from katibflow.runners.base import TrialJob
from katibflow.runners.kubernetes.job_object import WORKFLOW, Identity, job_body, record_patch
from katibflow.study.history import Observation, Trial, TrialState
from katibflow.study.resume import run_name, search_text
from katibflow.validation.rules import check_document
from tests.doubles.kubernetes.lab import Lab
from tests.doubles.kubernetes.server import NAMESPACE, ApiServer
from tests.shell_trials import document

EXPERIMENT = "sample"
SCRIPT = "echo loss=0.$X"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def katibflow(*words: str) -> Done:
    """Runs the command line as a person does."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["katibflow", *words])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def experiment_file(folder: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """An Experiment whose trials are shell scripts: ``x`` from 0 to 99, loss 0.x."""
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(document(SCRIPT, changes)), encoding="utf-8")
    return path


def put_trial(
    cluster: ApiServer,
    run_id: str,
    number: int,
    value: float | None = None,
    *,
    state: TrialState = TrialState.COMPLETE,
    name: str = "",
    start: str = "",
    end: str = "2100-01-01T00:00:10+00:00",
) -> Trial:
    """A trial's job as a launcher leaves it: on record with its objective, or running.

    Args:
        cluster: Where.
        run_id: KFP's.
        number: The trial's.
        value: Of the objective; None for a trial that goes on.
        state: The trial's, when it has ended.
        name: The Experiment's, if not the file's.
        start: When it began; by default ten seconds before its end of 2100, or then.
        end: When it ended.
    """
    experiment = check_document(document(SCRIPT), "test")
    run = run_name(run_id)
    begun = Trial(
        number,
        TrialState.RUNNING,
        {"x": str(number + 1)},
        start=start or ("2100-01-01T00:00:00+00:00" if end > "2100" else end),
        job=f"{name or experiment.name}-{run}-{number}",
    )
    body = job_body(
        TrialJob(begun, experiment.spec.trial_template.trial_spec or {}, "main"),
        Identity(NAMESPACE, name or experiment.name, run),
        search=search_text(experiment),
    )
    body["metadata"]["annotations"][WORKFLOW] = f"workflow-of-{run}"
    if begun.job not in cluster.objects["jobs"]:
        cluster.create("jobs", body)
    if value is None:
        return begun
    observations = {"loss": Observation(value, value, value)}
    ended = replace(begun, state=state, observations=observations, end=end)
    cluster.patch("jobs", begun.job or "", record_patch(ended))
    return ended


def put_pod(
    cluster: Lab,
    name: str,
    labels: dict[str, str],
    containers: list[str],
    annotations: dict[str, str] | None = None,
    **printed: list[str],
) -> None:
    """A pod that has ended, with what its containers printed."""
    body = {
        "metadata": {"name": name, "labels": labels, "annotations": annotations or {}},
        "spec": {"containers": [{"name": each} for each in containers]},
        "status": {"phase": "Succeeded"},
    }
    cluster.server.create("pods", body)
    for container in containers:
        log = cluster.server.log(name, container, 0)
        for line in printed.get(container, []):
            log.lines.append((cluster.server.now(), line))
        log.ended = True
