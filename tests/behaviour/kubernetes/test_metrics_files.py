"""Tests the containers that are added to a pod to read its metrics, and their scripts."""

from __future__ import annotations

import base64
import copy
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from katibflow.collectors.prometheus import ChangedSamples
from katibflow.collectors.sources import Endpoint, Files, SideContainer
from katibflow.collectors.tfevent import EVENT_FILES, EventFiles
from katibflow.errors import InputError
from katibflow.runners.kubernetes.metrics_registry import add_source
from katibflow.runners.kubernetes.metrics_sidecar import COPY_STEP, READER
from katibflow.runners.kubernetes.metrics_sources import _Copies, _Lines
from tests.behaviour.collectors.event_files import event, record, simple
from tests.doubles.kubernetes.lab import batch_job, container, pod_template, pytorch_job

FILE = Files("/var/log/katib/metrics.log", image="busybox")
EVENTS = Files("/logs", EVENT_FILES, EventFiles, "busybox")


def pod_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return spec


def with_file(*containers: Mapping[str, Any], source: Files = FILE, **spec: Any) -> dict[str, Any]:
    body = copy.deepcopy(batch_job(pod_template(*containers, **spec)))
    add_source(body, source, "main")
    return pod_of(body)


class TestReader:
    def test_a_file_is_seen_through_an_empty_volume(self) -> None:
        pod = with_file()
        (reader,) = pod["initContainers"]
        mount = {"name": READER, "mountPath": "/var/log/katib"}
        assert pod["volumes"] == [{"name": READER, "emptyDir": {}}]
        assert pod["containers"][0]["volumeMounts"] == [mount]
        assert reader["volumeMounts"] == [{**mount, "readOnly": True}]
        assert (reader["image"], reader["restartPolicy"]) == ("busybox", "Always")

    def test_it_comes_after_the_templates_own_init_containers(self) -> None:
        pod = with_file(initContainers=[container("download")])
        assert [item["name"] for item in pod["initContainers"]] == ["download", READER]

    def test_it_needs_no_rights(self) -> None:
        (reader,) = with_file()["initContainers"]
        assert reader["securityContext"] == {
            "runAsUser": 65534,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }

    @pytest.mark.parametrize(
        ("pod", "main", "user", "group"),
        [
            ({"runAsUser": 7, "runAsGroup": 8, "fsGroup": 9}, {}, 7, 8),
            ({"runAsUser": 7}, {"runAsUser": 5}, 5, None),
            ({}, {"runAsUser": 0}, 0, None),
        ],
    )
    def test_it_is_the_user_that_writes(
        self, pod: dict[str, Any], main: dict[str, Any], user: int, group: int | None
    ) -> None:
        spec = with_file(container(securityContext=main), securityContext=pod)
        context = spec["initContainers"][0]["securityContext"]
        assert (context["runAsUser"], context.get("runAsGroup")) == (user, group)
        assert context.get("runAsNonRoot") is (True if user else None)
        assert "fsGroup" not in context

    @pytest.mark.parametrize("path", ["/var/log/katib", "/var/log/katib/", "/var/log", "/"])
    def test_a_volume_that_is_there_already_is_used(self, path: str) -> None:
        mount = {"name": "data", "mountPath": path, "subPath": "x"}
        other = {"name": "other", "mountPath": "/var/log/katib2"}
        pod = with_file(container(volumeMounts=[other, mount]))
        assert "volumes" not in pod
        assert pod["containers"][0]["volumeMounts"] == [other, mount]
        assert pod["initContainers"][0]["volumeMounts"] == [{**mount, "readOnly": True}]

    def test_the_nearest_of_several_volumes_is_used(self) -> None:
        mounts = [{"name": name, "mountPath": path} for name, path in (("a", "/var"), ("b", "/"))]
        (reader,) = with_file(container(volumeMounts=mounts))["initContainers"]
        assert reader["volumeMounts"][0]["name"] == "a"

    def test_a_file_in_the_root_folder_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"fileSystemPath\.path: found a file in /; allowed"):
            with_file(source=Files("/metrics.log"))

    def test_only_the_first_replica_gets_it(self) -> None:
        body = copy.deepcopy(pytorch_job(workers=2))
        body["spec"]["pytorchReplicaSpecs"]["Worker"] = copy.deepcopy(
            body["spec"]["pytorchReplicaSpecs"]["Worker"]
        )
        add_source(body, FILE, "main")
        replicas = body["spec"]["pytorchReplicaSpecs"]
        assert "initContainers" in replicas["Master"]["template"]["spec"]
        assert "initContainers" not in replicas["Worker"]["template"]["spec"]

    def test_a_kind_that_is_not_known_is_searched_for_its_pod(self) -> None:
        pod = {"spec": {"containers": [container("side")]}}
        main = {"spec": {"containers": [container()]}}
        body = {
            "apiVersion": "example.com/v1",
            "kind": "Spark",
            "spec": {"parts": [{"template": pod}, {"template": main}]},
        }
        add_source(body, FILE, "main")
        assert "initContainers" not in pod["spec"]
        assert main["spec"]["initContainers"][0]["name"] == READER

    def test_an_object_without_the_pod_is_refused(self) -> None:
        body = {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "spec": {}}
        with pytest.raises(InputError, match=r"allowed for a TrainJob.* StdOut and Push"):
            add_source(body, FILE, "node")


