"""Talks to Kubeflow Pipelines' API from within a step, with the standard library alone.

A step has no SDK: packages are installed for each step anew. It needs three requests, to read its
own run and to start another one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from katibflow.errors import RunnerError

__all__ = ["ACCOUNT_TOKEN", "ENDPOINT", "POD_TOKEN", "KfpService", "service_of_step"]

ENDPOINT = "KF_PIPELINES_ENDPOINT"
"""Environment variable with the installation's address."""

ACCOUNT_TOKEN = "KF_PIPELINES_SA_TOKEN_PATH"
"""Environment variable with the path of a file that holds a token."""

POD_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
"""The token of the pod's account for Kubeflow Pipelines, where Kubeflow mounts one."""

_SERVICE = "ML_PIPELINE_SERVICE"  # Kubernetes's variables for a service of the pod's namespace
_ELSEWHERE = "ml-pipeline.kubeflow:8888"

_TIMEOUT = 30.0
_TRIES = 3
_PAUSE = 2.0
"""Seconds before the second try; they double."""


class KfpService:
    """Makes requests to one installation.

    Args:
        address: The address, as ``http://ml-pipeline.kubeflow:8888``.
        token: The token of the step's account; "" without one.
        pause: Seconds before the second try of a request.
    """

    def __init__(self, address: str, token: str = "", pause: float = _PAUSE) -> None:
        self.address = address
        self._token = token
        self._pause = pause
        # The service is in the cluster, whatever proxy leads out of it.
        self._open = build_opener(ProxyHandler({})).open

    def read(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Returns an answer of the API to GET; tries again where the server does not answer.

        Raises:
            RunnerError: The server refuses, or does not answer.
        """
        pause, tries = self._pause, _TRIES
        while True:
            tries -= 1
            try:
                return self._ask(path + ("?" + urlencode(query) if query else ""), None)
            except _Away as away:
                if not tries:
                    raise RunnerError(str(away)) from away
                time.sleep(pause)
                pause *= 2

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Creates an object, and returns it; tries once, as a lost answer says nothing.

        Raises:
            RunnerError: The server refuses, or does not answer.
        """
        try:
            return self._ask(path, json.dumps(body).encode())
        except _Away as away:
            raise RunnerError(str(away)) from away

    def _ask(self, path: str, data: bytes | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = Request(f"{self.address}/apis/v2beta1/{path}", data, headers)
        try:
            with self._open(request, timeout=_TIMEOUT) as response:
                found = json.loads(response.read())
        except HTTPError as error:
            text = f"{self.address} answers {error.code}: {_words(error)}"
            if error.code == 429 or error.code >= 500:
                raise _Away(text) from error
            raise RunnerError(text) from error
        except (OSError, ValueError) as error:
            raise _Away(f"{self.address} does not answer: {error}") from error
        if not isinstance(found, dict):
            raise RunnerError(f"{self.address} answers, but not as Kubeflow Pipelines does")
        return found


class _Away(Exception):
    """A request failed in a way that may pass."""


def _words(error: HTTPError) -> str:
    """Returns what the server says of a refusal, in one short line."""
    text = error.read(2000).decode("utf-8", "replace")
    try:
        text = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        text = text or error.reason
    return " ".join(text.split())[:300]


def service_of_step() -> KfpService:
    """Returns the installation whose step this is, by the variables of the step's pod."""
    given = os.environ.get(ENDPOINT, "")
    host = os.environ.get(f"{_SERVICE}_HOST")
    port = os.environ.get(f"{_SERVICE}_PORT_HTTP") or os.environ.get(f"{_SERVICE}_PORT", "8888")
    address = given or (f"{host}:{port.rpartition(':')[2]}" if host else _ELSEWHERE)
    if "://" not in address:
        address = f"http://{address}"
    token = Path(os.environ.get(ACCOUNT_TOKEN) or POD_TOKEN)
    return KfpService(address.rstrip("/"), token.read_text().strip() if token.is_file() else "")
