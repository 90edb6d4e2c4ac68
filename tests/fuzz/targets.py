"""The readers of what others wrote, each as a function of bytes.

A reader may return, or raise one of katibflow's own errors; anything else is a fault of the reader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from katibflow.collectors.jsonlines import JsonCollector
from katibflow.collectors.text import TextCollector
from katibflow.collectors.tfevent import EventCollector, EventFiles
from katibflow.errors import KatibflowError
from katibflow.experiment.gjson_path import path_of
from katibflow.printing import visible
from katibflow.runners.kubernetes.gjson_values import value_at
from katibflow.study.history import readable_history
from katibflow.validation.reading import experiment_of

__all__ = ["TARGETS"]

_JOB = {"status": {"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1}}


def _experiment(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        experiment_of(f"{text}\n")
    except KatibflowError as error:
        assert len(str(error)) < 200_000
        assert visible(str(error)).replace("\n", "").replace("\t", "").isprintable()


def _history(data: bytes) -> None:
    with suppress(KatibflowError):
        readable_history(data.decode("utf-8", "surrogateescape"))


def _lines(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for collector in (TextCollector(["loss", "acc"]), JsonCollector(["loss", "acc"], "/x")):
        for line in text.split("\n"):
            collector.feed(line)
        collector.search_report()


def _events(data: bytes) -> None:
    files, collector = EventFiles(), EventCollector(["loss", "acc"], "/x")
    for line in files.feed("events.out.tfevents.1", data):
        collector.feed(line)
    files.account()


def _condition(data: bytes) -> None:
    try:
        path = path_of(data.decode("utf-8", "replace"))
    except ValueError:  # the rule that reads a condition makes a fault of this one
        return
    value_at(path, _JOB)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "experiment": _experiment,
    "history": _history,
    "lines": _lines,
    "events": _events,
    "condition": _condition,
}
"""Name of a reader, and of its folder in ``corpus/``, to the function."""
