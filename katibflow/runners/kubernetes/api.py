"""The one module that talks to a cluster: requests with retry, streams, and katibflow's errors.

The official client gives configuration, credentials and connections; objects stay plain mappings,
so that all kinds of jobs are handled alike. None of the client's exceptions leaves this module.
"""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import quote

from katibflow.errors import InputError, RunnerError
from katibflow.extras import require
from katibflow.runners.kubernetes.kubeconfig import read_kubeconfig

__all__ = ["Api", "ApiError", "Asked", "Backoff", "Lost", "Stream", "Timing", "connect"]

_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_MERGE_PATCH = "application/merge-patch+json"
_WHOLE = "application/json, */*"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


PAGE = 100
"""The greatest number of objects in a page of a list; an object of a trial may have 200 KB."""

_KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}.items()
        if hasattr(socket, name)
    ),
]
"""Ends a connection whose other side has been gone for 50 s, though nothing is sent on it."""


@dataclass(frozen=True)
class Timing:
    """The time limits of the runner, in seconds.

    Attributes:
        notice: A start that takes longer is reported.
        settle: Time for a container with a wrong configuration to recover.
        grace: Time for a failed replica's controller to decide, and for the other containers of a
            pod whose work is done to end.
        linger: Time for pods that outlive their job to end.
        explain: Time for the Events to arrive that may say why a trial failed.
        log: Time for a finished container's log to arrive, counted from its last line.
        leave: Time for a queue to let go of a job that is stopped.
        stop: Time for a stopped job's pods to end, before they are deleted.
        close: Time at the end of a run to delete what is left of its trials.
        backoff: First pause after an error; the pauses double, with jitter.
        backoff_most: Longest pause.
        give_up: Time that the API server may be out of reach.
        watch: Length of one watch request.
        silence: Time without a byte after which a stream is opened anew: the other side may have
            gone without a word.
    """

    notice: float = 30.0
    settle: float = 60.0
    grace: float = 30.0
    linger: float = 5.0
    explain: float = 10.0
    log: float = 30.0
    leave: float = 10.0
    stop: float = 90.0
    close: float = 15.0
    backoff: float = 1.0
    backoff_most: float = 30.0
    give_up: float = 900.0
    watch: float = 50.0
    silence: float = 55.0


@dataclass(frozen=True)
class Asked:
    """A request in the terms of Kubernetes's permissions.

    Attributes:
        verb: The verb as in a Role, such as ``list``.
        group: The API group; empty for Kubernetes's core.
        resource: The resource in the plural, such as ``pods``.
        subresource: The subresource, such as ``log``; empty for the object itself.
    """

    verb: str
    group: str
    resource: str
    subresource: str = ""

    @classmethod
    def of(cls, method: str, path: str, query: Mapping[str, Any] | None = None) -> Asked:
        """Derives the permission from a request in a namespace."""
        root, _, rest = path.partition("/namespaces/")
        _, resource, *names = rest.split("/")
        verb = {
            "DELETE": "delete" if names else "deletecollection",
            "GET": "get" if names else "list",
            "PATCH": "patch",
            "POST": "create",
        }[method]
        group = root.split("/")[2] if root.startswith("/apis/") else ""
        verb = "watch" if "watch" in (query or {}) else verb
        return cls(verb, group, resource, "".join(names[1:2]))


