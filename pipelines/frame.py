"""What every layout has: the exit handler, the first step, the last step, the run's parameters."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,untyped-decorator"

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any

from kfp import dsl, kubernetes  # type: ignore[import-untyped]

__all__ = ["Component", "Middle", "framed", "persistent", "retried", "uncached"]

Component = Callable[..., Any]

Middle = Callable[[Any], Any]
"""Makes a layout's own tasks, given the task of `start`; returns that of `report`."""


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
    """Returns the pipeline of one experiment: a layout's tasks between the first and the last.

    With a component `best` it is to be a part of another pipeline: that is the last task then.

    Args:
        middle: What the layout has of its own.
        parts: Component by its name, as in `components`.
        layout: The layout's name.
        title: The pipeline's name.
        document: The Experiment as JSON.
        defaults: The run's parameters by name, with their defaults: those of the pipeline.
        job: What `finish` is told of the trials' kind: group, version, plural, stop.
        library: The mark of the library that the pipeline carries; empty if it carries none.
        room: Bytes that rounds may take in the Workflow object.
    """

    def experiment(*values: Any) -> None:
        parameters = dict(zip(defaults, values, strict=True))
        run, name = dsl.PIPELINE_JOB_ID_PLACEHOLDER, parameters["name"]
        finished = uncached(parts["finish"](run=run, name=name, **job))
        with dsl.ExitHandler(finished, name="experiment"):
            started = retried(
                parts["start"](
                    experiment=document,
                    layout=layout,
                    run=run,
                    library=library,
                    room=room,
                    **parameters,
                )
            )
            reported = uncached(middle(started))
            if "best" in parts:
                uncached(parts["best"](result=reported.outputs["result"]))
        if library:
            with dsl.If(name == "", name="library"):  # never: a run's name is checked by `start`
                uncached(parts["library"]())

    experiment.__signature__ = _signature(defaults)  # type: ignore[attr-defined]
    return dsl.pipeline(name=title)(experiment)


def _signature(defaults: Mapping[str, str]) -> Signature:
    """Returns what KFP reads a pipeline's parameters from: texts with these defaults."""
    kind = Parameter.POSITIONAL_OR_KEYWORD
    return Signature(
        [Parameter(each, kind, default=defaults[each], annotation=str) for each in defaults]
    )


def uncached(task: Any) -> Any:
    """Every step sees the world or what another saw of it: a new run must not get old trials."""
    return task.set_caching_options(False)


def retried(task: Any) -> Any:
    """A task that asks a cluster's API: tried again when it fails."""
    return uncached(task).set_retry(num_retries=3, backoff_duration="10s", backoff_factor=2.0)


def persistent(task: Any) -> Any:
    """A task that follows jobs: tried again when it fails, and not moved to save a node."""
    task = retried(task)
    kubernetes.add_pod_annotation(task, "cluster-autoscaler.kubernetes.io/safe-to-evict", "false")
    return task
