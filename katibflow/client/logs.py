"""Reads the logs of a run's pods: of trials' primary containers, and of the pipeline's steps.

Logs of pods that are gone are not here: Kubeflow Pipelines keeps those as artifacts.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from katibflow.client.base import Run
from katibflow.client.workflow import KFP_RUN, NODE, step_of
from katibflow.errors import RunnerError
from katibflow.experiment.job_kinds import kind_of
from katibflow.runners.kubernetes.api import Api, ApiError, Lost
from katibflow.runners.kubernetes.job_object import RUN, TRIAL
from katibflow.study.history import Trial

__all__ = ["failed_steps", "step_logs", "trial_logs"]

_OWN = re.compile(r"\.executor(\(\d+\))?$")  # Argo's node for a step's own container


def trial_logs(
    api: Api, trial: Trial, manifest: Mapping[str, Any], container: str | None
) -> Iterator[tuple[str, Iterator[str]]]:
    """Yields name and lines of each pod of a trial that still exists.

    Args:
        api: The API for the namespace of the trial's job.
        trial: The trial.
        manifest: The Experiment's trialSpec.
        container: The container to read; a pod without a container of that name gives its first.

    Raises:
        RunnerError: The cluster refuses.
    """
    job = trial.job or ""
    _, run, number = job.rsplit("-", 2)
    selectors = [f"{RUN}={run},{TRIAL}={number}"]
    label = kind_of(manifest).name_label
    selectors += [f"{label}={job}"] if label else []
    for pod in _pods(api, selectors):
        names = [each["name"] for each in pod["spec"]["containers"]]
        chosen = container if container is not None and container in names else names[0]
        yield pod["metadata"]["name"], _lines(api, pod["metadata"]["name"], chosen)


def step_logs(api: Api, run_id: str) -> Iterator[tuple[str, Iterator[str]]]:
    """Yields name and lines of each step of a run whose pod still exists, the oldest first.

    Raises:
        RunnerError: The cluster refuses.
    """
    for pod in _pods(api, [f"{KFP_RUN}={run_id}"]):
        metadata = pod["metadata"]
        node = (metadata.get("annotations") or {}).get(NODE, "")
        if _OWN.search(node):
            yield step_of(node), _lines(api, metadata["name"], "main")


def failed_steps(api: Api, run: Run, count: int = 10) -> Iterator[tuple[str, list[str]]]:
    """Yields name and last lines of each step that failed and whose pod still exists.

    Args:
        api: The API for the namespace of the run's pods.
        run: The run, with its steps.
        count: The greatest number of lines of a step, from 1; 10 by default.

    Raises:
        RunnerError: The cluster refuses.
    """
    failed = {step.name for step in run.steps if step.state == "FAILED"}
    for name, lines in step_logs(api, run.run_id):
        if name in failed:
            yield name, list(deque(lines, maxlen=count))


def _pods(api: Api, selectors: list[str]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    try:
        for selector in selectors:
            for page in api.pages(api.path("v1", "pods"), {"labelSelector": selector}):
                found.update((pod["metadata"]["name"], pod) for pod in page.get("items") or ())
    except ApiError as error:
        raise RunnerError(f"the pods in namespace {api.namespace}: {error}") from error
    return sorted(found.values(), key=lambda pod: str(pod["metadata"].get("creationTimestamp")))


def _lines(api: Api, pod: str, container: str) -> Iterator[str]:
    """Yields the lines of a container's log, or one line that says why there is no log."""
    try:
        stream = api.stream(api.path("v1", "pods", pod, "log"), {"container": container})
    except (ApiError, Lost) as error:
        yield f"(no log: {error})"
        return
    try:
        yield from (line for line, _ in stream.lines())
    except Lost as error:
        yield f"(the log breaks off: {error})"
    finally:
        stream.close()
