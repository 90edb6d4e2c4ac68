"""Scripts for the things that a cluster does with a job: its controller, scheduler and kubelets."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.doubles.kubernetes.bodies import Refused
from tests.doubles.kubernetes.server import ApiServer, Log

Script = Callable[["JobPlay"], None]

REPLICAS = {"pytorchjobs": "pytorchReplicaSpecs", "tfjobs": "tfReplicaSpecs"}


class Ended(Exception):
    """The script's object was deleted, so the script is over."""


class JobPlay:
    """A created job, for a script to change."""

    def __init__(self, cluster: ApiServer, plural: str, body: Mapping[str, Any]) -> None:
        self.cluster = cluster
        self.plural = plural
        self.body = body
        self.name: str = body["metadata"]["name"]
        self.number = int(body["metadata"]["labels"].get("katibflow/trial", -1))

    def run(self, script: Script) -> None:
        with contextlib.suppress(Ended, Refused):
            script(self)

    def pods(self) -> list[PodPlay]:
        """Creates all pods of the job, as its controller does."""
        spec = self.body["spec"]
        if self.plural == "jobs":
            return [self.pod(spec["template"], "job", 0)]
        return [
            self.pod(replica["template"], kind.lower(), index)
            for kind, replica in spec[REPLICAS[self.plural]].items()
            for index in range(replica.get("replicas", 1))
        ]

    def pod(
        self,
        template: Mapping[str, Any],
        kind: str,
        index: int,
        *,
        suffix: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> PodPlay:
        metadata = copy.deepcopy(dict(template.get("metadata") or {}))
        known = dict(labels or {})
        if self.plural in REPLICAS:
            known |= {
                "training.kubeflow.org/job-name": self.name,
                "training.kubeflow.org/replica-type": kind,
                "training.kubeflow.org/replica-index": str(index),
            }
            if kind == "master":
                known["training.kubeflow.org/job-role"] = "master"
        metadata["labels"] = {**metadata.get("labels", {}), **known}
        metadata["name"] = f"{self.name}-{kind}-{index}{suffix}"
        spec = copy.deepcopy(dict(template["spec"]))
        spec.setdefault("restartPolicy", "OnFailure")
        self.cluster.create(
            "pods",
            {
                "metadata": metadata,
                "spec": spec,
                "status": {"phase": "Pending"},
                "owner": self.name,
            },
        )
        return PodPlay(self.cluster, metadata["name"])

    def condition(self, kind: str, reason: str = "", message: str = "") -> None:
        """Sets a condition of the job, as its controller does."""
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        self.cluster.patch(self.plural, self.name, {"status": {"conditions": [condition]}})

    def status(self, **status: Any) -> None:
        self.cluster.patch(self.plural, self.name, {"status": status})

    def warn(self, reason: str, message: str = "") -> None:
        """Tells a warning about the job, as its controller does."""
        kind = self.body.get("kind", "")
        self.cluster.warn(kind, self.name, reason, message)


class PodPlay:
    """A pod, for a script to change as a scheduler and a kubelet do."""

    def __init__(self, cluster: ApiServer, name: str) -> None:
        self.cluster = cluster
        self.name = name
        spec = self._body()["spec"]
        self.main: str = spec["containers"][0]["name"]
        self._states: dict[str, dict[str, Any]] = {
            item["name"]: {"name": item["name"], "restartCount": 0, "state": {}}
            for key in ("initContainers", "containers")
            for item in spec.get(key, [])
        }
        self._init = {item["name"] for item in spec.get("initContainers", [])}

    def _body(self) -> dict[str, Any]:
        with self.cluster.changed:
            body = self.cluster.objects["pods"].get(self.name)
            if body is None:
                raise Ended
            return body

    def status(self, **status: Any) -> None:
        """Sets parts of the pod's status."""
        with self.cluster.changed:
            self._body()
            self.cluster.patch("pods", self.name, {"status": status})

    def unschedulable(self, message: str, reason: str = "Unschedulable") -> None:
        self.status(
            conditions=[
                {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
            ]
        )

    def scheduled(self) -> None:
        self.status(conditions=[{"type": "PodScheduled", "status": "True"}])

    def evicted(self, message: str) -> None:
        self.end_logs()
        self.status(phase="Failed", reason="Evicted", message=message)

    def _publish(self, **status: Any) -> None:
        split: dict[str, list[dict[str, Any]]] = {
            "containerStatuses": [],
            "initContainerStatuses": [],
        }
        for name, state in self._states.items():
            key = "initContainerStatuses" if name in self._init else "containerStatuses"
            split[key].append(copy.deepcopy(state))
        self.status(**split, **status)

    def waiting(self, reason: str, message: str = "", container: str = "") -> None:
        state = self._states[container or self.main]
        ended = state["state"].get("terminated")
        if ended:
            state["lastState"] = {"terminated": ended}
        state["state"] = {"waiting": {"reason": reason, "message": message}}
        self._publish()

    def running(self, container: str = "", *, phase: str = "Running") -> None:
        """Starts a container; starts it again if it had ended."""
        name = container or self.main
        state = self._states[name]
        ended = state["state"].get("terminated") or state.get("lastState", {}).get("terminated")
        if ended:
            state["lastState"] = {"terminated": ended}
            state["restartCount"] += 1
        state["state"] = {"running": {}}
        with self.cluster.changed:
            self.cluster.log(self.name, name, state["restartCount"])
            self._publish(phase=phase)

    def log(self, *lines: str, container: str = "") -> None:
        name = container or self.main
        with self.cluster.changed:
            self._body()
            log = self.cluster.log(self.name, name, self._states[name]["restartCount"])
            log.add([(self.cluster.now(), line) for line in lines])
            self.cluster.changed.notify_all()

    def rotate_log(self, container: str = "") -> None:
        """Begins a new file of the log, which is the only one that a later request gets."""
        name = container or self.main
        with self.cluster.changed:
            key = self.name, name, self._states[name]["restartCount"]
            self.cluster.logs[key] = Log(self.cluster.lock)
            self.cluster.changed.notify_all()

    def cut_log(self, container: str = "") -> None:
        """Breaks the connection that follows the log, in the middle of a line."""
        name = container or self.main
        with self.cluster.changed:
            self.cluster.log(self.name, name, self._states[name]["restartCount"]).cut()
            self.cluster.changed.notify_all()

    def warn(self, reason: str, message: str = "", container: str = "") -> None:
        """Tells a warning about the pod, as a kubelet does."""
        self.cluster.warn("Pod", self.name, reason, message, container)

    def terminated(
        self,
        code: int = 0,
        reason: str = "",
        container: str = "",
        phase: str = "",
        message: str = "",
    ) -> None:
        """Ends a container; the pod goes on unless a phase is given."""
        name = container or self.main
        state = self._states[name]
        word = reason or ("Completed" if code == 0 else "Error")
        state["state"] = {"terminated": {"exitCode": code, "reason": word}}
        if message:
            state["state"]["terminated"]["message"] = message
        with self.cluster.changed:
            self.cluster.log(self.name, name, state["restartCount"]).end()
            self._publish(**({"phase": phase} if phase else {}))

    def exit(self, code: int = 0, reason: str = "") -> None:
        """Ends the main container, and the pod with it."""
        self.terminated(code, reason, phase="Failed" if code else "Succeeded")

    def end_logs(self) -> None:
        with self.cluster.changed:
            for (pod, _, _), log in self.cluster.logs.items():
                if pod == self.name:
                    log.end()
            self.cluster.changed.notify_all()

    def delete(self) -> None:
        self.cluster.delete("pods", self.name)


def completes(lines: Sequence[str] = ("loss=0.5",)) -> Script:
    """Runs every pod to a good end; the first one prints the lines."""

    def script(play: JobPlay) -> None:
        pods = play.pods()
        for pod in pods:
            pod.scheduled()
            pod.running()
        pods[0].log(*lines)
        for pod in pods:
            pod.exit()
        play.condition("Complete" if play.plural == "jobs" else "Succeeded")

    return script
