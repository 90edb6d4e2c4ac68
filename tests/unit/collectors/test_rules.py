"""Tests the faults of metrics collectors' specifications against Katib's rules, one row a rule."""

from __future__ import annotations

from typing import Any

import pytest

from katibflow.collectors import collector_for, source_for
from katibflow.collectors.sources import Endpoint, Files, SideContainer
from katibflow.errors import InvalidExperiment
from katibflow.validation.rules import check_document
from tests.samples import changed

KIND = "spec.metricsCollectorSpec.collector.kind"
CUSTOM = "spec.metricsCollectorSpec.collector.customCollector"
SOURCE = "spec.metricsCollectorSpec.source"
PATH = f"{SOURCE}.fileSystemPath"
GET = f"{SOURCE}.httpGet"
SIDE = {"name": "side", "image": "i"}

GOOD: list[dict[str, Any]] = [
    {KIND: kind} for kind in ("StdOut", "File", "TensorFlowEvent", "PrometheusMetric", "Push")
] + [
    {KIND: "None"},
    {KIND: "Custom", CUSTOM: SIDE},
    {KIND: "StdOut", PATH: {"path": "passed/over"}},
    {KIND: "StdOut", GET: {"port": "passed over"}},
    {KIND: "Push", PATH: {"path": "passed/over"}},
    {KIND: "File", PATH: {"path": "/logs/m.log", "kind": "File", "format": "TEXT"}},
    {KIND: "File", PATH: {"format": "JSON"}},
    {KIND: "TensorFlowEvent", PATH: {"path": "/logs/", "kind": "Directory"}},
    {KIND: "PrometheusMetric", GET: {"path": "/m", "port": "9000", "scheme": "HTTP"}},
    {KIND: "PrometheusMetric", GET: {"port": 0}},
    {KIND: "Custom", CUSTOM: SIDE, PATH: {"path": "/logs", "kind": "Directory"}},
]

BAD: list[tuple[dict[str, Any], str]] = [
    (
        {KIND: "Files"},
        f'{KIND}: found "Files"; allowed: StdOut, File, TensorFlowEvent, PrometheusMetric, Push, '
        "None, Custom",
    ),
    (
        {KIND: "File", f"{PATH}.kind": "Directory"},
        f'{PATH}.kind: found "Directory"; allowed: File, for the collector File',
    ),
    (
        {KIND: "File", f"{PATH}.path": "logs/m.log"},
        f'{PATH}.path: found "logs/m.log"; allowed: an absolute path in the container, below /',
    ),
    (
        {KIND: "File", f"{PATH}.format": "JSON", f"{SOURCE}.filter.metricsFormat": ["(a)(b)"]},
        f"{SOURCE}.filter: found a filter; allowed: nothing: JSON says itself what is what",
    ),
    (
        {KIND: "TensorFlowEvent", f"{PATH}.kind": "File"},
        f'{PATH}.kind: found "File"; allowed: Directory, for TensorFlowEvent',
    ),
    (
        {KIND: "TensorFlowEvent", f"{PATH}.path": "/"},
        f'{PATH}.path: found "/"; allowed: an absolute path in the container, below /',
    ),
    (
        {KIND: "TensorFlowEvent", f"{PATH}.format": "TEXT"},
        f'{PATH}.format: found "TEXT"; allowed: nothing: event files have one format',
    ),
    (
        {KIND: "PrometheusMetric", f"{GET}.port": "http"},
        f'{GET}.port: found "http"; allowed: a number from 1 to 65535',
    ),
    (
        {KIND: "PrometheusMetric", f"{GET}.port": 65536},
        f"{GET}.port: found 65536; allowed: a number from 1 to 65535",
    ),
    (
        {KIND: "PrometheusMetric", f"{GET}.path": "metrics"},
        f'{GET}.path: found "metrics"; allowed: a path that begins with /',
    ),
    (
        {KIND: "PrometheusMetric", f"{GET}.scheme": "HTTPS"},
        f'{GET}.scheme: found "HTTPS"; allowed: HTTP',
    ),
    (
        {KIND: "PrometheusMetric", f"{GET}.host": "elsewhere"},
        f'{GET}.host: found "elsewhere"; allowed: path and port: the primary container is asked',
    ),
    (
        {KIND: "Custom"},
        f"{CUSTOM}: missing; allowed: a container that prints the metrics, for the collector "
        "Custom",
    ),
    (
        {KIND: "Custom", CUSTOM: {"image": "i"}},
        f"{CUSTOM}.name: missing; allowed: a string",
    ),
    (
        {KIND: "Custom", CUSTOM: SIDE, f"{PATH}.path": "/logs/m.log"},
        f"{PATH}.kind: missing; allowed: File or Directory, for the collector Custom",
    ),
    (
        {KIND: "Custom", CUSTOM: SIDE, PATH: {"kind": "File"}},
        f"{PATH}.path: missing; allowed: an absolute path in the container",
    ),
]


