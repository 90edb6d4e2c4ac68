"""Reads the namespace's warnings for all trials of a run, once one of them asks.

A trial that runs well costs no request. The first one that is stuck, or that fails without a
reason, opens one watch of the Events of type Warning for the whole run; the API server keeps them
for an hour, so that nothing is missed. An account that may not read Events is refused once, and is
not asked again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from katibflow.runners.kubernetes.api import Api, ApiError
from katibflow.runners.kubernetes.events import Access, WarningEvent, read_warning
from katibflow.runners.kubernetes.watch import Changed, Watch, WatchFailed

__all__ = ["EventLog", "EventsAnswered"]

_QUERY = {"fieldSelector": "type=Warning"}


@dataclass(frozen=True)
class EventsAnswered:
    """All warnings so far have come, or none will.

    Attributes:
        access: READ or REFUSED.
    """

    access: Access


class EventLog:
    """Reads warnings for the trials of a run.

    Args:
        api: Requests in the namespace.
        trial_of: Returns the key of the trial that an object of this name belongs to; None: none.
    """

    def __init__(self, api: Api, trial_of: Callable[[str], str | None]) -> None:
        def key(name: str, labels: Mapping[str, str]) -> str | None:
            return trial_of(name.rpartition(".")[0])  # an Event's name is "OBJECT.TIME"

        path = api.path("v1", "events")
        self._watch: Watch[WarningEvent] = Watch(api, path, _QUERY, key, read_warning)
        self._first = threading.Lock()
        self._refused = False
        self._closed = threading.Event()

    def ask(self, trial: str, put: Callable[[object], None]) -> Callable[[], None]:
        """Calls ``put`` with each warning about a trial from now on; returns what ends that.

        It does not wait for the API server.

        Args:
            trial: The trial's key.
            put: Called from any thread with ``Changed(name, WarningEvent)``, and with one or more
                `EventsAnswered`.
        """
        question = _Question(put)
        threading.Thread(
            target=self._answer, args=(trial, question), name="events", daemon=True
        ).start()
        return question.end

    def _answer(self, trial: str, question: _Question) -> None:
        with self._first:  # the others wait for what the first one finds out
            if not (self._refused or self._closed.is_set()):
                question.begin(self._watch.subscribe(trial, question.take))
                self._refused = self._refused or question.refused
        question.put(EventsAnswered(Access.REFUSED if self._refused else Access.READ))

    def close(self) -> None:
        """Ends the watch."""
        self._closed.set()
        self._watch.close()


class _Question:
    """A trial's question, from any thread."""

    def __init__(self, put: Callable[[object], None]) -> None:
        self.refused = False
        self._put = put
        self._lock = threading.Lock()
        self._unsubscribe: Callable[[], None] | None = None
        self._ended = False

    def put(self, event: object) -> None:
        """Passes an event on, unless nobody waits for it any more."""
        if not self._ended:
            self._put(event)

    def take(self, event: Any) -> None:
        """Passes on what the watch tells; its troubles are those of the other watches too."""
        match event:
            case Changed():
                self.put(event)
            case WatchFailed(ApiError() as error) if error.status in (401, 403):
                self.refused = True
                self.put(EventsAnswered(Access.REFUSED))

    def begin(self, unsubscribe: Callable[[], None]) -> None:
        """Notes how the subscription ends, and ends it if the question has ended already."""
        with self._lock:
            self._unsubscribe = unsubscribe
        if self._ended:
            self.end()

    def end(self) -> None:
        """Ends the subscription."""
        self._ended = True
        with self._lock:
            unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe:
            unsubscribe()
