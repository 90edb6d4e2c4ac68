"""The layout `rounds`: one round of trials after another, each a layer inside the one before.

The DSL has no loops. Here a stand-in takes the place of a round's next round; the compiler then
makes it the round itself (`katibflow.compiler.ir`).
"""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,untyped-decorator"

from collections.abc import Mapping
from typing import Any, List  # noqa: UP035 - the form that KFP reads

from kfp import dsl  # type: ignore[import-untyped]

from katibflow.pipelines.frame import Component, framed, persistent, retried, uncached

__all__ = ["COMPONENTS", "NEXT_ROUND", "PROCEED", "ROUND", "next", "rounds"]

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
NEXT_ROUND = "next"
PROCEED = "proceed"


def next(
    study: dsl.Input[dsl.Artifact],
    batch: List[str],  # noqa: UP006
    proceed: bool,
) -> None:
    """Stands for the next round while the DAG is traced; takes what a round takes."""


def rounds(parts: Mapping[str, Component], **frame: Any) -> Any:
    """The pipeline of one experiment; see `pipelines.frame.framed`.

    A round begins with its trials at hand: while `loop` decides about the next round, `suggestion`
    asks for its trials.

    Args:
        parts: Component by its name, and ``next``.
        frame: As there.
    """

    @dsl.pipeline(name=ROUND)
    def one_round(
        study: dsl.Input[dsl.Artifact],
        batch: List[str],  # noqa: UP006
        proceed: bool,
    ) -> None:
        with dsl.ParallelFor(batch) as trial:
            ran = persistent(parts["launcher"](study=study, trial=trial))
        ended = dsl.Collected(ran.outputs["Output"])
        read = retried(parts["collector"](before=study, ended=ended))
        after = read.outputs["study"]
        decided = uncached(parts["loop"](study=after))
        asked = uncached(parts["suggestion"](study=after))
        uncached(parts["next"](study=after, batch=asked.output, proceed=decided.outputs["Output"]))
        with dsl.If(decided.outputs["Output"] == False, name="last-round"):  # noqa: E712
            uncached(parts["summary"](study=after))

    def middle(started: Any) -> Any:
        study = started.outputs["study"]
        asked = uncached(parts["suggestion"](study=study))
        first = one_round(study=study, batch=asked.output, proceed=True)
        return parts["report"](study=study).after(first)

    return framed(middle, parts, layout="rounds", **frame)
