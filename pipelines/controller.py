"""The layout `controller`: one step runs the whole experiment, without rounds."""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,untyped-decorator"

from collections.abc import Mapping
from typing import Any

from katibflow.pipelines.frame import Component, framed, persistent

__all__ = ["COMPONENTS", "RESULTS", "controller"]

COMPONENTS = ("controller", "finish")
RESULTS = "controller"


def controller(parts: Mapping[str, Component], **frame: Any) -> Any:
    """Returns the pipeline of one experiment; see `pipelines.frame.framed`.

    The one step also does what `start` and `report` do in the other layout: each step of its own
    takes half a minute.
    """

    def middle(inputs: Mapping[str, Any]) -> Any:
        return persistent(parts["controller"](**inputs))

    return framed(middle, parts, layout="controller", **frame)
