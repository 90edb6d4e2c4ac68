"""The compiled `start`, run as in a cluster: it gets the library from the run's own Workflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from katibflow.compiler.emit import compile_experiment
from katibflow.compiler.library import carried_files, pack_library
from katibflow.compiler.requirements import PACKAGES
from katibflow.steps.files import HISTORY, LIBRARY, read_study
from katibflow.steps.installing import pinned
from katibflow.steps.run_parameters import parameters_of
from katibflow.study.resume import run_name
from tests.behaviour.steps.test_finish import kubeconfig
from tests.doubles.kubernetes.server import NAMESPACE, ApiServer
from tests.doubles.service_account import service_account
from tests.e2e.kfp_local import NO_PIP
from tests.e2e.workflows import implementations, workflow
from tests.shell_trials import experiment

RUN = "0a1b2c3d-0000-4000-8000-000000000000"
OTHER = "ffffffff-0000-4000-8000-000000000000"
TRIED = experiment("echo loss=1")
LISTS = {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["list"]}


@dataclass(frozen=True)
class Done:
    """How the step ended, and what it wanted to be installed."""

    code: int
    out: str
    study: Path
    told: dict[str, Any]
    asked_for: list[list[str]]


@pytest.fixture(scope="module")
def compiled() -> str:
    return compile_experiment(TRIED, layout="rounds").text


@pytest.fixture
def server() -> Iterator[ApiServer]:
    made = ApiServer(rules=[LISTS])
    yield made
    made.down()


def start(folder: Path, server: ApiServer, text: str, run: str = RUN) -> Done:
    """Runs the step's command with what KFP's launcher gives it.

    The only katibflow that Python finds by itself cannot be imported, and pip writes down what it
    is asked for, as all of that is here.
    """
    (folder / "katibflow.py").write_text('raise ImportError("not the library carried along")')
    spec = next(yaml.safe_load_all(text))
    task = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]["start"]
    given = task["inputs"]["parameters"]
    inputs = {
        name: body["runtimeValue"]["constant"]
        for name, body in given.items()
        if "runtimeValue" in body
    }
    study = folder / "study"
    artifact = {"name": "study", "uri": str(study), "type": {"schemaTitle": "system.Artifact"}}
    executor_input = {
        "inputs": {"parameterValues": {**inputs, **parameters_of(TRIED), "run": run}},
        "outputs": {
            "artifacts": {"study": {"artifacts": [artifact]}},
            "outputFile": str(folder / "executor_output.json"),
        },
    }
    container = spec["deploymentSpec"]["executors"]["exec-start"]["container"]
    arguments = [
        json.dumps(executor_input) if each == "{{$}}" else each for each in container["args"]
    ]
    environment = {
        **os.environ,
        **kubeconfig(folder, server),
        **service_account(folder, server),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([NO_PIP, str(folder)]),
        "ASKED_FOR": str(folder / "asked_for"),
    }
    del environment["KATIBFLOW_RUNNER"]
    done = subprocess.run(
        [*container["command"], *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    output = folder / "executor_output.json"
    asked = folder / "asked_for"
    return Done(
        done.returncode,
        done.stdout,
        study,
        json.loads(output.read_text(encoding="utf-8")) if output.is_file() else {},
        [json.loads(line) for line in asked.read_text().splitlines()] if asked.is_file() else [],
    )


def test_the_library_comes_from_the_runs_own_workflow(
    tmp_path: Path, server: ApiServer, compiled: str
) -> None:
    other = {"implementations-1": f'"{pack_library().mark}:' + 'nothing to unpack"'}
    server.put("workflows", workflow("another", OTHER, other), "ADDED")
    server.put("workflows", workflow("own", RUN, implementations(compiled)), "ADDED")
    done = start(tmp_path, server, compiled)
    assert done.code == 0, done.out
    assert {file.name for file in done.study.iterdir()} == {HISTORY, LIBRARY}
    archive = zipfile.ZipFile(done.study / LIBRARY)
    held = {name: archive.read(name).decode() for name in archive.namelist()}
    assert held == carried_files()
    history = read_study(str(done.study))
    assert history.run == run_name(RUN)
    assert history.experiment == TRIED
    assert history.most_rounds
    assert f"sample: random, 3 trials at a time, at most 6 trials, run {run_name(RUN)}" in done.out
    (study,) = done.told["artifacts"]["study"]["artifacts"]
    assert study["metadata"] == {"display_name": "study at the start"}
    (asked,) = server.requests
    assert (asked.verb, asked.resource) == ("list", "workflows")
    assert asked.query == {"labelSelector": f"pipeline/runid={RUN}"}
    kfp, packages = done.asked_for
    assert kfp == ["install", "-q", "--no-deps", "-r", "/dev/stdin", *pinned(["kfp"])]
    assert packages[:4] == ["install", "-q", "--require-hashes", "-r"]
    assert packages[5:] == pinned(PACKAGES["start"])


def test_without_leave_to_list_workflows_it_says_what_to_grant_or_use(
    tmp_path: Path, server: ApiServer, compiled: str
) -> None:
    server.rules = [{**LISTS, "resources": ["pods"]}]
    server.put("workflows", workflow("own", RUN, implementations(compiled)), "ADDED")
    done = start(tmp_path, server, compiled)
    assert done.code != 0
    assert f"Workflow in namespace {NAMESPACE}, cannot be read: HTTP Error 403" in done.out
    assert "let the run's service account list workflows.argoproj.io" in done.out
    assert "--image or --package" in done.out
    assert not (done.study / HISTORY).exists()


@pytest.mark.parametrize("holding", [None, "katibflow-0.0.1-0123456789ab"], ids=["none", "older"])
def test_without_its_own_library_it_says_so(
    tmp_path: Path, server: ApiServer, compiled: str, holding: str | None
) -> None:
    if holding is not None:
        mark = pack_library().mark
        parameters = {
            name: value.replace(mark, holding) for name, value in implementations(compiled).items()
        }
        server.put("workflows", workflow("own", RUN, parameters), "ADDED")
    done = start(tmp_path, server, compiled)
    assert done.code != 0
    assert f"found {int(holding is not None)} Workflows of run {RUN}" in done.out
    assert f"in none of them {pack_library().mark}" in done.out
    assert "compile with --image or --package" in done.out


def test_with_an_image_nothing_is_asked_of_the_cluster(tmp_path: Path, server: ApiServer) -> None:
    text = compile_experiment(TRIED, layout="rounds", image="i").text
    done = start(tmp_path, server, text)
    assert server.requests == []
    # The image has the library; what this Python finds was made to fail.
    assert "not the library carried along" in done.out
    assert done.asked_for == []
