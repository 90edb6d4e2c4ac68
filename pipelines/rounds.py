"""The layout `rounds`: one round of trials after another, each a layer inside the one before.

The DSL has no loops. Here a stand-in takes the place of a round's next round; the compiler then
makes it the round itself (`katibflow.compiler.ir`).
"""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,untyped-decorator"

from collections.abc import Callable, Mapping
from typing import Any

from kfp import dsl, kubernetes  # type: ignore[import-untyped]

__all__ = ["NEXT_ROUND", "PROCEED", "ROUND", "next_round", "rounds"]

ROUND = "round"
NEXT_ROUND = "next-round"
PROCEED = "proceed"

Component = Callable[..., Any]


def next_round(
    library: dsl.Input[dsl.Artifact], study: dsl.Input[dsl.Artifact], proceed: bool
) -> None:
    """Stands for the next round while the DAG is traced; takes what a round takes."""


def rounds(
    parts: Mapping[str, Component],
    *,
    title: str,
    document: str,
    defaults: Mapping[str, str],
    job: Mapping[str, str],
) -> Any:
    """The pipeline of one experiment.

    Args:
        parts: Component by its name, as in `components`, and ``next_round``.
        title: The pipeline's name.
        document: The Experiment as JSON.
        defaults: The run's parameters by name.
        job: What `finish` is told of the trials' kind: group, version, plural, stop.
    """

    @dsl.pipeline(name=ROUND)
    def one_round(
        library: dsl.Input[dsl.Artifact], study: dsl.Input[dsl.Artifact], proceed: bool
    ) -> None:
        asked = _uncached(parts["suggestion"](library=library, study=study))
        with dsl.ParallelFor(asked.outputs["Output"]) as trial:
            ran = _uncached(
                parts["launcher"](library=library, batch=asked.outputs["batch"], trial=trial)
            )
            ran.set_retry(num_retries=3, backoff_duration="10s", backoff_factor=2.0)
            kubernetes.add_pod_annotation(
                ran, "cluster-autoscaler.kubernetes.io/safe-to-evict", "false"
            )
        read = _uncached(
            parts["collector"](
                library=library,
                batch=asked.outputs["batch"],
                outcomes=dsl.Collected(ran.outputs["Output"]),
                logs=dsl.Collected(ran.outputs["log"]),
            )
        )
        decided = _uncached(parts["loop"](library=library, study=read.outputs["study"]))
        _uncached(
            parts["next_round"](
                library=library, study=read.outputs["study"], proceed=decided.outputs["Output"]
            )
        )
        _uncached(
            parts["summary"](
                library=library,
                study=read.outputs["study"],
                number=read.outputs["number"],
                trials=read.outputs["trials"],
            )
        )

    @dsl.pipeline(name=title)
    def experiment(
        name: str = defaults["name"],
        parallelTrialCount: str = defaults["parallelTrialCount"],  # noqa: N803 - the YAML's names
        maxTrialCount: str = defaults["maxTrialCount"],  # noqa: N803
        maxFailedTrialCount: str = defaults["maxFailedTrialCount"],  # noqa: N803
        goal: str = defaults["goal"],
    ) -> None:
        run = dsl.PIPELINE_JOB_ID_PLACEHOLDER
        finished = _uncached(parts["finish"](run=run, name=name, **job))
        with dsl.ExitHandler(finished, name="experiment"):
            started = _uncached(
                parts["start"](
                    experiment=document,
                    run=run,
                    name=name,
                    parallel=parallelTrialCount,
                    most=maxTrialCount,
                    failed=maxFailedTrialCount,
                    goal=goal,
                )
            )
            first = one_round(
                library=started.outputs["library"], study=started.outputs["study"], proceed=True
            )
            _uncached(
                parts["report"](
                    library=started.outputs["library"], study=started.outputs["study"]
                ).after(first)
            )

    return experiment


def _uncached(task: Any) -> Any:
    """Every step sees the world or what another saw of it: a new run must not get old trials."""
    return task.set_caching_options(False)
