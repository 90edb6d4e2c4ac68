"""A working kubelet: it runs a pod's containers as processes, native sidecars included.

Container paths are mapped into a folder of the pod. The ports that a container is told to serve on
are free ports of this machine, and the API server's proxy knows them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from katibflow.collectors.sources import METRICS_PORT
from tests.doubles.kubernetes.plays import JobPlay, PodPlay

SHELL_PATH = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])


class Kubelet:
    """A script for jobs with one pod.

    Args:
        folder: Folder of the pods' volumes.
        volumes: Container paths that are volumes.
        path: PATH of native sidecars.
    """

    def __init__(self, folder: Path, volumes: Sequence[str], path: str = SHELL_PATH) -> None:
        self.folder = folder
        self.volumes = volumes
        self.path = path
        self._running: list[Running] = []

    def __call__(self, play: JobPlay) -> None:
        (pod,) = play.pods()
        body = pod.cluster.objects["pods"][pod.name]
        spec = body["spec"]
        sidecars = [
            item for item in spec.get("initContainers", []) if item.get("restartPolicy") == "Always"
        ]
        kept = [self._start(pod, item, body, self.path) for item in sidecars]
        mains = [self._start(pod, item, body, SHELL_PATH) for item in spec["containers"]]
        codes = [main.wait() for main in mains]
        for sidecar in reversed(kept):
            sidecar.process.send_signal(signal.SIGTERM)
            sidecar.wait()
        pod.status(phase="Failed" if any(codes) else "Succeeded")
        play.condition("Failed" if any(codes) else "Complete")

    def _start(
        self, pod: PodPlay, container: Mapping[str, Any], body: Mapping[str, Any], path: str
    ) -> Running:
        fields = {"metadata.uid": body["metadata"]["uid"]}
        values = {"PATH": path, "HOME": "/"}
        for entry in container.get("env", []):
            source = entry.get("valueFrom")
            value = fields[source["fieldRef"]["fieldPath"]] if source else entry["value"]
            if entry["name"] == METRICS_PORT:
                place, value = f"{pod.name}:{value}", str(free_port())
                pod.cluster.ports[place] = int(value)
            values[entry["name"]] = self._here(value)
        command = [self._here(word) for word in container["command"]]
        pod.running(container["name"])
        self._running.append(Running(pod, container["name"], command, values))
        return self._running[-1]

    def close(self) -> None:
        """Kills the containers that still run."""
        for running in self._running:
            running.process.kill()
            running.process.wait()

    def _here(self, text: str) -> str:
        for number, volume in enumerate(self.volumes):
            place = self.folder / f"volume-{number}"
            place.mkdir(exist_ok=True)
            text = text.replace(volume, str(place))
        return text


class Running:
    """A running container; its output becomes its log."""

    def __init__(
        self, pod: PodPlay, name: str, command: Sequence[str], values: Mapping[str, str]
    ) -> None:
        self.pod, self.name = pod, name
        self.process = subprocess.Popen(
            command, env=values, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._thread = threading.Thread(target=self._keep)
        self._thread.start()

    def _keep(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.pod.log(line.rstrip("\n"), container=self.name)

    def wait(self) -> int:
        code = self.process.wait()
        self._thread.join()
        self.pod.terminated(code, container=self.name)
        return code


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
