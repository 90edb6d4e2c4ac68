"""The parts that both layouts share: parameters, first and last steps, and the exit handler."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,untyped-decorator"

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any

from kfp import dsl, kubernetes  # type: ignore[import-untyped]

from katibflow.pipelines.pods import REQUESTS, USER
from katibflow.steps.termination import KILL_COMMANDS

__all__ = ["Component", "Middle", "framed", "persistent", "retried", "uncached"]

Component = Callable[..., Any]

Middle = Callable[[Mapping[str, Any]], Any]
"""Makes a layout's own tasks, given a run's inputs; returns the task with the results."""


def framed(
    middle: Middle,
    parts: Mapping[str, Component],
    *,
    layout: str,
    title: str,
    document: str,
    defaults: Mapping[str, str],
    job: Mapping[str, str],
    library: str,
    room: int,
) -> Any:
    """Returns the pipeline of one experiment: a layout's tasks, and the exit handler `finish`.

    A component `best` among ``parts`` becomes the last task, as in a part of another pipeline.

    Args:
        middle: Makes the layout's own tasks.
        parts: The components by name, as in `components`.
        layout: The layout's name.
        title: The pipeline's name.
        document: The Experiment as JSON.
        defaults: The pipeline's parameters by name, with their defaults.
        job: Inputs of `finish` alone: the trials' kind, the mark of the document, packages.
        library: The mark of the library in the pipeline; "" without one.
        room: Bytes that rounds may take in the Workflow object.
    """

    def experiment(*values: Any) -> None:
        parameters = dict(zip(defaults, values, strict=True))
        inputs = {
            "layout": layout,
            "run": dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            "library": library,
            "room": room,
            **parameters,
        }
        finished = retried(parts["finish"](**job, **inputs))
        with dsl.ExitHandler(finished, name="experiment"):
            reported = middle({"experiment": document, **inputs})
            if "best" in parts:
                uncached(parts["best"](result=reported.outputs["result"]))
        if library:
            with dsl.If(
                parameters["name"] == "", name="library"
            ):  # never true: `start` refuses an empty name
                uncached(parts["library"]())

    experiment.__signature__ = _signature(defaults)  # type: ignore[attr-defined]
    return dsl.pipeline(name=title)(experiment)


def _signature(defaults: Mapping[str, str]) -> Signature:
    """Returns the signature from which KFP reads a pipeline's parameters: texts with defaults."""
    kind = Parameter.POSITIONAL_OR_KEYWORD
    return Signature(
        [Parameter(each, kind, default=defaults[each], annotation=str) for each in defaults]
    )


def uncached(task: Any) -> Any:
    """Turns a task's cache off: a cached step would give a new run the trials of an old one.

    The task also gets what its pod asks of the cluster. The rest of what the Pod Security Standard
    "restricted" wants, Kubeflow Pipelines gives every pod: a default seccomp profile, no capability
    and no way to more rights.
    """
    kubernetes.set_security_context(task, run_as_user=USER, run_as_non_root=True)
    task.set_cpu_request(REQUESTS["cpu"]).set_memory_request(REQUESTS["memory"])
    return task.set_caching_options(False)


def retried(task: Any) -> Any:
    """Makes a task run again when it fails, as a request to a cluster's API may fail once."""
    return uncached(task).set_retry(num_retries=3, backoff_duration="10s", backoff_factor=2.0)


def persistent(task: Any) -> Any:
    """Makes a task that follows jobs run again when it fails, and keeps its pod on its node.

    When its run is terminated, the task ends its jobs (`steps.termination`).
    """
    task = retried(task)
    kubernetes.add_pod_annotation(task, "cluster-autoscaler.kubernetes.io/safe-to-evict", "false")
    for name, command in KILL_COMMANDS.items():
        kubernetes.add_pod_annotation(task, name, command)
    return task
