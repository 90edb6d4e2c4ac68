"""The layout `controller`: one step runs the whole experiment, without rounds."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,untyped-decorator"

from collections.abc import Mapping
from typing import Any

from katibflow.pipelines.frame import Component, framed, persistent

__all__ = ["COMPONENTS", "controller"]

COMPONENTS = ("start", "controller", "report", "finish")


def controller(parts: Mapping[str, Component], **frame: Any) -> Any:
    """Returns the pipeline of one experiment; see `pipelines.frame.framed`."""

    def middle(started: Any) -> Any:
        ran = persistent(parts["controller"](before=started.outputs["study"]))
        return parts["report"](study=ran.outputs["study"])

    return framed(middle, parts, layout="controller", **frame)
