"""Each kind of metrics collector: its part of an Experiment, and a program that reports for it.

A program is given its reports as JSON in ``$REPORTS``: a list of mappings with ``epoch``, ``time``
(seconds since the epoch) and metrics; a metric without a number is the text "nan".
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.behaviour.collectors import event_files

_READ = """
import json, os, sys, time
from datetime import UTC, datetime
reports = json.loads(os.environ["REPORTS"])
def metrics(report):
    return {k: v for k, v in report.items() if k not in ("epoch", "time")}
def stamp(report):
    return datetime.fromtimestamp(report["time"], UTC).isoformat()
def text(report):
    words = " ".join(f"{k}={v}" for k, v in metrics(report).items())
    return f"{stamp(report)} epoch {report['epoch']} {words}"
"""

_STDOUT = """
for report in reports:
    print(text(report), flush=True)
"""

_PUSH = """
import katibflow
for report in reports:
    katibflow.report_metrics(
        {**metrics(report), "epoch": report["epoch"]}, timestamp=report["time"]
    )
"""

_PRINTED_PUSH = """
for report in reports:
    data = json.dumps({**metrics(report), "epoch": report["epoch"]})
    print(f"{stamp(report)} katibflow-metrics {data}", flush=True)
"""

_FILE = """
print("training", flush=True)
with open(os.environ["METRICS"], "a") as file:
    for report in reports:
        print(text(report), file=file, flush=True)
"""

_JSON = """
with open(os.environ["METRICS"], "a") as file:
    for report in reports:
        data = {**metrics(report), "epoch": report["epoch"], "timestamp": report["time"]}
        print(json.dumps(data), file=file, flush=True)
"""

_EVENTS = """
os.makedirs(os.path.join(os.environ["METRICS"], "train"), exist_ok=True)
path = os.path.join(os.environ["METRICS"], "train", "events.out.tfevents.1.host")
with open(path, "ab", buffering=0) as file:
    file.write(record(version()))
    for report in reports:
        values = [simple(k, float(v)) for k, v in metrics(report).items()]
        file.write(record(event(*values, step=report["epoch"], time=report["time"])))
"""

_PAGE = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        lines = []
        if reports:
            report = reports.pop(0)
            at = int(report["time"] * 1000)
            lines = [f"{k} {v} {at}\\n" for k, v in metrics(report).items()]
        self.send_response(200)
        self.end_headers()
        self.wfile.write("".join(["# TYPE loss gauge\\n", *lines, "process_x 1\\n"]).encode())
    def log_message(self, *args):
        pass
server = HTTPServer(("127.0.0.1", int(os.environ["KATIBFLOW_METRICS_PORT"])), Handler)
while reports:
    server.handle_request()
server.handle_request()
"""

_CUSTOM = """
import time
with open(os.environ["METRICS"], "a") as file:
    for report in reports:
        print(text(report), file=file, flush=True)
    print("over", file=file, flush=True)
"""

_COLLECTOR = """
import os, time
while not os.path.exists(os.environ["METRICS"]):
    time.sleep(0.01)
with open(os.environ["METRICS"]) as file:
    line = ""
    while line != "over\\n":
        line = file.readline()
        if line:
            print(line, end="", flush=True)
        else:
            time.sleep(0.01)
"""


@dataclass(frozen=True)
class Form:
    """One way to report metrics.

    Attributes:
        spec: ``metricsCollectorSpec``.
        program: Python source of the primary container.
        path: Value of ``$METRICS`` in the program.
        has_epochs: Whether the program reports the epoch.
    """

    spec: Mapping[str, Any]
    program: str
    path: str = ""
    has_epochs: bool = True

    @property
    def source(self) -> str:
        return inspect.getsource(event_files) + _READ + self.program


def collector(kind: str, /, **more: Any) -> dict[str, Any]:
    return {"collector": {"kind": kind, **more}}


def file_source(path: str, kind: str, **more: str) -> dict[str, Any]:
    return {"source": {"fileSystemPath": {"path": path, "kind": kind, **more}}}


LOG, FOLDER = "/var/log/katib/metrics.log", "/var/log/katib/tfevent"
_SIDE = {
    "name": "reader",
    "image": "none",
    "command": ["python3", "-c", _COLLECTOR],
    "env": [{"name": "METRICS", "value": LOG}],
}

FORMS: Mapping[str, Form] = {
    "StdOut": Form({}, _STDOUT),
    "Push": Form(collector("Push"), _PUSH),
    "Push by print": Form(collector("Push"), _PRINTED_PUSH),
    "None": Form(collector("None"), _PRINTED_PUSH),
    "File": Form(collector("File"), _FILE, LOG),
    "File elsewhere": Form(
        {**collector("File"), **file_source("/logs/here/m.txt", "File", format="TEXT")},
        _FILE,
        "/logs/here/m.txt",
    ),
    "File of JSON": Form(
        {**collector("File"), **file_source(LOG, "File", format="JSON")}, _JSON, LOG
    ),
    "TensorFlowEvent": Form(collector("TensorFlowEvent"), _EVENTS, f"{FOLDER}/"),
    "PrometheusMetric": Form(collector("PrometheusMetric"), _PAGE, has_epochs=False),
    "Custom": Form(
        {**collector("Custom", customCollector=_SIDE), **file_source(LOG, "File")}, _CUSTOM, LOG
    ),
}
