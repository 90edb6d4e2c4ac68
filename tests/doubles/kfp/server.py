"""A real HTTP server that speaks as much of Kubeflow Pipelines' v2beta1 API as a client needs.

Pipelines and versions with multipart uploads, experiments, runs with their task details, recurring
runs, termination; filters and pages; users with namespaces; tokens; and faults on demand. What
happens in a run that was created is a script, run in a thread of its own.

Its answers are shaped as the real ones (`kfp_server_api.models`, and `tests/recorded/kfp`): enums
by name, times in RFC 3339, ``finished_at`` in 1970 while a run goes on, int64 as strings, empty
lists left out, a task once for each of its nodes, a run's states with their times. A run that is
terminated is CANCELING until its engine ends it: Argo then says FAILED, never CANCELED.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.doubles.http_double import Handler, HttpDouble

API = "/apis/v2beta1/"
OVER = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
NEVER = "1970-01-01T00:00:00Z"


class Refused(Exception):
    """An answer other than 200, in gRPC gateway's form."""

    def __init__(self, status: int, code: int, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message


@dataclass
class Fault:
    """What the next requests that match get in place of the right answer."""

    matches: Callable[[str, str], bool]
    status: int
    body: str = '{"error":"made to fail","code":13,"message":"made to fail","details":[]}'
    content_type: str = "application/json"
    times: int = 1


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any = None


class Play:
    """A run that was created, to be played on by a script, as Argo does."""

    def __init__(self, server: KfpServer, run: dict[str, Any]) -> None:
        self._server = server
        self._run = run
        self.run_id: str = run["run_id"]
        self.parameters: dict[str, Any] = run["runtime_config"].get("parameters", {})

    @property
    def text(self) -> str:
        """The pipeline's file as it was uploaded."""
        return self._server.uploads[self._run["pipeline_version_reference"]["pipeline_version_id"]]

    @property
    def wants_to_stop(self) -> bool:
        return bool(self._run["state"] == "CANCELING")

    def looked_at(self) -> None:
        """Blocks until somebody was told how the run is now."""
        path = f"{API}runs/{self.run_id}"
        asked = len(self._server.asked("GET", path))
        # the second answer is given after the first one was
        self._server.wait_for(lambda: len(self._server.asked("GET", path)) > asked + 1, 60)

    def state(self, state: str, error: str = "") -> None:
        with self._server.changed:
            _put_state(self._run, state)
            if error:
                self._run["error"] = {"code": 2, "message": error, "details": []}
            if state in OVER:
                self._run["finished_at"] = now()
            self._server.changed.notify_all()

    def step(self, name: str, state: str, key: str = "") -> None:
        """A task of the run, by its key, is in a state.

        From 2.17 on each task is there as Argo's nodes are: a Retry node with its attempt, and the
        same for the step's own container.
        """
        with self._server.changed:
            for node in (name, f"{name}(0)", "executor", "executor(0)"):
                self._node(node, state, f"{key or name}/{node}")

    def _node(self, name: str, state: str, own: str) -> None:
        tasks = self._run["run_details"]["task_details"]
        found = next((task for task in tasks if task["task_id"] == own), None)
        if found is None:
            found = {"run_id": self.run_id, "task_id": own, "display_name": name}
            found |= {"create_time": now(), "start_time": now(), "end_time": NEVER}
            tasks.append(found)
        found["state"] = state
        if state in OVER:
            found["end_time"] = now()


def _put_state(run: dict[str, Any], state: str) -> None:
    """Changes a run's state; its answer has the states before, too."""
    run["state"] = state
    run.setdefault("state_history", []).append({"update_time": now(), "state": state})


def now(ago: float = 0.0) -> str:
    return (datetime.now(UTC) - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class KfpServer(HttpDouble):
    """The server and what it keeps.

    Attributes:
        users: Whether runs are kept in namespaces, as in a Kubeflow with profiles.
        secret: The Authorization header that every request must have, or the Cookie.
        script: What happens in a run.
        age: Seconds since which a run is there that was just created.
        workflows: The Workflow of each run, as the older API v1beta1 has it.
        logs: The log of each step's pod, or of its node after the pod has gone.
        page_size: The longest page there is.
    """

    users: bool = False
    secret: str = ""
    script: Callable[[Play], None] | None = None
    age: float = 0.0
    page_size: int = 200
    prefix: str = ""
    pipelines: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    uploads: dict[str, str] = field(default_factory=dict)
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    workflows: dict[str, dict[str, Any]] = field(default_factory=dict)
    logs: dict[str, list[str]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    recurring: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        super().__init__(_Handler, self.port)
        self._plays: list[threading.Thread] = []
        self.up()

    def close(self) -> None:
        self.down()
        for play in self._plays:
            play.join(60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    def fail(self, matches: Callable[[str, str], bool], status: int, **more: Any) -> None:
        with self.changed:
            self.faults.append(Fault(matches, status, **more))

    def asked(self, method: str, end: str) -> list[Request]:
        return [r for r in list(self.requests) if r.method == method and r.path.endswith(end)]

    # What the API does

    def answer(self, request: Request) -> dict[str, Any] | str:
        older = re.fullmatch("/apis/v1beta1/runs/([^/:]+)", request.path)
        log = re.fullmatch("/apis/v1alpha1/runs/([^/:]+)/nodes/([^/:]+)/log", request.path)
        if older is not None:
            body = json.dumps(_found(self.workflows, older[1]))
            return {"run": {"id": older[1]}, "pipeline_runtime": {"workflow_manifest": body}}
        if log is not None:
            return "\n".join(_found(self.logs, log[2]))
        with self.changed:
            for method, pattern, route in self._routes:
                match = re.fullmatch(
                    pattern.replace("ID", "[^/:]+"), request.path.removeprefix(API)
                )
                if match is not None and method == request.method:
                    return route(request, *match.groups())
        raise Refused(404, 5, "Not Found")

    @property
    def _routes(self) -> Sequence[tuple[str, str, Callable[..., dict[str, Any]]]]:
        return (
            ("GET", "healthz", self._health),
            (
                "GET",
                "pipelines",
                lambda r: self._page("pipelines", self._own(self.pipelines, r), r),
            ),
            ("POST", "pipelines", self._make_pipeline),
            ("POST", "pipelines/upload_version", self._make_version),
            ("GET", "pipelines/(ID)/versions", self._list_versions),
            ("GET", "pipelines/ID/versions/(ID)", lambda r, id: _found(self.versions, id)),
            (
                "GET",
                "experiments",
                lambda r: self._page("experiments", self._own(self.experiments, r), r),
            ),
            ("POST", "experiments", self._make_experiment),
            ("GET", "experiments/(ID)", lambda r, id: _found(self.experiments, id)),
            ("POST", "runs", self._make_run),
            ("GET", "runs", self._list_runs),
            ("GET", "runs/(ID)", lambda r, id: _found(self.runs, id)),
            ("POST", "runs/(ID):terminate", self._terminate),
            ("POST", "recurringruns", self._make_recurring),
            ("GET", "recurringruns", self._list_recurring),
        )

    def _health(self, request: Request) -> dict[str, Any]:
        told = {"commit_sha": "0", "tag_name": "2.17.0", "pipeline_store": "database"}
        return {**told, "multi_user": self.users}

    def _list_versions(self, request: Request, pipeline: str) -> dict[str, Any]:
        kept = [v for v in self.versions.values() if v["pipeline_id"] == pipeline]
        return self._page("pipeline_versions", kept, request)

    def _terminate(self, request: Request, run_id: str) -> dict[str, Any]:
        found = _found(self.runs, run_id)
        if found["state"] in (*OVER, "CANCELING"):
            words = f"Failed to terminate a run {run_id}. Row not found"
            raise Refused(400, 3, f"Failed to terminate run {run_id}: Invalid input error: {words}")
        _put_state(found, "CANCELING")
        self.changed.notify_all()
        return {}

    def _list_recurring(self, request: Request) -> dict[str, Any]:
        wanted = request.query["experiment_id"]
        kept = [r for r in self.recurring.values() if r["experiment_id"] == wanted]
        return self._page("recurringRuns", kept, request)

    def _own(
        self, kept: Mapping[str, dict[str, Any]], request: Request
    ) -> Sequence[dict[str, Any]]:
        namespace = request.query.get("namespace", "")
        if self.users and not namespace:
            raise Refused(400, 3, "Invalid input error: Namespace is empty")
        return [item for item in kept.values() if item.get("namespace", "") == namespace]

    def _page(self, key: str, items: Sequence[dict[str, Any]], request: Request) -> dict[str, Any]:
        for predicate in json.loads(request.query.get("filter") or "{}").get("predicates", ()):
            assert predicate["operation"] in (1, "EQUALS"), predicate
            wanted = predicate.get("stringValue", predicate.get("string_value"))
            items = [item for item in items if item[predicate["key"]] == wanted]
        start = int(request.query.get("page_token") or 0)
        size = min(int(request.query.get("page_size") or 20), self.page_size)
        page: dict[str, Any] = {"total_size": len(items)}
        if items[start : start + size]:
            page[key] = items[start : start + size]
        if start + size < len(items):
            page["next_page_token"] = str(start + size)
        return page

    def _make_pipeline(self, request: Request) -> dict[str, Any]:
        body = request.body
        name, namespace = body["display_name"], body.get("namespace", "")
        for other in self.pipelines.values():
            if (other["display_name"], other.get("namespace", "")) == (name, namespace):
                raise Refused(409, 6, f"Already exist error: a pipeline with name {name}")
        made = {"pipeline_id": str(uuid.uuid4()), "created_at": now(), "name": name, **body}
        self.pipelines[made["pipeline_id"]] = made
        return made

    def _make_version(self, request: Request) -> dict[str, Any]:
        pipeline = _found(self.pipelines, request.query["pipelineid"])["pipeline_id"]
        name = request.query["name"]
        for other in self.versions.values():
            if (other["pipeline_id"], other["display_name"]) == (pipeline, name):
                raise Refused(409, 6, f"Already exist error: a version with name {name}")
        text = request.body["uploadfile"]
        try:
            spec, *platform = yaml.safe_load_all(text)
        except (ValueError, yaml.YAMLError) as error:
            raise Refused(400, 3, f"Invalid input error: {error}") from error
        both = {"pipeline_spec": spec, "platform_spec": platform[0]} if platform else spec
        made = {
            "pipeline_id": pipeline,
            "pipeline_version_id": str(uuid.uuid4()),
            "display_name": name,
            "name": name,
            "description": request.query.get("description", ""),
            "created_at": now(),
            "pipeline_spec": both,
        }
        self.versions[made["pipeline_version_id"]] = made
        self.uploads[made["pipeline_version_id"]] = text
        return made

    def _make_experiment(self, request: Request) -> dict[str, Any]:
        body = request.body
        made = {"experiment_id": str(uuid.uuid4()), "created_at": now(), **body}
        made["storage_state"] = "AVAILABLE"
        self.experiments[made["experiment_id"]] = made
        return made

    def _check_version(self, body: Mapping[str, Any]) -> None:
        _found(self.experiments, body["experiment_id"])
        spec = body.get("pipeline_spec")
        if spec is None:
            reference = body["pipeline_version_reference"]
            spec = _found(self.versions, reference["pipeline_version_id"])["pipeline_spec"]
        inner = spec.get("pipeline_spec", spec)
        known = inner["root"]["inputDefinitions"]["parameters"]
        for name in body["runtime_config"].get("parameters", {}):
            if name not in known:
                raise Refused(400, 3, f"Invalid input error: unknown parameter {name}")

    def _make_run(self, request: Request) -> dict[str, Any]:
        body = request.body
        self._check_version(body)
        made = {
            **body,
            "run_id": str(uuid.uuid4()),
            "storage_state": "AVAILABLE",
            "state": "PENDING",
            "created_at": now(self.age),
            "scheduled_at": now(),
            "finished_at": NEVER,
            "run_details": {"task_details": []},
        }
        self.runs[made["run_id"]] = made
        if self.script is not None:
            play = threading.Thread(target=self.script, args=(Play(self, made),), daemon=True)
            self._plays.append(play)
            play.start()
        self.changed.notify_all()
        return made

    def _list_runs(self, request: Request) -> dict[str, Any]:
        assert request.query["sort_by"] == "created_at desc"
        places = {item["experiment_id"] for item in self._own(self.experiments, request)}
        kept = [run for run in self.runs.values() if run["experiment_id"] in places]
        listed = [{key: run[key] for key in run if key != "run_details"} for run in kept[::-1]]
        return self._page("runs", listed, request)

    def _make_recurring(self, request: Request) -> dict[str, Any]:
        body = request.body
        self._check_version(body)
        cron = body["trigger"].get("cron_schedule", {}).get("cron")
        if cron is not None and not cron.startswith("@") and len(cron.split()) not in (5, 6):
            raise Refused(400, 3, "Schedule cron is not a supported format")
        if not 1 <= int(body["max_concurrency"]) <= 10:
            raise Refused(400, 3, "Max concurrency must be at least 1 and at most 10")
        made = {"recurring_run_id": str(uuid.uuid4()), "created_at": now(), "status": "ENABLED"}
        made |= body
        self.recurring[made["recurring_run_id"]] = made
        return made


def _found(kept: Mapping[str, dict[str, Any]], key: str) -> dict[str, Any]:
    if key not in kept:
        raise Refused(404, 5, f"ResourceNotFoundError: {key} not found")
    return kept[key]


class _Handler(Handler):
    double: KfpServer

    def serve(self) -> None:
        state = self.double
        url = urlsplit(self.path)
        path = unquote(url.path).removeprefix(state.prefix)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        request = Request(self.command, path, query, dict(self.headers), self._body())
        with state.changed:
            state.requests.append(request)
            state.changed.notify_all()
            fault = next((f for f in state.faults if f.matches(self.command, path)), None)
            if fault is not None:
                fault.times -= 1
                if not fault.times:
                    state.faults.remove(fault)
        if fault is not None:
            self._send(fault.status, fault.body.encode(), fault.content_type)
            return
        if state.secret and state.secret not in (
            self.headers.get("Authorization"),
            self.headers.get("Cookie"),
        ):
            self._send(401, b"Unauthorized", "text/plain")
            return
        try:
            answer, status = state.answer(request), 200
        except Refused as error:
            if path.endswith("/log"):  # 200 is sent before the log is looked for
                self._send(200, json.dumps({"error_message": error.message}).encode(), "text/plain")
                return
            status = error.status
            answer = {"error": error.message, "code": error.code, "message": error.message}
        if isinstance(answer, str):
            self._send(status, answer.encode(), "text/plain")
            return
        with state.changed:
            data = json.dumps(answer).encode()
        self._send(status, data, "application/json")

    def _body(self) -> Any:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type", "")
        if not data:
            return None
        if not kind.startswith("multipart/"):
            return json.loads(data)
        message = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + data)
        parts = message.get_payload()
        assert isinstance(parts, list)
        return {
            part.get_param("name", header="content-disposition"): part.get_payload(
                decode=True
            ).decode()
            for part in parts
        }

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
