"""Ends pods that outlive their job, while the next trials run; they hold no slot.

A job may be over while pods other than the one with the metrics still run. One may be a worker
that is about to finish, or one that waits in its init container forever, as the master ended
before its name could be resolved. A pod that never began is deleted at once. A running pod has some
time to end by itself (`Timing.linger`) and is deleted then. An error is reported, and it cannot
fail a trial that is finished.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Any

from katibflow.errors import RunnerError
from katibflow.runners.kubernetes.api import Api
from katibflow.runners.kubernetes.ending import delete_pod
from katibflow.runners.kubernetes.pods import Pod
from katibflow.runners.kubernetes.watch import Changed, Gone, Watch

__all__ = ["Leftovers"]


class _Left:
    """The pods that are left of one trial.

    Attributes:
        trial: The trial's number.
        running: Pods that ran when the job ended and still run, by name.
        due: Time at which they are deleted (monotonic).
        selectors: Label selectors of all pods of the trial, once all are to be deleted.
        is_finished: Whether the trial is on record, so that nobody needs its pods any more.
    """

    def __init__(self, trial: int, pods: Iterable[Pod], due: float) -> None:
        self.trial = trial
        self.running = {pod.name: pod for pod in pods}
        self.due = due
        self.selectors: Collection[str] = ()
        self.is_finished = False

    def take(self, event: object) -> None:
        """Applies an event of the watch."""
        match event:
            case Changed(name, Pod() as pod) if pod.is_over or pod.deleting:
                self.running.pop(name, None)
            case Gone(name):
                self.running.pop(name, None)


class Leftovers:
    """Ends the pods that finished trials leave behind, in threads of its own.

    Args:
        api: Requests in the namespace.
        watches: Watches of the pods, with trials' numbers as keys.
        tell: Called with a sentence for what could not be deleted, from any thread.
        release: Called with the number of a finished trial once nobody needs its pods any more.
    """

    def __init__(
        self,
        api: Api,
        watches: Iterable[Watch[Any]],
        tell: Callable[[str], None],
        release: Callable[[int], None],
    ) -> None:
        self._api = api
        self._watches = tuple(watches)
        self._tell = tell
        self._release = release
        self._pods_path = api.path("v1", "pods")
        self._changed = threading.Condition()
        self._left: deque[_Left] = deque()  # by when they are due
        self._finished: deque[tuple[int, Collection[str]]] = deque()
        self._closed = False
        self._threads: dict[Callable[[], None], threading.Thread] = {}

    def leave(self, trial: int, pods: Iterable[Pod]) -> None:
        """Takes over the pods that a trial's job has left, ended ones included."""
        alive = [pod for pod in pods if not (pod.is_over or pod.deleting)]
        for pod in alive:
            if not _has_begun(pod):
                with self._told(trial):
                    delete_pod(self._api, pod)
        running = [pod for pod in alive if _has_begun(pod)]
        if not running:
            return
        left = _Left(trial, running, monotonic() + self._api.timing.linger)
        with self._changed:
            if not self._closed:
                self._left.append(left)
                self._wake(self._run)
                return
        self._end(left)

    def _wake(self, work: Callable[[], None]) -> None:
        """Starts the thread that does the work, or wakes it; called with the lock held."""
        if work not in self._threads:
            name = "leftovers"
            self._threads[work] = threading.Thread(target=work, name=name, daemon=True)
            self._threads[work].start()
        self._changed.notify_all()

    def finish(self, trial: int, selectors: Collection[str]) -> None:
        """Lets go of a trial on record: now, or once the time of its running pods is over.

        It does not wait for the API server, as the next trial's start waits for this.

        Args:
            trial: The trial's number.
            selectors: Label selectors of its pods, if they are to be deleted.
        """
        with self._changed:
            for left in self._left:
                if left.trial == trial:
                    left.selectors, left.is_finished = selectors, True
                    return
            if selectors and not self._closed:
                self._finished.append((trial, selectors))
                self._wake(self._delete)
                return
        self._delete_all(trial, selectors)
        self._release(trial)

    def close(self) -> None:
        """Returns once nothing is left; reports what cannot be deleted in time (`Timing.close`)."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            threads = list(self._threads.values())
        until = monotonic() + self._api.timing.linger + self._api.timing.close
        for thread in threads:
            thread.join(max(0.0, until - monotonic()))
        if threads:
            self._api.closed.set()  # what is tried again and again ends with its error
        for thread in threads:
            thread.join(self._api.timing.close)

    def _delete(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._finished or self._closed)
                if not self._finished:
                    return
                trial, selectors = self._finished.popleft()
            self._delete_all(trial, selectors)
            self._release(trial)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._left or self._closed)
                if not self._left:
                    return
                first = self._left[0]
            self._await(first)
            with self._changed:
                self._left.popleft()
            self._end(first)

    def _await(self, left: _Left) -> None:
        """Returns once none of the pods runs any more, or their time is over."""

        def take(event: object) -> None:
            with self._changed:
                left.take(event)
                self._changed.notify_all()

        with ExitStack() as subscribed:
            for watch in self._watches:
                subscribed.callback(watch.subscribe(str(left.trial), take))
            with self._changed:
                self._changed.wait_for(lambda: not left.running, left.due - monotonic())

    def _end(self, left: _Left) -> None:
        for pod in left.running.values():
            with self._told(left.trial):
                delete_pod(self._api, pod)
        self._delete_all(left.trial, left.selectors)
        if left.is_finished:
            self._release(left.trial)

    def _delete_all(self, trial: int, selectors: Iterable[str]) -> None:
        for selector in selectors:
            with self._told(trial):
                self._api.request("DELETE", self._pods_path, {"labelSelector": selector})

    @contextmanager
    def _told(self, trial: int) -> Iterator[None]:
        try:
            yield
        except RunnerError as error:
            self._tell(f"pods that trial {trial} left behind could not be deleted: {error}")


def _has_begun(pod: Pod) -> bool:
    """Returns whether a container that does the pod's work was ever started."""
    return any(not item.init and item.has_log for item in pod.containers)