class ApiError(RunnerError):
    """The API server refused a request.

    Args:
        status: The HTTP status.
        message: The server's words, for people.
        reason: One word of the API's; empty if something else than the API answered, as for a path
            that does not exist.
        asked: The request, if it was in a namespace.
        details: The name, group and kind that the refusal is about, as the API's Status has them.
    """

    def __init__(
        self,
        status: int,
        message: str,
        reason: str = "",
        asked: Asked | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        self.status = status
        self.message = message
        self.reason = reason
        self.asked = asked
        self.details = details or {}
        super().__init__(f"the API server answers {status}: {message}" if status else message)


class Lost(Exception):
    """A request failed in a way that may pass, so that it can be made again.

    Args:
        message: What happened.
        retry_after: Seconds to wait, as the server asks.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Backoff:
    """Pauses between tries: they double, with jitter, and end when ``closed`` is set."""

    def __init__(self, timing: Timing, closed: threading.Event) -> None:
        self._timing = timing
        self._closed = closed
        self._failures = 0
        self._since = 0.0

    def reset(self) -> None:
        """Starts over, after the server has answered."""
        self._failures = 0

    def delay(self, lost: Lost) -> float:
        """Returns the seconds to wait before the next try.

        Raises:
            RunnerError: The tries have gone on for too long.
        """
        if not self._failures:
            self._since = monotonic()
        if monotonic() - self._since > self._timing.give_up:
            raise RunnerError(
                f"the API server is out of reach for {self._timing.give_up:g} s: {lost}"
            ) from lost
        longest = min(self._timing.backoff_most, self._timing.backoff * 2.0**self._failures)
        self._failures = min(self._failures + 1, 30)
        asked = lost.retry_after * random.uniform(1.0, 1.2)  # not all trials at the same moment
        return max(asked, longest * random.uniform(0.5, 1.0))

    def pause(self, lost: Lost) -> None:
        """Waits before the next try.

        Raises:
            RunnerError: The tries have gone on for too long, or the runner was closed.
        """
        if self._closed.wait(self.delay(lost)):
            raise RunnerError(f"the runner was closed when this was to be tried again: {lost}")


class Stream:
    """An open watch or log request, which gives lines as they come."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def lines(self) -> Iterator[tuple[str, bool]]:
        """Yields each line, and whether the line is complete: the last one may be cut.

        Raises:
            Lost: The connection broke.
        """
        import urllib3

        rest = b""
        try:
            for chunk in self._response.stream(2**16):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line.decode("utf-8", "replace"), True
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            raise Lost(f"the connection broke: {error}") from error
        if rest:
            yield rest.decode("utf-8", "replace"), False

    def close(self) -> None:
        """Ends the request; a thread that reads from it gets `Lost`."""
        import contextlib

        with contextlib.suppress(Exception):  # it may be closed or broken already
            self._response.shutdown()
        with contextlib.suppress(Exception):
            self._response.close()


class Api:
    """Makes requests in one namespace of a cluster.

    Args:
        client: A ``kubernetes.client.ApiClient``.
        namespace: Where the trials run.
        timing: Time limits.
    """

    def __init__(self, client: Any, namespace: str, timing: Timing | None = None) -> None:
        self._client = client
        self.namespace = namespace
        self.timing = timing or Timing()
        self.closed = threading.Event()

    def path(self, api_version: str, plural: str, *rest: str) -> str:
        """Returns the path of a resource in the namespace, of one object, or of a subresource."""
        root = "apis" if "/" in api_version else "api"
        parts = (self.namespace, plural, *rest)
        return f"/{root}/{api_version}/namespaces/" + "/".join(quote(part, "") for part in parts)

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: object = None,
        accept: str = _WHOLE,
    ) -> dict[str, Any]:
        """Returns an object from the server; it retries after 429, 5xx and broken connections.

        Raises:
            ApiError: The server refuses the request.
            RunnerError: The server is out of reach.
        """
        backoff = Backoff(self.timing, self.closed)
        while True:
            try:
                response = self._call(method, path, query, body, (10.0, 60.0), accept)
                return _read_object(response)
            except Lost as lost:
                backoff.pause(lost)

    def pages(
        self, path: str, query: Mapping[str, Any], *, metadata_only: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yields a list in pages, so that the records of many trials are not in memory at once.

        A list that grows too old on the way (410) begins anew: objects may come a second time.

        Args:
            path: Path of the resource.
            query: The query, such as a labelSelector.
            metadata_only: Whether the server sends only the objects' metadata.

        Raises:
            ApiError: The server refuses.
            RunnerError: The server is out of reach, or a list never comes to its end.
        """
        token = ""
        backoff = Backoff(self.timing, self.closed)
        while True:
            more = {"continue": token} if token else {}
            accept = _METADATA if metadata_only else _WHOLE
            try:
                page = self.request("GET", path, {**query, "limit": PAGE, **more}, accept=accept)
            except ApiError as error:
                if not token or error.status != 410:
                    raise
                token = ""
                backoff.pause(Lost(str(error)))
                continue
            yield page
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def may(self, asked: Asked) -> bool | None:
        """Returns whether the account may make the request, or None if the server does not say."""
        attributes = {"namespace": self.namespace, **vars(asked)}
        answer = self._review(
            "authorization.k8s.io/v1", "SelfSubjectAccessReview", resourceAttributes=attributes
        )
        return answer.get("allowed")

    def account(self) -> str:
        """Returns the account's name as the server knows it, or "" if the server does not say."""
        answer = self._review("authentication.k8s.io/v1", "SelfSubjectReview")
        return str(answer.get("userInfo", {}).get("username", ""))

    def _review(self, group: str, kind: str, **spec: object) -> dict[str, Any]:
        """Returns the status of a review, requested only once, or an empty one."""
        body = {"apiVersion": group, "kind": kind, "spec": spec}
        path = f"/apis/{group}/{kind.lower()}s"
        try:
            answer = _read_object(self._call("POST", path, None, body, (10.0, 60.0)))
        except (ApiError, Lost):
            return {}
        return answer.get("status") or {}

    def stream(self, path: str, query: Mapping[str, Any]) -> Stream:
        """Opens a watch or a log.

        Raises:
            ApiError: The server refuses the request.
            Lost: The request failed and may work later.
        """
        return Stream(self._call("GET", path, query, None, (10.0, self.timing.silence)))

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: object,
        timeout: tuple[float, float],
        accept: str = _WHOLE,
    ) -> Any:
        import urllib3
        from kubernetes.client.exceptions import ApiException  # type: ignore[import-untyped]

        kind = _MERGE_PATCH if method == "PATCH" else "application/json"
        try:
            return self._client.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params={"Accept": accept, "Content-Type": kind},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=timeout,
            )
        except ApiException as error:
            asked = Asked.of(method, path, query) if "/namespaces/" in path else None
            raise _refusal(error, asked) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Lost(f"the API server does not answer: {error}") from error


