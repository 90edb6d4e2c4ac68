"""The layout `rounds`: one round of trials after another, each a DAG inside the one before.

The DSL has no loops, so a stand-in task replaces a round's next round here, and the compiler makes
that task call the round itself (`katibflow.compiler.ir`).
"""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,untyped-decorator"

from collections.abc import Mapping
from typing import Any, List  # noqa: UP035 - the form that KFP reads

from kfp import dsl  # type: ignore[import-untyped]

from katibflow.pipelines.frame import Component, framed, persistent, retried, uncached

__all__ = ["COMPONENTS", "NEXT_ROUND", "PROCEED", "RESULTS", "ROUND", "next", "rounds"]

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
RESULTS = "report"
ROUND = "round"
NEXT_ROUND = "next"
PROCEED = "proceed"


def next(
    study: dsl.Input[dsl.Artifact],
    batch: List[str],  # noqa: UP006
    proceed: bool,
) -> None:
    """Replaces the next round while KFP traces the DAG; has the inputs of a round."""


def rounds(parts: Mapping[str, Component], **frame: Any) -> Any:
    """Returns the pipeline of one experiment; see `pipelines.frame.framed`.

    A round gets its trials as an input: while `loop` decides whether a next round follows,
    `suggestion` already asks for its trials.

    Args:
        parts: The components by name, and ``next``.
        **frame: Arguments of `framed`.
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

    def middle(inputs: Mapping[str, Any]) -> Any:
        study = retried(parts["start"](**inputs)).outputs["study"]
        asked = uncached(parts["suggestion"](study=study))
        first = one_round(study=study, batch=asked.output, proceed=True)
        return uncached(parts["report"](study=study).after(first))

    return framed(middle, parts, layout="rounds", **frame)
