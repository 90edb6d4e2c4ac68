"""Reads the steps' logs of a run from Kubeflow Pipelines' API, which needs no right in the cluster.

The API names no pods, so they are read from its copy of the run's Workflow. It gives the logs of
steps alone: those of trials are in the trials' pods, and in an artifact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from threading import Event

from katibflow.client.base import Pipelines
from katibflow.client.reading import ExperimentRun
from katibflow.client.step_output import own_lines
from katibflow.client.workflow import StepNode, Workflow, read_workflow
from katibflow.errors import RunnerError
from katibflow.steps.published import PUBLISHED, read_published
from katibflow.study.history import History

__all__ = ["LogFeed", "kfp_logs", "kfp_workflow", "log_lines", "published_history"]

_SHOWING = ("controller", "finish", "report", "loop")
"""The steps that publish the study."""


def kfp_workflow(pipelines: Pipelines, run_id: str) -> Workflow | None:
    """Returns the Workflow of a run as the API has it, or None if it gives none."""
    try:
        body = pipelines.workflow(run_id)
        return read_workflow(body) if body else None
    except (AttributeError, KeyError, RunnerError, TypeError, ValueError):
        return None


def kfp_logs(
    pipelines: Pipelines, run_id: str, is_wanted: Callable[[StepNode], bool] = lambda node: True
) -> Iterator[tuple[StepNode, list[str]]]:
    """Yields each step of a run with its log, the oldest first; leaves out steps without a log.

    The log has the engine's lines too; `step_output` tells them apart.

    Args:
        pipelines: The installation that has the run.
        run_id: The run's id.
        is_wanted: Returns whether to ask for a step's log.

    Raises:
        RunnerError: The server does not answer.
    """
    workflow = kfp_workflow(pipelines, run_id)
    for node in workflow.nodes if workflow is not None else ():
        if is_wanted(node):
            # The log of a pod that is gone is kept under the node's name.
            text = pipelines.log(run_id, node.pod) or pipelines.log(run_id, node.node)
            if text:
                yield node, text.splitlines()


def published_history(pipelines: Pipelines, experiment_run: ExperimentRun) -> History | None:
    """Returns the trials that the run's steps have published last, or None if none can be read."""
    name, latest = experiment_run.experiment.name, None
    try:
        for _, lines in kfp_logs(
            pipelines,
            experiment_run.run.run_id,
            lambda node: node.step in _SHOWING and node.state in ("SUCCEEDED", "FAILED"),
        ):
            for line in lines:
                history = read_published(line) if line.startswith(PUBLISHED) else None
                if history is not None and history.experiment.name == name:
                    latest = history
    except RunnerError:
        return None
    return latest


def log_lines(
    pipelines: Pipelines, run_id: str, poll: float | None
) -> Iterator[tuple[str, str | None]]:
    """Yields step and line of each step's log.

    Args:
        pipelines: The installation that has the run.
        run_id: The run's id.
        poll: Seconds between two looks until the run is over; None for one look.
    """
    feed, pause = LogFeed(pipelines, run_id), Event()
    while True:
        over = poll is None or pipelines.run(run_id).is_over
        yield from feed.news(lambda node: True)
        if over:
            return
        pause.wait(poll)


class LogFeed:
    """Returns what the step `controller` has printed since the last look.

    Args:
        pipelines: The installation that has the run.
        run_id: The run's id.
    """

    def __init__(self, pipelines: Pipelines, run_id: str) -> None:
        self._pipelines = pipelines
        self._run_id = run_id
        self._shown: dict[str, int] = {}

    def news(
        self, is_wanted: Callable[[StepNode], bool] = lambda node: node.step == "controller"
    ) -> Iterator[tuple[str, str]]:
        """Yields step and line of what is new; nothing while the server does not answer."""
        try:
            found: Mapping[StepNode, list[str]] = dict(
                kfp_logs(self._pipelines, self._run_id, is_wanted)
            )
        except RunnerError:
            return
        for node, lines in found.items():
            own = list(own_lines(lines))
            known = self._shown.get(node.node, 0)
            self._shown[node.node] = max(known, len(own))
            yield from ((node.step, line) for line in own[known:])