def _read_object(response: Any) -> dict[str, Any]:
    import urllib3

    try:
        data = json.loads(response.data)
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise Lost(f"the answer was cut: {error}") from error
    finally:
        response.release_conn()
    if not isinstance(data, dict):
        raise Lost("the answer is no object")
    return data


def _refusal(error: Any, asked: Asked | None) -> ApiError | Lost:
    status = int(error.status or 0)
    body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else error.body
    message, reason = (body or error.reason or "").strip(), ""
    details: Mapping[str, Any] = {}
    try:
        answer = json.loads(message)
        message, reason = answer["message"], answer.get("reason") or ""
        details = answer.get("details") or {}
    except (ValueError, KeyError, TypeError, AttributeError):
        message = message[:300]
    if status == 429 or status >= 500 or status == 0:
        text = (error.headers or {}).get("Retry-After", "")
        seconds = float(text) if text.isdecimal() else 0.0
        return Lost(f"the API server answers {status}: {message}", seconds)
    return ApiError(status, message, reason, asked, details)


def connect(
    namespace: str | None = None, context: str | None = None, timing: Timing | None = None
) -> Api:
    """Connects to the cluster that this process runs in, or that the kubeconfig names.

    Args:
        namespace: Namespace of the trials; by default the pod's own, or the context's.
        context: The kubeconfig's context; by default the cluster of this pod, or else the current
            context.
        timing: Time limits.

    Raises:
        MissingPackage: Kubernetes's client is not installed.
        InputError: There is no usable configuration; no request was made.
        RunnerError: The server refuses or does not answer.
    """
    require("kubernetes", "a Kubernetes cluster")
    from kubernetes import client, config  # type: ignore[import-untyped]
    from kubernetes.config import ConfigException  # type: ignore[import-untyped]
    from urllib3.connection import HTTPConnection

    if context is None and _ACCOUNT_NAMESPACE.is_file():
        settings = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=settings)
            own = _ACCOUNT_NAMESPACE.read_text().strip()
        except (ConfigException, OSError) as error:
            raise InputError(
                f"no cluster to run on: {error}; allowed: a service account"
            ) from error
    else:
        access = read_kubeconfig(context)
        settings, own = access.settings, access.namespace
    settings.retries = False
    settings.connection_pool_maxsize = 1000
    made = client.ApiClient(settings)
    options = [*HTTPConnection.default_socket_options, *_KEEPALIVE]
    made.rest_client.pool_manager.connection_pool_kw["socket_options"] = options
    return Api(made, namespace or own, timing)