@pytest.mark.parametrize("changes", GOOD, ids=str)
def test_what_katib_accepts_is_accepted(changes: dict[str, Any]) -> None:
    experiment = check_document(changed(changes), "file")
    assert collector_for(experiment.spec).reads_output == (source_for(experiment) is None)


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[message for _, message in BAD])
def test_each_rule_has_one_fault_in_words(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidExperiment) as refused:
        check_document(changed(changes), "file")
    assert [str(fault) for fault in refused.value.faults] == [message]


def test_what_is_left_out_is_as_katib_has_it() -> None:
    def source(kind: str, **more: Any) -> Any:
        return source_for(check_document(changed({KIND: kind, **more}), "file"))

    files = source("File")
    assert isinstance(files, Files)
    assert (files.path, files.folder, files.names) == (
        "/var/log/katib/metrics.log",
        "/var/log/katib",
        "",
    )
    events = source("TensorFlowEvent")
    assert isinstance(events, Files)
    assert (events.path, events.folder) == ("/var/log/katib/tfevent",) * 2
    page = source("PrometheusMetric")
    assert isinstance(page, Endpoint)
    assert (page.path, page.port) == ("/metrics", 8080)
    side = source("Custom", **{CUSTOM: SIDE})
    assert isinstance(side, SideContainer)
    assert side.files is None


def test_the_image_that_copies_files_can_be_chosen() -> None:
    changes = {KIND: "File", "metadata.annotations": {"katibflow/metricsReaderImage": "mirror/x"}}
    chosen = source_for(check_document(changed(changes), "file"))
    plain = source_for(check_document(changed({KIND: "File"}), "file"))
    assert isinstance(chosen, Files)
    assert isinstance(plain, Files)
    assert chosen.image == "mirror/x"
    assert plain.image.startswith("busybox:")


@pytest.mark.parametrize("name", ["val/loss", "validation:loss", "top1@acc%"])
def test_a_name_that_the_default_filter_cannot_read_is_a_fault_with_a_filter_to_paste(
    name: str,
) -> None:
    objective = {"type": "minimize", "objectiveMetricName": name}
    with pytest.raises(InvalidExperiment) as caught:
        check_document(changed({"spec.objective": objective}), "file")
    (fault,) = caught.value.faults
    assert fault.path == "spec.metricsCollectorSpec.source.filter.metricsFormat"
    filters = [fault.allowed.split("- '")[1].removesuffix("'")]
    pasted = {
        "spec.objective": objective,
        "spec.metricsCollectorSpec.source": {"filter": {"metricsFormat": filters}},
    }
    of = check_document(changed(pasted), "file")
    assert collector_for(of.spec).feed(f"{name}=0.5")[0][1].value == 0.5
    for kind in ("Push", "PrometheusMetric", "TensorFlowEvent"):
        check_document(changed({"spec.objective": objective, KIND: kind}), "file")


def test_a_name_that_is_only_watched_is_no_fault() -> None:
    check_document(changed({"spec.objective.additionalMetricNames": ["val/acc"]}), "file")
