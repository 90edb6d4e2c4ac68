"""Publishes a study in a step's log, and reads it there.

Kubeflow Pipelines' API gives no artifact and no output of a step, but the log of each. So who has
no cluster reads a run's trials from one line of the log of the step that showed them.
"""

from __future__ import annotations

import base64
import binascii
import zlib

from katibflow.errors import HistoryError
from katibflow.study.history import History, dump_history, load_history

__all__ = ["PUBLISHED", "publish", "read_published"]

PUBLISHED = "katibflow-study: "
"""What the line begins with, which has the packed study."""

_LONGEST = 250_000
"""The greatest length of the line in characters; about 2,500 trials."""

_SOURCE = "the study in a step's log"


def publish(history: History) -> None:
    """Prints the line with the study, or a sentence if the study is too long for a log."""
    packed = base64.b64encode(zlib.compress(dump_history(history).encode(), 9)).decode("ascii")
    line = f"{PUBLISHED}{packed}"
    print(line if len(line) <= _LONGEST else "the study is too long for this log; see its artifact")


def read_published(line: str) -> History | None:
    """Returns the study in a line of a log, or None if the line has none that can be read."""
    if not line.startswith(PUBLISHED):
        return None
    try:
        packed = base64.b64decode(line.removeprefix(PUBLISHED), validate=True)
        return load_history(zlib.decompress(packed).decode(), _SOURCE)
    except (HistoryError, UnicodeDecodeError, binascii.Error, zlib.error):
        return None
