"""Reads the logs of a run's pods: of trials' primary containers, and of the pipeline's steps.

Logs of pods that are gone are not here: Kubeflow Pipelines keeps those as artifacts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from katibflow.client.base import Run
from katibflow.client.step_output import StepOutput
from katibflow.client.tasks import LAST_STEP
from katibflow.client.workflow import step_of_pod
from katibflow.errors import RunnerError
from katibflow.experiment.job_kinds import kind_of
from katibflow.runners.kubernetes.api import Api, ApiError, Lost
from katibflow.runners.kubernetes.job_object import RUN, TRIAL
from katibflow.runners.kubernetes.logs import Instance
from katibflow.runners.kubernetes.owner import KFP_RUN
from katibflow.runners.kubernetes.pods import read_pod
from katibflow.steps.files import SAYS
from katibflow.study.history import Trial

__all__ = [
    "LogSource",
    "failed_steps",
    "last_lines",
    "names_of_failed",
    "step_logs",
    "step_sources",
    "titled",
    "trial_logs",
    "trial_sources",
]


@dataclass(frozen=True)
class LogSource:
    """The log of a container, as it is now.

    Attributes:
        title: The name to show: the pod's, or the step's.
        instance: The container, in its present instance.
        has_begun: Whether the container has a log.
        has_ended: Whether the log gets no more lines.
    """

    title: str
    instance: Instance
    has_begun: bool
    has_ended: bool


_MOST = 60
"""The greatest number of lines of a failed step: a message of ours may have a Role to apply."""


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
    for pod in _pods(api, _trial_selectors(trial, manifest)):
        names = [each["name"] for each in pod["spec"]["containers"]]
        chosen = container if container is not None and container in names else names[0]
        yield pod["metadata"]["name"], _lines(api, pod["metadata"]["name"], chosen)


def step_logs(api: Api, run: Run) -> Iterator[tuple[str, Iterator[str]]]:
    """Yields name and log of each step of a run whose pod still exists, the oldest first.

    The log has the engine's lines too; `step_output` tells them apart.

    Raises:
        RunnerError: The cluster refuses.
    """
    for pod in _pods(api, [_steps_of(run)]):
        step = step_of_pod(pod)
        if step is not None:
            yield step, _lines(api, pod["metadata"]["name"], "main")


def _steps_of(run: Run) -> str:
    """Returns the label selector of a run's steps."""
    return run.pods or f"{KFP_RUN}={run.run_id}"


def failed_steps(api: Api, run: Run, count: int = 10) -> Iterator[tuple[str, list[str]]]:
    """Yields name and last lines of each step that failed and whose pod still exists.

    The lines are those that the step printed, or else the launcher's error.

    Args:
        api: The API for the namespace of the run's pods.
        run: The run, with its steps.
        count: The greatest number of lines of a step, from 1; 10 by default. A message of ours is
            longer, which is then whole.

    Raises:
        RunnerError: The cluster refuses.
    """
    wanted = names_of_failed(run)
    yield from last_lines(
        ((name, lines) for name, lines in step_logs(api, run) if name in wanted), count
    )


def titled(found: Iterable[tuple[str, Sequence[str]]], told: Sequence[str] = ()) -> list[str]:
    """Returns steps' lines below a line with each step's name.

    Args:
        found: Names and lines.
        told: Names of steps that are left out.
    """
    return [
        line for name, lines in found if name not in told for line in (f"==> {name} <==", *lines)
    ]


def names_of_failed(run: Run) -> set[str]:
    """Returns the names of the steps that failed by themselves; a stopped run's were killed."""
    failed = {step.name for step in run.steps if step.state == "FAILED"}
    return failed & {LAST_STEP} if run.is_stopped else failed


def last_lines(
    logs: Iterable[tuple[str, Iterable[str]]], count: int = 10
) -> Iterator[tuple[str, list[str]]]:
    """Yields name and last lines of each step, from its log; see `failed_steps`."""
    for name, lines in logs:
        output = StepOutput()
        own = list(deque(filter(output.is_own, lines), maxlen=_MOST))
        yield name, _at_the_end(own, count) or [output.launcher_error or "(its log is empty)"]


def _at_the_end(lines: list[str], count: int) -> list[str]:
    """Returns the last lines of a step's log, or all from the step's own message on."""
    said = [number for number, line in enumerate(lines) if line.startswith(SAYS)]
    return lines[min([max(0, len(lines) - count), *said[-1:]]) :]


def trial_sources(
    api: Api, trial: Trial, manifest: Mapping[str, Any], container: str | None
) -> Iterator[LogSource]:
    """Yields the logs of a trial's pods, as they are now; see `trial_logs`.

    Raises:
        RunnerError: The cluster refuses.
    """
    for body in _pods(api, _trial_selectors(trial, manifest)):
        names = [each["name"] for each in body["spec"]["containers"]]
        chosen = container if container is not None and container in names else names[0]
        yield _source(body["metadata"]["name"], body, chosen)


def step_sources(api: Api, run: Run) -> Iterator[LogSource]:
    """Yields the logs of a run's steps, as they are now; see `step_logs`.

    Raises:
        RunnerError: The cluster refuses.
    """
    for body in _pods(api, [_steps_of(run)]):
        step = step_of_pod(body)
        if step is not None:
            yield _source(step, body, "main")


def _source(title: str, body: Mapping[str, Any], container: str) -> LogSource:
    pod = read_pod(body)
    found = pod.container(container)
    restarts = found.restarts if found is not None else 0
    has_begun = found is not None and found.state in ("running", "terminated")
    has_ended = pod.is_over or (found is not None and found.state == "terminated")
    instance = Instance(pod.name, pod.uid, container, restarts)
    return LogSource(title, instance, has_begun or pod.is_over, has_ended)


def _trial_selectors(trial: Trial, manifest: Mapping[str, Any]) -> list[str]:
    job = trial.job or ""
    _, run, number = job.rsplit("-", 2)
    label = kind_of(manifest).name_label
    return [f"{RUN}={run},{TRIAL}={number}", *([f"{label}={job}"] if label else [])]


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
