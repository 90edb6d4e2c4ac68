"""A real HTTP server that speaks as much of the Kubernetes API as a runner needs.

Objects with create, get, list in pages, merge patch and delete; lists of metadata alone; selectors
by label and by a pod's phase; watches with resourceVersions, bookmarks and 410; pods' logs with
follow, timestamps and sinceTime; RBAC by the rules of a Role, and reviews of it; and faults on
demand. What the cluster does with a job that was created is a script (see `plays`), run in a thread
of its own.
"""

from __future__ import annotations

import copy
import json
import socket
import threading
import time
import urllib.request
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.doubles.http_double import Handler, HttpDouble
from tests.doubles.kubernetes.bodies import (
    Refused,
    as_seen,
    event_line,
    is_stopped,
    merge,
    metadata_only,
    selector,
)

NAMESPACE = "kubeflow"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:pipeline-runner"
GROUPS = {
    "pods": "v1",
    "events": "v1",
    "configmaps": "v1",
    "services": "v1",
    "jobs": "batch/v1",
    "pytorchjobs": "kubeflow.org/v1",
    "tfjobs": "kubeflow.org/v1",
    "trainjobs": "trainer.kubeflow.org/v1alpha1",
    "rayjobs": "ray.io/v1",
    "workflows": "argoproj.io/v1alpha1",
    "cronworkflows": "argoproj.io/v1alpha1",
    "workloads": "kueue.x-k8s.io/v1beta2",
    "sparks": "example.com/v1",
}
BOOKMARK_SECONDS = 0.2
KEPT_VERSIONS = 4000
"""Changes of a kind that can be watched from; a watch from before them gets 410."""
_METADATA = "as=PartialObjectMetadataList"


@dataclass(frozen=True)
class Request:
    """One request in the terms of RBAC."""

    verb: str
    resource: str
    name: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    accept: str = ""


@dataclass
class Fault:
    """A wrong answer for the next requests that match."""

    matches: Callable[[Request], bool]
    status: int
    times: int = 1
    message: str = "made to fail"
    headers: Mapping[str, str] = field(default_factory=dict)
    applied: bool = False  # whether the request is carried out all the same


class Log:
    """The output of one instance of a container; who follows it waits for it alone.

    Args:
        lock: The cluster's lock, which guards the log too.
    """

    def __init__(self, lock: threading.RLock) -> None:
        self.changed = threading.Condition(lock)
        self.lines: list[tuple[str, str]] = []
        self.ended = False
        self.cuts = 0  # connections to it that are to be cut

    def add(self, lines: Iterable[tuple[str, str]]) -> None:
        """Adds lines with their times."""
        with self.changed:
            self.lines += lines
            self.changed.notify_all()

    def end(self) -> None:
        """Ends the output: the container is over, or its pod is gone."""
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def cut(self) -> None:
        """Breaks the connection that follows the log."""
        with self.changed:
            self.cuts += 1
            self.changed.notify_all()


