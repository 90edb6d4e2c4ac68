"""Watches a resource for all trials: each change goes to the subscriber of the object's key.

The list comes first, then the changes from its resourceVersion on. A watch that ends is opened
again at its last version. If the server has forgotten that version (410), the resource is listed
again, and objects that vanished meanwhile are reported as gone.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, TypeVar

from katibflow.errors import RunnerError
from katibflow.runners.kubernetes.api import Api, ApiError, Backoff, Lost, Stream

__all__ = ["Changed", "Gone", "Outage", "Watch", "WatchFailed"]

Value = TypeVar("Value")


@dataclass(frozen=True)
class Changed(Generic[Value]):
    """An object exists, or has changed."""

    name: str
    value: Value


@dataclass(frozen=True)
class Gone:
    """An object no longer exists, or is no longer selected."""

    name: str


@dataclass(frozen=True)
class Outage:
    """The API server is out of reach; the watch goes on trying."""

    text: str


@dataclass(frozen=True)
class WatchFailed:
    """The watch ended for good."""

    error: RunnerError


Listener = Callable[[Any], None]


class _Expired(Lost):
    """The server has forgotten the resourceVersion, so that the list is needed again."""

    def __init__(self) -> None:
        super().__init__("the API server has forgotten the version that was watched")


class Watch(Generic[Value]):
    """Watches a resource in a thread of its own, from the first subscription on.

    Args:
        api: Requests in the namespace.
        path: The resource's path.
        query: The query that selects the objects.
        key: Returns an object's subscription key from its name and labels; None: no key.
        read: Returns the value that is kept of an object.
        over: The keys whose objects are not kept: nobody will subscribe to them any more.
    """

    def __init__(
        self,
        api: Api,
        path: str,
        query: Mapping[str, str],
        key: Callable[[str, Mapping[str, str]], str | None],
        read: Callable[[Mapping[str, Any]], Value],
        over: Container[str] = (),
    ) -> None:
        self._api = api
        self._path = path
        self._query = query
        self._key = key
        self._read = read
        self._over = over
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._listed = threading.Event()
        self._objects: dict[str, tuple[str, Value]] = {}  # name to key and value
        self._listeners: dict[str, list[Listener]] = {}
        self._thread: threading.Thread | None = None
        self._stream: Stream | None = None
        self._version = ""
        self._error: RunnerError | None = None

    def subscribe(self, key: str, listener: Listener) -> Callable[[], None]:
        """Calls ``listener`` with the existing objects of ``key``, then with every change of them.

        Returns the unsubscription, once the existing objects were passed. The listener is called
        with the watch's lock held, so it must not call the watch.
        """
        with self._lock:
            if self._thread is None or self._error:
                self._error = None
                self._listed.clear()
                self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
                self._thread.start()
        self._listed.wait()
        with self._lock:
            self._listeners.setdefault(key, []).append(listener)
            if self._error:
                listener(WatchFailed(self._error))
            for name, (belongs, value) in self._objects.items():
                if belongs == key:
                    listener(Changed(name, value))
        return lambda: self._forget(key, listener)

    def _forget(self, key: str, listener: Listener) -> None:
        with self._lock:
            self._listeners[key].remove(listener)
            if not self._listeners[key]:
                del self._listeners[key]

    def release(self, key: str) -> None:
        """Drops the objects of a key that is over, unless somebody still subscribes to it."""
        with self._lock:
            if key not in self._listeners:
                for name in [name for name, (of, _) in self._objects.items() if of == key]:
                    del self._objects[name]

    def look(self, key: str, selector: str = "") -> dict[str, Value]:
        """Returns the objects of a key as they are now, by name, whatever the watch has heard.

        Args:
            key: The key.
            selector: The label selector of its objects, in place of the watch's own.

        Raises:
            ApiError: The server refuses.
            RunnerError: The server is out of reach.
        """
        found: dict[str, Value] = {}
        query = {"labelSelector": selector} if selector else self._query
        for page in self._api.pages(self._path, query):
            for item in page.get("items") or ():
                metadata = item["metadata"]
                if self._key(metadata["name"], metadata.get("labels") or {}) == key:
                    found[metadata["name"]] = self._read(item)
        return found

    def holds(self, name: str) -> bool:
        """Returns whether the object exists, as far as is known."""
        with self._lock:
            return name in self._objects

    def close(self) -> None:
        """Ends the watch."""
        self._closed.set()
        with self._lock:
            stream, thread = self._stream, self._thread
        if stream:
            stream.close()
        if thread:
            thread.join()

    def _run(self) -> None:
        backoff = Backoff(self._api.timing, self._closed)
        self._version = ""
        try:
            while not self._closed.is_set():
                try:
                    if not self._version:
                        self._list()
                    self._follow(backoff)
                except _Expired as expired:
                    self._version = ""
                    backoff.pause(expired)
                except Lost as lost:
                    self._tell_all(Outage(str(lost)))
                    backoff.pause(lost)
            raise RunnerError("the runner was closed")
        except RunnerError as error:
            self._error = error
            self._tell_all(WatchFailed(error))
        finally:
            self._listed.set()

    def _list(self) -> None:
        seen: set[str] = set()
        version = ""
        try:
            for page in self._api.pages(self._path, self._query):
                for item in page.get("items") or ():
                    seen.add(item["metadata"]["name"])
                    self._changed(item)
                version = (page.get("metadata") or {}).get("resourceVersion", "")
        except ApiError as error:
            if error.status == 410:
                raise _Expired from error
            raise
        for name in set(self._objects) - seen:
            self._gone(name)
        self._version = version
        self._listed.set()

    def _follow(self, backoff: Backoff) -> None:
        seconds = max(1, round(self._api.timing.watch * random.uniform(0.8, 1.0)))
        query = {
            **self._query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": seconds,
        }
        try:
            stream = self._api.stream(self._path, query)
        except ApiError as error:
            if error.status == 410:
                raise _Expired from error
            raise
        with self._lock:
            self._stream = stream
        if self._closed.is_set():
            stream.close()
        opened, taken = monotonic(), 0
        try:
            for line, whole in stream.lines():
                if not whole:
                    break  # cut in the middle of a line; the next watch has it again
                self._take(line)
                taken += 1
                backoff.reset()
        finally:
            stream.close()
        if not taken and monotonic() - opened < 1:
            raise Lost("the watch ended at once")

    def _take(self, line: str) -> None:
        try:
            event = json.loads(line)
            kind, item = event["type"], event["object"]
        except (ValueError, KeyError, TypeError) as error:
            raise Lost(f"the watch sent what is no event: {line[:80]!r}") from error
        if kind == "ERROR":
            if item.get("code") == 410:
                raise _Expired
            raise Lost(f"the watch ended: {item.get('message', item)}")
        if kind == "DELETED":
            self._gone(item["metadata"]["name"])
        elif kind != "BOOKMARK":
            self._changed(item)
        self._version = item["metadata"]["resourceVersion"]

    def _changed(self, item: Mapping[str, Any]) -> None:
        metadata = item["metadata"]
        key = self._key(metadata["name"], metadata.get("labels") or {})
        if key is None or (key in self._over and key not in self._listeners):
            return
        value = self._read(item)
        with self._lock:
            self._objects[metadata["name"]] = key, value
            for listener in self._listeners.get(key, ()):
                listener(Changed(metadata["name"], value))

    def _gone(self, name: str) -> None:
        with self._lock:
            key, _ = self._objects.pop(name, ("", None))
            for listener in self._listeners.get(key, ()):
                listener(Gone(name))

    def _tell_all(self, event: Outage | WatchFailed) -> None:
        with self._lock:
            for listeners in self._listeners.values():
                for listener in listeners:
                    listener(event)