class TestOthers:
    def test_the_port_is_told_to_the_primary_container(self) -> None:
        def env(given: list[dict[str, str]]) -> list[dict[str, str]]:
            body = copy.deepcopy(batch_job(pod_template(container(env=given))))
            add_source(body, Endpoint("/m", 9000, partial(ChangedSamples, ())), "main")
            found: list[dict[str, str]] = pod_of(body)["containers"][0]["env"]
            return found

        port = {"name": "KATIBFLOW_METRICS_PORT", "value": "9000"}
        assert env([]) == [port]
        own = {"name": "KATIBFLOW_METRICS_PORT", "value": "1"}
        assert env([own]) == [own]

    def test_a_side_container_sees_processes_and_files(self) -> None:
        body = copy.deepcopy(batch_job())
        add_source(body, SideContainer(container("side", image="i"), FILE), "main")
        main, side = pod_of(body)["containers"]
        assert side["volumeMounts"] == main["volumeMounts"]
        assert pod_of(body)["shareProcessNamespace"] is True

    def test_two_containers_of_a_name_are_refused(self) -> None:
        with pytest.raises(InputError, match=r"customCollector\.name: found \"main\""):
            add_source(copy.deepcopy(batch_job()), SideContainer(container()), "main")


@pytest.fixture(params=["sh", "busybox"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Returns PATH with a shell and its tools: this machine's, or only BusyBox's."""
    if request.param == "sh":
        return os.environ["PATH"]
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("BusyBox is not installed")
    folder = tmp_path / "bin"
    folder.mkdir()
    subprocess.run([busybox, "--install", "-s", str(folder)], check=True)
    return str(folder)


class Reader:
    """The container that copies files, as a process."""

    def __init__(self, source: Files, path: str) -> None:
        (container,) = with_file(source=source)["initContainers"]
        self.process = subprocess.Popen(
            container["command"],
            executable=shutil.which("sh", path=path),
            env={"PATH": path, "POD": "uid-1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.lines: Iterator[str] = (line.rstrip("\n") for line in self.process.stdout)
        assert next(self.lines) == "katibflow-metrics of uid-1"

    def end(self) -> list[str]:
        self.process.send_signal(signal.SIGTERM)
        rest = list(self.lines)
        assert self.process.wait(5) == 0
        self.process.stdout.close()  # type: ignore[union-attr]
        return rest


class TestScripts:
    def test_a_file_is_followed_and_read_to_its_end(self, path: str, tmp_path: Path) -> None:
        file = tmp_path / "m.log"
        reader = Reader(Files(str(file)), path)
        file.write_text("one\n")
        assert next(reader.lines) == "one"
        with file.open("a") as log:
            log.write("two\nthr")
        assert next(reader.lines) == "two"
        with file.open("a") as log:
            log.write("ee\n" + "x" * 20_000 + "\nlast")
        assert reader.end() == ["three", "x" * 20_000, "last"]

    def test_a_file_written_anew_is_read_anew(self, path: str, tmp_path: Path) -> None:
        file = tmp_path / "m.log"
        file.write_text("one\ntwo\n")
        reader = Reader(Files(str(file)), path)
        assert [next(reader.lines), next(reader.lines)] == ["one", "two"]
        (tmp_path / "new").write_text("three\n")
        (tmp_path / "new").replace(file)
        assert next(reader.lines) == "three"
        file.write_text("4\n")
        assert reader.end() == ["4"]

    def test_a_file_that_never_comes_ends_as_well(self, path: str, tmp_path: Path) -> None:
        assert Reader(Files(str(tmp_path / "m.log")), path).end() == []
        assert Reader(Files(str(tmp_path / "x"), EVENT_FILES, EventFiles), path).end() == []

    def test_files_are_copied_byte_by_byte(self, path: str, tmp_path: Path) -> None:
        folder = tmp_path / "a folder"
        contents = {
            "x.tfevents.1": os.urandom(3 * COPY_STEP + 17),
            "sub/with space.tfevents": os.urandom(COPY_STEP),
            "sub/empty.tfevents": b"",
        }
        for name, data in contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        (folder / "checkpoint").write_bytes(b"no")
        source = Files(str(folder), EVENT_FILES, EventFiles)
        reader = Reader(source, path)
        first = [next(reader.lines) for _ in range(5)]
        more = os.urandom(100)
        with (folder / "x.tfevents.1").open("ab") as file:
            file.write(more)
        contents["x.tfevents.1"] += more
        lines = first + reader.end()
        assert max(map(len, lines)) < 16_000
        copied = dict.fromkeys(contents, b"")
        for line in lines:
            offset, text, name = line.split(" ", 2)
            assert int(offset) == len(copied[name])
            copied[name] += base64.b64decode(text)
        assert copied == contents


HEAD, OTHER = f"{READER} of uid-1", f"{READER} of uid-2"


class TestReading:
    def test_a_reader_that_is_started_again_repeats_nothing(self) -> None:
        lines = _Lines(FILE)
        fed = [HEAD, "1", "2", HEAD, "1", "2", "3", HEAD, "1", "2", "3", "4", OTHER, "1"]
        assert [text for line in fed for text in lines.feed(line)] == ["1", "2", "3", "4", "1"]
        assert list(lines.account()) == []

    def test_copies_that_come_again_are_passed_over(self) -> None:
        data = record(event(simple("loss", 0.5))) + record(event(simple("loss", 0.25)))
        cut = len(data) // 2 + 3

        def line(start: int, end: int) -> str:
            return f"{start} {base64.b64encode(data[start:end]).decode()} a file"

        copies = _Copies(EVENTS)
        fed = [HEAD, line(0, cut), HEAD, line(0, len(data)), line(0, cut), "noise", "7 !! x"]
        told = [text for each in fed for text in copies.feed(each)]
        assert ['"value": 0.5' in text for text in told] == [True, False]
        assert (
            len([text for each in (OTHER, line(0, len(data))) for text in copies.feed(each)]) == 2
        )

    def test_what_never_came_is_explained(self) -> None:
        assert list(_Lines(FILE).account()) == [
            "there is no file /var/log/katib/metrics.log in the primary container, or it is empty"
        ]
        assert list(_Copies(EVENTS).account()) == [
            "there is no file *tfevents* in /logs, or all are empty"
        ]
