"""Words for a person on a job that a queue holds back: that, for how long, and what Kueue says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from katibflow.runners.kubernetes.api import Api, ApiError
from katibflow.runners.kubernetes.inbox import FOREVER
from katibflow.runners.kubernetes.workloads import Workloads, words

__all__ = ["QueueNotices"]


class QueueNotices:
    """Keeps the time that one job waits in a queue, and asks the job's Workload now and then.

    Args:
        api: Requests in the namespace.
        name: The job's name.

    Attributes:
        text: What is to be told of the job that is held back.
    """

    def __init__(self, api: Api, name: str) -> None:
        self.text = ""
        self._api = api
        self._name = name
        self._since = 0.0
        self._next = FOREVER
        self._told = ""
        self._is_silent = False

    def held(self, now: float, ran: float | None) -> None:
        """Takes that the job was suspended.

        Args:
            now: The present time in seconds.
            ran: Seconds that its work had run; None if it had not begun.
        """
        self._since, self._told = now, ""
        self._next = now if ran is not None else now + self._api.timing.notice
        name = self._name
        self.text = (
            f"{name} is suspended, as by a queue; waiting for its start"
            if ran is None
            else f"{name} was suspended after {ran:.0f} s of work, as by a preemption; it waits to "
            "begin anew, and its reports so far do not count then"
        )

    def released(self, now: float) -> str:
        """Returns the message that the job may run."""
        self._next = FOREVER
        return f"{self._name} may run, after {now - self._since:.0f} s in the queue"

    def asked(self, job: Mapping[str, Any], now: float) -> tuple[str, float]:
        """Returns what Kueue says of the job, if that is new, and the time to ask again.

        Nothing is said without Kueue, or without the right to read its Workloads.
        """
        if now >= self._next and not self._is_silent:
            self._next = now + 2 * self._api.timing.notice
            try:
                text = words(Workloads(self._api).of(job["metadata"]["uid"]))
            except ApiError:
                self._is_silent, text = True, ""
            if text and text != self._told:
                self._told = text
                return f"Kueue on {self._name}: {text}", self._next
        return "", FOREVER if self._is_silent else self._next
