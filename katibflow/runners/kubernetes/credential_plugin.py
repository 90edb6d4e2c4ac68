"""Runs a kubeconfig's credential plugin (``exec``), as those of EKS, GKE, AKS and OIDC logins.

The plugin prints an ``ExecCredential`` with a token, or with a client certificate.

Source: the API group ``client.authentication.k8s.io``; kubectl's documentation of ``exec``.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from katibflow.errors import InputError

__all__ = ["CredentialPlugin"]

_EARLY = timedelta(seconds=10)
"""How long before it expires a token is replaced."""

_EXTENSION = "client.authentication.k8s.io/exec"
_CLUSTER_KEYS = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")


class CredentialPlugin:
    """A credential plugin, which gives the header Authorization when it is called.

    Args:
        spec: The user's entry ``exec``.
        folder: The kubeconfig's folder, where a command with a relative path is.
        cluster: The kubeconfig's entry of the cluster.

    Raises:
        InputError: The plugin is missing, fails, or prints no credential.
    """

    def __init__(self, spec: Mapping[str, Any], folder: Path, cluster: Mapping[str, Any]) -> None:
        self._spec = spec
        self._folder = folder
        self._cluster = cluster
        self._lock = threading.Lock()
        self._status = self._run()

    @property
    def certificate_files(self) -> tuple[str, str] | None:
        """The files with the plugin's client certificate and key; None if it gives a token."""
        if "token" in self._status:
            return None
        from kubernetes.config.kube_config import FileOrData  # type: ignore[import-untyped]

        names = ("clientCertificateData", "clientKeyData")
        data = {name: base64.b64encode(self._status[name].encode()).decode() for name in names}
        first, second = (FileOrData(data, "", data_key_name=name).as_file() for name in names)
        return first, second

    def __call__(self) -> str:
        """Returns the header's value; runs the plugin again if its token expires."""
        with self._lock:
            until = self._status.get("expirationTimestamp")
            if until and datetime.fromisoformat(until) - _EARLY <= datetime.now(UTC):
                self._status = self._run()
            return f"Bearer {self._status['token']}"

    def _run(self) -> dict[str, Any]:
        spec, command = self._spec, str(self._spec.get("command") or "")
        program = str(self._folder / command) if os.path.dirname(command) else command
        extra = {each["name"]: each["value"] for each in spec.get("env") or ()}
        is_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
        try:
            done = subprocess.run(
                [program, *(spec.get("args") or ())],
                stdin=None if is_terminal else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=None if is_terminal else subprocess.PIPE,  # a login asks there
                env={**os.environ, **extra, "KUBERNETES_EXEC_INFO": self._info(is_terminal)},
                text=True,
                check=False,
            )
        except OSError as error:
            raise self._fault(f"{error.strerror}: {program}") from error
        if done.returncode != 0:
            text = " ".join((done.stderr or "").split())
            raise self._fault(f"exit code {done.returncode}" + (f": {text}" if text else ""))
        try:
            status = json.loads(done.stdout)["status"]
        except (ValueError, KeyError, TypeError) as error:
            raise self._fault("it printed no ExecCredential with a status") from error
        if not status.get("token") and not {"clientCertificateData", "clientKeyData"} <= {*status}:
            raise self._fault("its status has neither a token nor a client certificate with a key")
        return {key: value for key, value in status.items() if value}

    def _fault(self, text: str) -> InputError:
        hint = " ".join(str(self._spec.get("installHint") or "").split())
        return InputError(
            f"the kubeconfig's credential plugin {self._spec.get('command')}: {text}"
            + (f"; {hint}" if hint else "")
        )

    def _info(self, is_terminal: bool) -> str:
        """Returns what the plugin is told, as JSON."""
        told: dict[str, Any] = {"interactive": is_terminal}
        if self._spec.get("provideClusterInfo"):
            told["cluster"] = self._cluster_info()
        kind = {"apiVersion": self._spec.get("apiVersion"), "kind": "ExecCredential"}
        return json.dumps({**kind, "spec": told})

    def _cluster_info(self) -> dict[str, Any]:
        cluster = self._cluster
        told = {key: cluster[key] for key in _CLUSTER_KEYS if key in cluster}
        data = cluster.get("certificate-authority-data")
        if not data and cluster.get("certificate-authority"):
            data = base64.b64encode(Path(cluster["certificate-authority"]).read_bytes()).decode()
        if data:
            told["certificate-authority-data"] = data
        for extension in cluster.get("extensions") or ():
            if extension.get("name") == _EXTENSION:
                told["config"] = extension.get("extension")
        return told
