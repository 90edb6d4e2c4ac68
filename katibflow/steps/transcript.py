"""What a launcher keeps of a trial for the collector step: a text file, a line for each event.

Lines of the primary container's output stand as they are. Where the metrics are elsewhere, what was
read there follows the mark ``katibflow-source: ``, and what hindered the reading
``katibflow-source-note: ``; a line of the output that begins so gets a space in front.

Of a trial that an earlier try of the launcher has put on record, the file holds the record alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from katibflow.history import Trial, trial_from_data, trial_to_data
from katibflow.runners.base import Event, LogLine, MetricLine, SourceNote

__all__ = ["record_from_text", "record_text", "told", "transcribed"]

_METRIC = "katibflow-source: "
_NOTE = "katibflow-source-note: "


def transcribed(event: Event, reads_output: bool) -> str | None:
    """The line for an event; None for one that is not kept.

    Args:
        event: What a runner told.
        reads_output: Whether the metrics are in the output, so that nothing is marked.
    """
    match event:
        case LogLine(text) if not reads_output and text.startswith((_METRIC, _NOTE)):
            return f" {text}"
        case LogLine(text):
            return text
        case MetricLine(text):
            return f"{_METRIC}{text}"
        case SourceNote(text):
            return f"{_NOTE}{text}"
    return None


def told(lines: Iterable[str], reads_output: bool) -> Iterator[Event]:
    """The events of the lines that `transcribed` made."""
    for line in lines:
        if not reads_output and line.startswith(_METRIC):
            yield MetricLine(line.removeprefix(_METRIC))
        elif not reads_output and line.startswith(_NOTE):
            yield SourceNote(line.removeprefix(_NOTE))
        else:
            yield LogLine(line)


def record_text(trial: Trial) -> str:
    """The whole file for a trial that is on record."""
    return json.dumps(trial_to_data(trial), ensure_ascii=False) + "\n"


def record_from_text(text: str) -> Trial:
    """The trial of `record_text`.

    Raises:
        HistoryError: The text is none.
    """
    return trial_from_data(json.loads(text))