class ApiServer(HttpDouble):
    """The server and its cluster; times are real, and nothing is polled."""

    def __init__(self, rules: Iterable[Mapping[str, Any]] | None = None) -> None:
        super().__init__(_Handler)
        self.version = 100
        self.oldest = 0
        self.objects: dict[str, dict[str, dict[str, Any]]] = {plural: {} for plural in GROUPS}
        self.history: dict[str, list[tuple[int, str, dict[str, Any], dict[str, Any]]]] = {
            plural: [] for plural in GROUPS
        }
        self.forgotten = dict.fromkeys(GROUPS, 0)
        """The last version of each kind that the history has no more."""
        self.news = {plural: threading.Condition(self.lock) for plural in GROUPS}
        """What the watches of a kind wait for."""
        self.pages: dict[str, list[dict[str, Any]]] = {}
        """What is left of lists that are read in pages, by the token that continues them."""
        self.logs: dict[tuple[str, str, int], Log] = {}
        self.requests: list[Request] = []
        self.keep_requests = True
        self.request_count = 0
        self.faults: list[Fault] = []
        self.rules = list(rules) if rules is not None else None
        self.script: Callable[[Any], None] | None = None
        self.argo: Callable[[dict[str, Any]], None] = lambda body: None
        """What Argo does with a Workflow of an Experiment that was created, in its own thread."""
        self.admit: Callable[[str, dict[str, Any]], None] = lambda plural, body: None
        self.admits_first = False  # before it sees that the name is taken, as a quota is checked
        self.watching = dict.fromkeys(GROUPS, 0)  # watches of a kind that are open now
        self.most_watching = dict.fromkeys(GROUPS, 0)  # the most that were open at a time
        self.silent_watches = 0  # the next ones of which nothing is ever heard
        self.words: Callable[[str], str] = lambda text: text
        """What it says where it would say that text."""
        self.absent: set[str] = set()  # kinds that nobody has installed
        self.can_suspend = True
        self.drops_suspend = False  # as the definition of an old operator's kind does
        self.page_size = 0  # makes pages smaller than the client asks for
        self.cut_watch_lines = 0
        self.outlives: Callable[[str], bool] = lambda pod: False
        """Which pods are only marked when they are deleted, as while their grace period lasts."""
        self.ports: dict[str, int] = {}  # of a pod, as "name:port": where it is on this machine
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # What happens in the cluster

    def put(self, plural: str, body: Mapping[str, Any], kind: str = "MODIFIED") -> dict[str, Any]:
        """Stores an object and tells the watches."""
        with self.changed:
            self.version += 1
            new = copy.deepcopy(dict(body))
            if self.drops_suspend:
                new.get("spec", {}).get("runPolicy", {}).pop("suspend", None)
            new["metadata"]["resourceVersion"] = str(self.version)
            name = new["metadata"]["name"]
            old = self.objects[plural].get(name, {})
            if kind == "DELETED":
                self.objects[plural].pop(name, None)
            else:
                self.objects[plural][name] = new
            history = self.history[plural]
            history.append((self.version, kind, new, old))
            if len(history) > 2 * KEPT_VERSIONS:
                self.forgotten[plural] = history[KEPT_VERSIONS - 1][0]
                del history[:KEPT_VERSIONS]
            self.news[plural].notify_all()
            self.changed.notify_all()
            return new

    def wake_all(self) -> None:
        for waiting in (*self.news.values(), *(log.changed for log in self.logs.values())):
            waiting.notify_all()
        super().wake_all()

    def create(self, plural: str, body: Mapping[str, Any]) -> dict[str, Any]:
        with self.changed:
            name = body["metadata"]["name"]
            if self.admits_first:
                self.admit(plural, dict(body))
            if name in self.objects[plural]:
                raise Refused(409, "AlreadyExists", f'{plural} "{name}" already exists')
            self.admit(plural, dict(body))
            new = copy.deepcopy(dict(body))
            new["metadata"] |= {
                "uid": f"uid-{self.version + 1}",
                "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            return self.put(plural, new, "ADDED")

    def patch(self, plural: str, name: str, change: Mapping[str, Any]) -> dict[str, Any]:
        """Merges into an object, as a controller or a person does."""
        with self.changed:
            if name not in self.objects[plural]:
                raise Refused(404, "NotFound", f'{plural} "{name}" not found')
            return self.put(plural, merge(self.objects[plural][name], change))

    def delete(self, plural: str, name: str, propagation: str = "Background") -> None:
        with self.changed:
            body = self.objects[plural].get(name)
            if body is None:
                raise Refused(404, "NotFound", f'{plural} "{name}" not found')
            if plural == "pods" and self.outlives(name):
                self.patch(plural, name, {"metadata": {"deletionTimestamp": self.now()}})
                return
            if plural != "pods" and propagation == "Foreground":
                gone = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
                self.patch(plural, name, gone)
            if plural != "pods":
                self.delete_pods_of(name)
            self.put(plural, self.objects[plural][name], "DELETED")
            for key in [key for key in self.logs if plural == "pods" and key[0] == name]:
                self.logs.pop(key).end()
            self.changed.notify_all()

    def warn(
        self, kind: str, name: str, reason: str, message: str = "", container: str = ""
    ) -> None:
        """Tells a warning about an object; a repeat counts on, as client-go's recorder does."""
        with self.changed:
            about = {"kind": kind, "name": name, "namespace": NAMESPACE}
            if container:
                about["fieldPath"] = f"spec.containers{{{container}}}"
            said = {
                "involvedObject": about,
                "reason": reason,
                "message": message,
                "type": "Warning",
            }
            for event, body in self.objects["events"].items():
                if said.items() <= body.items():
                    self.patch("events", event, {"count": body["count"] + 1})
                    return
            event = f"{name}.{time.time_ns():x}"
            self.create("events", {"metadata": {"name": event}, "count": 1, **said})

    def delete_pods_of(self, job: str) -> None:
        for name, pod in list(self.objects["pods"].items()):
            if pod.get("owner") == job:
                self.delete("pods", name)

    def log(self, pod: str, container: str, instance: int) -> Log:
        with self.changed:
            return self.logs.setdefault((pod, container, instance), Log(self.lock))

    def compact(self) -> None:
        """Forgets all versions so far."""
        with self.changed:
            self.version += 1
            self.oldest = self.version
            self.pages.clear()
            for events in self.history.values():
                events.clear()
            self.wake_all()

    def fail(self, matches: Callable[[Request], bool], status: int, **more: Any) -> Fault:
        with self.changed:
            self.faults.append(Fault(matches, status, **more))
            return self.faults[-1]

    def count(self, verb: str, resource: str) -> int:
        return sum((r.verb, r.resource) == (verb, resource) for r in list(self.requests))

    # What the API does

    def allowed(self, group: str, request: Request) -> bool:
        return self.rules is None or any(
            group in rule["apiGroups"]
            and request.resource in rule["resources"]
            and request.verb in rule["verbs"]
            for rule in self.rules
        )

    def select(self, plural: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        is_selected = selector(query)
        return [item for item in self.objects[plural].values() if is_selected(item)]

    def suspended(self, plural: str, name: str) -> None:
        """Deletes the pods of a suspended job, as its controller does."""
        if self.can_suspend:
            self.delete_pods_of(name)

    def now(self) -> str:
        return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.{time.time_ns() % 10**9:09d}Z"


def _may(cluster: ApiServer, spec: Mapping[str, Any]) -> dict[str, Any]:
    asked = spec["resourceAttributes"]
    resource = "/".join(filter(None, (asked["resource"], asked["subresource"])))
    return {"allowed": cluster.allowed(asked["group"], Request(asked["verb"], resource))}


def _who(cluster: ApiServer, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"userInfo": {"username": ACCOUNT}}


REVIEWS: Mapping[str, Callable[[ApiServer, Mapping[str, Any]], dict[str, Any]]] = {
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": _may,
    "/apis/authentication.k8s.io/v1/selfsubjectreviews": _who,
}


_TOKENS = count()


def _version_of(event: tuple[int, str, dict[str, Any], dict[str, Any]]) -> int:
    return event[0]


class _Handler(Handler):
    double: ApiServer

    def serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        version = parts[1] if parts[0] == "api" else "/".join(parts[1:3])
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        if url.path in REVIEWS:
            self._json(201, {"status": REVIEWS[url.path](self.double, body["spec"])})
            return
        try:
            _, namespace, plural, *names = rest
        except ValueError:
            self._text(404, "404 page not found\n")
            return
        name, part = [*names, "", ""][:2]
        watch = query.get("watch") == "true"
        verb = {
            "GET": "get" if name else "watch" if watch else "list",
            "POST": "create",
            "PATCH": "patch",
            "DELETE": "delete" if name else "deletecollection",
        }[self.command]
        request = Request(verb, f"{plural}/{part}" if part else plural, name, query, body)
        request = replace(request, accept=self.headers.get("Accept", ""))
        cluster = self.double
        fault = None
        with cluster.changed:
            cluster.request_count += 1
            if cluster.keep_requests:
                cluster.requests.append(request)
            for candidate in cluster.faults:
                if candidate.times and candidate.matches(request):
                    fault = candidate
                    fault.times -= 1
                    break
            cluster.changed.notify_all()
        try:
            if fault and not fault.applied:
                self._status(fault.status, "Fault", fault.message, fault.headers)
                return
            if GROUPS.get(plural) != version or plural in cluster.absent:
                self._text(404, "404 page not found\n")
                return
            group = version.rpartition("/")[0]
            if not cluster.allowed(group, request):
                raise Refused(
                    403,
                    "Forbidden",
                    f'{plural}.{group} is forbidden: User "{ACCOUNT}" cannot {verb} resource '
                    f'"{request.resource}" in API group "{group}" in the namespace "{namespace}"',
                    {"group": group, "kind": plural}
                    | ({"name": request.name} if request.name else {}),
                )
            if namespace != NAMESPACE:
                details = {"kind": "namespaces", "name": namespace}
                raise Refused(404, "NotFound", f'namespaces "{namespace}" not found', details)
            answer = self._answer(plural, version, request)
            if fault:
                self.close_connection = True  # it was done, and the answer is lost
            elif answer is not None:
                self._json(200, answer)
        except Refused as error:
            self._status(error.status, error.reason, error.message, details=error.details)

    def _answer(self, plural: str, version: str, request: Request) -> dict[str, Any] | None:
        cluster = self.double
        match request.verb, request.resource:
            case "get", "pods/log":
                self._log(request)
                return None
            case "get", "pods/proxy":
                self._proxy(request)
                return None
            case "watch", _:
                with cluster.changed:
                    cluster.watching[plural] += 1
                    most = max(cluster.most_watching[plural], cluster.watching[plural])
                    cluster.most_watching[plural] = most
                try:
                    self._watch(plural, request.query)
                finally:
                    with cluster.changed:
                        cluster.watching[plural] -= 1
                return None
            case "list", _:
                page = self._list(plural, version, request.query)
                return metadata_only(page) if _METADATA in request.accept else page
            case "create", _:
                body = cluster.create(plural, request.body)
                self._play(plural, body)
                return body
            case "get", _:
                found = cluster.objects[plural].get(request.name)
                if found is None:
                    raise Refused(404, "NotFound", f'{plural} "{request.name}" not found')
                return found
            case "patch", _:
                body = cluster.patch(plural, request.name, request.body)
                if is_stopped(body):
                    cluster.suspended(plural, request.name)
                return body
            case "delete", _:
                options = request.body or {}
                cluster.delete(plural, request.name, options.get("propagationPolicy", ""))
                return {"kind": "Status", "status": "Success"}
            case _:
                with cluster.changed:
                    for item in cluster.select(plural, request.query):
                        cluster.delete(plural, item["metadata"]["name"])
                return {"kind": "Status", "status": "Success"}

    def _play(self, plural: str, body: dict[str, Any]) -> None:
        """Starts what the cluster does with an object that was created."""
        cluster = self.double
        if "katibflow/layout" in body["metadata"].get("labels", {}):
            if plural == "workflows":
                threading.Thread(target=cluster.argo, args=(body,), daemon=True).start()
        elif cluster.script and plural != "configmaps" and not is_stopped(body):
            from tests.doubles.kubernetes.plays import JobPlay

            play = JobPlay(cluster, plural, body)
            threading.Thread(target=play.run, args=(cluster.script,), daemon=True).start()

    def _list(self, plural: str, version: str, query: Mapping[str, str]) -> dict[str, Any]:
        cluster = self.double
        with cluster.changed:
            token = query.get("continue", "")
            if token and token not in cluster.pages:
                raise Refused(410, "Expired", "The provided continue parameter is too old")
            seen, items = token.partition("/")[0], cluster.pages.pop(token, None)
            if items is None:
                seen, items = str(cluster.version), cluster.select(plural, query)
            size = cluster.page_size or int(query.get("limit") or 0) or len(items)
            more = f"{seen}/{next(_TOKENS)}" if size < len(items) else ""
            if more:
                cluster.pages[more] = items[size:]
            return {
                "kind": "List",
                "apiVersion": version,
                "metadata": {"resourceVersion": seen, "continue": more},
                "items": items[:size],
            }

    def _proxy(self, request: Request) -> None:
        port = self.double.ports.get(request.name)
        path = "/" + urlsplit(self.path).path.partition("/proxy/")[2]
        try:
            if port is None:
                raise ConnectionRefusedError
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                self._text(200, answer.read().decode())
        except OSError as error:
            raise Refused(503, "ServiceUnavailable", "error trying to reach the pod") from error

    # Streams

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _watch(self, plural: str, query: Mapping[str, str]) -> None:
        cluster = self.double
        seen = int(query.get("resourceVersion") or 0)
        history, waiting = cluster.history[plural], cluster.news[plural]
        ends = time.monotonic() + float(query.get("timeoutSeconds") or 3600)
        bookmark = time.monotonic() + BOOKMARK_SECONDS
        self._begin("application/json")
        with cluster.changed:
            if cluster.silent_watches > 0:
                cluster.silent_watches -= 1
                cluster.changed.wait_for(lambda: cluster._http is None)
                return
        while True:
            with cluster.changed:
                if seen < max(cluster.oldest, cluster.forgotten[plural]):
                    expired = {"code": 410, "reason": "Expired", "message": "too old"}
                    self._chunk(event_line({"type": "ERROR", "object": expired}))
                    break
                news = history[bisect_right(history, seen, key=_version_of) :]
                if not news and cluster._http is None:
                    return
                if not news:
                    wait = min(bookmark, ends) - time.monotonic()
                    if wait > 0:
                        waiting.wait(wait)
                        continue
            for version, kind, new, old in news:
                seen = version
                event = as_seen(kind, new, old, query)
                if event is None:
                    continue
                line = event_line(event)
                if cluster.cut_watch_lines > 0:
                    cluster.cut_watch_lines -= 1
                    self._chunk(line[: len(line) // 2])
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self._chunk(line)
            if time.monotonic() >= ends:
                break
            if not news and time.monotonic() >= bookmark:
                bookmark = time.monotonic() + BOOKMARK_SECONDS
                mark = {"kind": "Mark", "metadata": {"resourceVersion": str(seen)}}
                self._chunk(event_line({"type": "BOOKMARK", "object": mark}))
        self._chunk(b"")

    def _log(self, request: Request) -> None:
        cluster, query = self.double, request.query
        pod = cluster.objects["pods"].get(request.name)
        if pod is None:
            raise Refused(404, "NotFound", f'pods "{request.name}" not found')
        container = query["container"]
        statuses = [
            *pod.get("status", {}).get("containerStatuses", []),
            *pod.get("status", {}).get("initContainerStatuses", []),
        ]
        restarts = next((s["restartCount"] for s in statuses if s["name"] == container), 0)
        instance = restarts - (query.get("previous") == "true")
        log = cluster.logs.get((request.name, container, instance))
        if log is None:
            raise Refused(400, "BadRequest", f'container "{container}" is waiting to start')
        since = query.get("sinceTime", "")
        lines = [line for line in log.lines if not line[0] or line[0] >= since[:19]]
        taken = len(log.lines)
        if "tailLines" in query:
            lines = lines[-int(query["tailLines"]) :]
        self._begin("text/plain")
        stamped = query.get("timestamps") == "true"
        while True:
            for stamp, text in lines:
                self._chunk((f"{stamp} {text}\n" if stamped and stamp else f"{text}\n").encode())
            with cluster.changed:
                if log.cuts:
                    log.cuts -= 1
                    self._chunk(b"2026-01-01T00:00:0")
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                lines, taken = log.lines[taken:], len(log.lines)
                if lines:
                    continue
                if query.get("follow") != "true" or log.ended:
                    break
                if cluster._http is None:
                    return
                log.changed.wait()
        self._chunk(b"")

    # Answers

    def _json(self, status: int, data: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(data).encode(), "application/json", {})

    def _text(self, status: int, text: str) -> None:
        self._send(status, text.encode(), "text/plain", {})

    def _status(
        self,
        status: int,
        reason: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        message = self.double.words(message)
        data: dict[str, Any] = {"kind": "Status", "code": status, "reason": reason}
        data |= {"message": message, "details": details or {}}
        self._send(status, json.dumps(data).encode(), "application/json", headers or {})

    def _send(self, status: int, data: bytes, kind: str, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
