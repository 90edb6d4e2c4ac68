"""Kueue over the server double: a queue with places, which holds jobs back and preempts them.

It suspends jobs that carry the label of a queue, makes a Workload for each, and lets them run one
after the other. A suspension of a job that it has admitted it takes back, 60 ms later, until the
Workload's ``spec.active`` is false and it has seen that. As the real one it sees that one round
late, and may let a job run until then. A preempted job waits until `readmit` is called.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from tests.doubles.kubernetes.plays import JobPlay, Script
from tests.doubles.kubernetes.server import ApiServer

QUEUE, JOB_UID = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/job-uid"
ENDS = {"Complete", "Failed", "Succeeded"}


class Kueue:
    """Runs beside a server until it is closed.

    Args:
        server: The server with the jobs.
        plural: The kind of the jobs.
        script: What the cluster does with a job that may run.
        places: How many jobs may run at a time.
        delay: Seconds that pass between a change and what Kueue does about it.
    """

    def __init__(
        self, server: ApiServer, plural: str, script: Script, places: int = 1, delay: float = 0.06
    ) -> None:
        self._server, self._plural, self._script = server, plural, script
        self.places, self._delay = places, delay
        self.admitted: list[str] = []
        self.runs: list[str] = []
        """The jobs that were let run, once for each time."""
        self._preempted: set[str] = set()
        self._active: dict[str, bool] = {}
        self._closed = threading.Event()
        server.admit = self._mutate
        server.script = None
        self._thread = threading.Thread(target=self._run, name="kueue", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        with self._server.changed:
            self._server.changed.notify_all()
        self._thread.join()

    def preempt(self, name: str, message: str = "Preempted to accommodate a workload") -> None:
        """Takes the place of a job away."""
        with self._server.changed:
            self._preempted.add(name)
            self._evict(name, "Preempted", message)

    def readmit(self, name: str) -> None:
        """Lets a preempted job wait for a place as the others do."""
        with self._server.changed:
            self._preempted.discard(name)
            self._server.version += 1
            self._server.changed.notify_all()

    def workload(self, name: str) -> Mapping[str, Any] | None:
        """Returns the Workload of a job."""
        return self._server.objects["workloads"].get(f"job-{name}")

    def is_evicted(self, name: str) -> bool:
        """Returns whether the controller said of a job's Workload that it is evicted."""
        conditions = ((self.workload(name) or {}).get("status") or {}).get("conditions") or ()
        return any(each["type"] == "Evicted" and each["status"] == "True" for each in conditions)

    # The controller

    def _mutate(self, plural: str, body: dict[str, Any]) -> None:
        """The webhook: jobs of a queue are created suspended."""
        if plural == self._plural and QUEUE in body["metadata"]["labels"]:
            self._holder(body)["suspend"] = True

    def _holder(self, body: Mapping[str, Any]) -> dict[str, Any]:
        spec: dict[str, Any] = body["spec"]
        return spec if self._plural in ("jobs", "trainjobs") else spec.setdefault("runPolicy", {})

    def _suspend(self, name: str, value: bool) -> None:
        change: dict[str, Any] = {"suspend": value}
        plain = self._plural in ("jobs", "trainjobs")
        self._server.patch(self._plural, name, {"spec": change if plain else {"runPolicy": change}})

    def _run(self) -> None:
        seen = -1
        while not self._closed.wait(self._delay):
            with self._server.changed:
                while seen == self._server.version and not self._closed.is_set():
                    self._server.changed.wait()
                if self._closed.is_set():
                    return
                seen = self._server.version
                before, self._active = self._active, self._actives()
                self._reconcile(before)
                if before != self._active:
                    seen = -1

    def _actives(self) -> dict[str, bool]:
        workloads = self._server.objects["workloads"]
        return {name: workload["spec"]["active"] for name, workload in workloads.items()}

    def _reconcile(self, active: Mapping[str, bool]) -> None:
        jobs = self._server.objects[self._plural]
        uids = {job["metadata"]["uid"] for job in jobs.values()}
        for workload in list(self._server.objects["workloads"].values()):
            if workload["metadata"]["labels"][JOB_UID] not in uids:
                self._server.put("workloads", workload, "DELETED")
                gone = workload["metadata"]["name"].removeprefix("job-")
                self.admitted = [name for name in self.admitted if name != gone]
        for name, job in list(jobs.items()):
            if QUEUE in (job["metadata"].get("labels") or {}):
                self._see_to(name, job, active.get(f"job-{name}", True))

    def _see_to(self, name: str, job: Mapping[str, Any], active: bool) -> None:
        workload = self.workload(name)
        if workload is None:
            self._server.create("workloads", _workload(name, job))
            return
        conditions = (job.get("status") or {}).get("conditions") or ()
        if any(each["type"] in ENDS for each in conditions):
            self.admitted = [other for other in self.admitted if other != name]
            return
        suspended = bool(self._holder(job).get("suspend"))
        if not active or name not in self.admitted:
            if name in self.admitted or not suspended or not (active or self.is_evicted(name)):
                self._evict(name, "Deactivated", "The workload is deactivated")
            if not active or name in self._preempted:
                return
            if len(self.admitted) >= self.places:
                text = "couldn't assign flavors to pod set main: insufficient unused quota for cpu"
                self._conditions(name, {"type": "QuotaReserved", "status": "False"}, text)
                return
            self.admitted.append(name)
            self._conditions(name, {"type": "Admitted", "status": "True"}, "")
        if suspended:
            self._suspend(name, False)
            self.runs.append(name)
            play = JobPlay(self._server, self._plural, self._server.objects[self._plural][name])
            threading.Thread(target=play.run, args=(self._script,), daemon=True).start()

    def _evict(self, name: str, reason: str, message: str) -> None:
        self.admitted = [other for other in self.admitted if other != name]
        self._conditions(name, {"type": "Evicted", "status": "True", "reason": reason}, message)
        self._suspend(name, True)
        self._server.suspended(self._plural, name)

    def _conditions(self, name: str, condition: Mapping[str, str], message: str) -> None:
        status = {"conditions": [{"reason": "Pending", **condition, "message": message}]}
        old = (self.workload(name) or {}).get("status")
        if old != status:
            self._server.patch("workloads", f"job-{name}", {"status": status})


def _workload(name: str, job: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": f"job-{name}", "labels": {JOB_UID: job["metadata"]["uid"]}},
        "spec": {"active": True, "queueName": job["metadata"]["labels"][QUEUE]},
    }
