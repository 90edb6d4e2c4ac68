"""The layout `rounds`: one round of trials after another, each a layer inside the one before.

The DSL has no loops. Here a stand-in takes the place of a round's next round; the compiler then
makes it the round itself (`katibflow.compiler.ir`).
"""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,untyped-decorator"

from collections.abc import Mapping
from typing import Any

from kfp import dsl  # type: ignore[import-untyped]

from pipelines.frame import Component, framed, persistent, uncached

__all__ = ["COMPONENTS", "NEXT_ROUND", "PROCEED", "ROUND", "next_round", "rounds"]

COMPONENTS = (
    "start",
    "suggestion",
    "launcher",
    "collector",
    "loop",
    "summary",
    "report",
    "finish",
)
ROUND = "round"
NEXT_ROUND = "next-round"
PROCEED = "proceed"


def next_round(
    library: dsl.Input[dsl.Artifact], study: dsl.Input[dsl.Artifact], proceed: bool
) -> None:
    """Stands for the next round while the DAG is traced; takes what a round takes."""


def rounds(parts: Mapping[str, Component], **frame: Any) -> Any:
    """The pipeline of one experiment; see `pipelines.frame.framed`.

    Args:
        parts: Component by its name, and ``next_round``.
        frame: As there.
    """

    @dsl.pipeline(name=ROUND)
    def one_round(
        library: dsl.Input[dsl.Artifact], study: dsl.Input[dsl.Artifact], proceed: bool
    ) -> None:
        asked = uncached(parts["suggestion"](library=library, study=study))
        with dsl.ParallelFor(asked.outputs["Output"]) as trial:
            ran = persistent(
                uncached(
                    parts["launcher"](library=library, batch=asked.outputs["batch"], trial=trial)
                )
            )
        read = uncached(
            parts["collector"](
                library=library,
                batch=asked.outputs["batch"],
                outcomes=dsl.Collected(ran.outputs["Output"]),
                logs=dsl.Collected(ran.outputs["log"]),
            )
        )
        decided = uncached(parts["loop"](library=library, study=read.outputs["study"]))
        uncached(
            parts["next_round"](
                library=library, study=read.outputs["study"], proceed=decided.outputs["Output"]
            )
        )
        uncached(
            parts["summary"](
                library=library,
                study=read.outputs["study"],
                number=read.outputs["number"],
                trials=read.outputs["trials"],
            )
        )

    def middle(started: Any) -> Any:
        library, study = started.outputs["library"], started.outputs["study"]
        first = one_round(library=library, study=study, proceed=True)
        return parts["report"](library=library, study=study).after(first)

    return framed(middle, parts, layout="rounds", **frame)
