"""The verbs on a run of ``--on kubernetes`` without its folder, as from another machine."""

from __future__ import annotations

import json
import os
import shlex
import threading
from pathlib import Path

import pytest

from katibflow.handles import registry
from tests.behaviour.kubernetes.test_cli_on_kubernetes import start
from tests.doubles.kfp.lab import katibflow
from tests.doubles.kubernetes.lab import EXPERIMENT, Lab
from tests.doubles.kubernetes.plays import JobPlay
from tests.paths import ROOT
from tests.processes import finish

PAGE = (ROOT / "docs" / "runs.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line.removeprefix("$ "))
    for line in PAGE.splitlines()
    if line.startswith("$ ") and "--on kubernetes" in line
]


@pytest.fixture(autouse=True)
def another_machine(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without runs; only the kubeconfig leads to them."""
    for name in list(os.environ):
        if name.startswith("KF_PIPELINES_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KUBECONFIG", str(lab.kubeconfig()))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


def test_a_run_is_found_shown_and_stopped_by_its_jobs(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, over = threading.Semaphore(0), threading.Event()

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.log(f"loss=0.{play.number + 1}")
        if play.number == 0:
            pod.exit()
            play.condition("Complete", "CompletionsReached")
        else:
            begun.release()
            over.wait(60)

    lab.server.script = script
    process = start(lab, tmp_path)
    try:
        for _ in range(3):
            assert begun.acquire(timeout=60)
        done = katibflow("list", "--on", "kubernetes", "--json")
        assert done.code == 0, done.err
        (listed,) = json.loads(done.out)["runs"]
        assert (listed["name"], listed["on"]) == (EXPERIMENT, "kubernetes")
        assert (listed["state"], listed["trials"]) == ("RUNNING", {"COMPLETE": 1, "RUNNING": 3})
        by_id = katibflow("show", listed["run"][:5], "--on", "kubernetes")
        assert "best trial: 0, loss=0.1" in by_id.out
        said = {}
        for _, verb, *words in COMMANDS:
            done = katibflow(verb, *(EXPERIMENT if word == "mnist" else word for word in words))
            assert (done.code, done.err) == (0, ""), words
            said[verb] = done.out
        assert EXPERIMENT in said["list"]
        assert "best trial: 0, loss=0.1" in said["show"]
        assert said["best"].startswith("lr=")
        assert said["logs"].splitlines()[1:] == ["loss=0.4"]
        assert f"{EXPERIMENT}: 3 jobs were stopped" in said["stop"]
        code, out, err = finish(process)
    finally:
        over.set()
        process.kill()
    assert (code, err) == (1, "")
    assert "Interrupted: the run was stopped from another machine; the same command goes on" in out
    assert len(lab.server.objects["jobs"]) == 4  # none was begun in their place
    (listed,) = json.loads(katibflow("list", "--on", "kubernetes", "--json").out)["runs"]
    assert listed["state"] == "INTERRUPTED"
    sources = {name: registry.SOURCES[name] for name in ("local", "kubernetes")}
    monkeypatch.setattr(registry, "SOURCES", sources)  # to ask for no Kubeflow Pipelines
    here = katibflow("list", "--runs", str(tmp_path / "runs"), "--json")
    assert [each["on"] for each in json.loads(here.out)["runs"]] == ["local"]  # once, not twice
