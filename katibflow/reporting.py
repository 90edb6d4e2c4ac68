"""Pushes the metrics of a training program, by printing a line to its standard output.

This needs no service and nothing but the standard library. A program without katibflow can print
the line itself::

    print(f'katibflow-metrics {{"loss": {loss}}}', flush=True)
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = ["report_metrics"]

_MARK = "katibflow-metrics"


def report_metrics(
    metrics: Mapping[str, Any],
    db_manager_address: str | None = None,
    timeout: float | None = None,
    *,
    timestamp: datetime | float | str | None = None,
) -> None:
    """Reports a trial's metrics, for an Experiment with the collector Push.

    Args:
        metrics: Metric name to value: a number, or anything that ``float`` takes, as a NumPy scalar
            or the text of a number. ``epoch``, a whole number, is the epoch of all values.
        db_manager_address: Accepted as in Katib's SDK, and ignored: there is no such service.
        timeout: Accepted as in Katib's SDK, and ignored.
        timestamp: When the values were measured: seconds since 1970, RFC 3339 text or a datetime
            with a time zone; now by default.

    Raises:
        ValueError: A value is no number, as in Katib's SDK; or the timestamp is no time, or has no
            time zone.
    """
    values = {str(name): _plain(name, value) for name, value in metrics.items()}
    sys.stdout.write(f"{_time(timestamp)} {_MARK} {json.dumps(values)}\n")
    sys.stdout.flush()


def _plain(name: str, value: Any) -> int | float | str:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"metric {name}: {value!r} is no number") from error
    return number if math.isfinite(number) else str(number)


def _time(timestamp: datetime | float | str | None) -> str:
    if isinstance(timestamp, str):
        timestamp = datetime.fromisoformat(timestamp)
    elif timestamp is None:
        timestamp = datetime.now(UTC)
    elif not isinstance(timestamp, datetime):
        timestamp = datetime.fromtimestamp(timestamp, UTC)
    if timestamp.tzinfo is None:
        raise ValueError(f"timestamp: {timestamp} has no time zone")
    return timestamp.astimezone(UTC).isoformat().replace("+00:00", "Z")
