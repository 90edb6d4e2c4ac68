"""A compiled Workflow runs: goal, limits, failure, resume, retry, and the ways to end it."""

from __future__ import annotations

import itertools
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from katibflow.compiler.argo.emit import ArgoOptions, compile_workflow
from katibflow.compiler.argo.objects import Kind
from katibflow.experiment import job_kinds
from katibflow.runners.kubernetes.rbac import role, steps_role
from katibflow.validation.reading import read_experiment
from tests.behaviour.steps.test_finish import kubeconfig
from tests.doubles.argo import Engine, in_processes, started
from tests.doubles.kubernetes.plays import JobPlay, Script, completes
from tests.doubles.kubernetes.server import ApiServer
from tests.doubles.service_account import service_account
from tests.e2e.kfp_local import NO_PIP
from tests.samples import SEED_FILE
from tests.shell_trials import experiment

LAYOUTS = ("rounds", "controller")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """An API that allows what the shipped Roles allow, and refuses all else."""
    kinds = [kind for kind in job_kinds.KINDS.values() if kind.kind in ("Job", "PyTorchJob")]
    made = ApiServer([*role(kinds, "trials")["rules"], *steps_role()["rules"]])
    made.script = numbered()
    environment = {**kubeconfig(tmp_path, made), **service_account(tmp_path, made)}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    yield made
    made.down()


def numbered(exit_code: int = 0) -> Script:
    """Trial 0 reports 0.9, trial 1 reports 0.8, and so on."""

    def script(play: JobPlay) -> None:
        if exit_code:
            (pod,) = play.pods()
            pod.running()
            pod.exit(exit_code)
            play.condition("Failed", "BackoffLimitExceeded")
        else:
            completes([f"loss=0.{9 - play.number}"])(play)

    return script


def engine(
    folder: Path,
    server: ApiServer,
    layout: str,
    changes: Mapping[str, Any] | None = None,
    **more: Any,
) -> Engine:
    counts = {"spec.parallelTrialCount": 2, "spec.maxTrialCount": 4, **(changes or {})}
    compiled = compile_workflow(
        experiment("", counts), ArgoOptions(Kind.WORKFLOW), image="i", layout=layout
    )
    return Engine(server, compiled.text, folder, **more)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_seeds_file_runs_from_a_template(
    tmp_path: Path, server: ApiServer, layout: str
) -> None:
    seed = read_experiment(SEED_FILE)
    names = [seed.spec.objective.objective_metric_name]
    names += seed.spec.objective.additional_metric_names or []
    server.script = completes([f"{name}=0.5" for name in names])
    compiled = compile_workflow(seed, ArgoOptions(), image="i", layout=layout)
    run = Engine(server, compiled.text, tmp_path, parameters={"maxTrialCount": "4"})
    assert run.run()
    assert run.result()["trials"] == {"COMPLETE": 4}
    assert run.result()["succeeded"] is True


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_goal_ends_it(tmp_path: Path, server: ApiServer, layout: str) -> None:
    run = engine(tmp_path, server, layout, {"spec.objective.goal": 0.8, "spec.maxTrialCount": 9})
    assert run.run()
    result = run.result()
    assert (result["reason"], result["best"]["objective"]) == ("ExperimentGoalReached", 0.8)
    assert run.outputs["onExit"]["summary"].startswith("ExperimentGoalReached: ")
    if layout == "rounds":
        assert run.pods == [
            "experiment[0].start",
            "experiment[1].round[0].suggestion",
            "experiment[1].round[1].launcher(0)",
            "experiment[1].round[1].launcher(1)",
            "experiment[1].round[2].decision",
            "onExit",
        ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_failed_trials_are_data_until_there_are_too_many(
    tmp_path: Path, server: ApiServer, layout: str
) -> None:
    server.script = numbered(exit_code=3)
    run = engine(tmp_path, server, layout, {"spec.maxFailedTrialCount": 1})
    assert run.run()  # the Workflow did what it had to
    assert run.result()["reason"] == "ExperimentFailed"
    assert run.result()["succeeded"] is False


def test_a_later_run_resumes_from_the_jobs_alone(tmp_path: Path, server: ApiServer) -> None:
    first = engine(tmp_path / "1", server, "rounds", {"spec.maxTrialCount": 2})
    assert first.run()
    later = {"resume": "all", "maxTrialCount": "+2"}
    server.delete("workflows", first.name)
    second = engine(tmp_path / "2", server, "rounds", parameters=later)
    assert second.run()
    assert second.result()["trials"] == {"COMPLETE": 4}
    assert server.count("create", "jobs") == 4


def test_a_wrong_parameter_fails_it_and_is_named_in_the_result(
    tmp_path: Path, server: ApiServer
) -> None:
    run = engine(tmp_path, server, "rounds", parameters={"maxTrialCount": "many"})
    assert not run.run()
    assert 'maxTrialCount: found "many"' in run.result()["message"]
    assert server.count("create", "jobs") == 0


def test_without_the_right_to_read_its_workflow_a_step_names_the_role(
    tmp_path: Path, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert server.rules is not None
    server.rules = [rule for rule in server.rules if "argoproj.io" not in rule["apiGroups"]]
    run = engine(tmp_path, server, "controller")
    with pytest.raises(Exception, match="onExit"):
        run.run()
    assert "403: Forbidden; on 403 let the service account" in capsys.readouterr().err


class Held:
    """Processes of pods whose trials go on until they are let go."""

    def __init__(self, server: ApiServer) -> None:
        self.gate = threading.Event()
        self.running = threading.Event()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.jobs = 0
        server.script = self._script

    def _script(self, play: JobPlay) -> None:
        self.jobs += 1
        (pod,) = play.pods()
        pod.running()
        self.running.set()
        self.gate.wait(30)
        pod.log("loss=0.5")
        pod.exit()
        play.condition("Complete")

    def execute(self, command: list[str], environment: dict[str, str]) -> int:
        self.processes.append(started(command, environment))
        return self.processes[-1].wait()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["Terminate", pytest.param("Stop", marks=pytest.mark.long)])
def test_shut_down_it_leaves_no_job(tmp_path: Path, server: ApiServer, strategy: str) -> None:
    held = Held(server)
    run = engine(tmp_path, server, "controller", {"spec.maxTrialCount": 2}, execute=held.execute)
    ended = []
    thread = threading.Thread(target=lambda: ended.append(run.run()))
    thread.start()
    assert held.running.wait(30)
    run.shut_down(strategy)
    held.processes[0].send_signal(signal.SIGTERM)
    thread.join(30)
    assert ended == [False]
    assert held.processes[0].returncode == 128 + signal.SIGTERM
    assert ("onExit" in run.pods) is (strategy == "Stop")
    jobs = server.objects["jobs"].values()
    assert jobs and all(job["spec"]["suspend"] for job in jobs)
    assert not server.objects["pods"]


@pytest.mark.slow
def test_a_killed_step_is_tried_again_and_adopts_its_job(tmp_path: Path, server: ApiServer) -> None:
    held = Held(server)
    run = engine(
        tmp_path,
        server,
        "controller",
        {"spec.parallelTrialCount": 1, "spec.maxTrialCount": 1},
        execute=held.execute,
    )
    ended = []
    thread = threading.Thread(target=lambda: ended.append(run.run()))
    thread.start()
    assert held.running.wait(30)
    held.processes[0].send_signal(signal.SIGKILL)
    held.gate.set()
    thread.join(60)
    assert ended == [True]
    assert run.pods == ["experiment", "experiment", "onExit"]
    assert run.result()["trials"] == {"COMPLETE": 1}
    assert server.count("create", "jobs") == 2  # the second one is refused: it is there
    assert held.jobs == 1


def test_retry_runs_only_what_failed(tmp_path: Path, server: ApiServer) -> None:
    run = engine(tmp_path, server, "rounds", {"spec.maxTrialCount": 2})
    right, calls = run.execute, itertools.count()

    def execute(command: list[str], environment: dict[str, str]) -> int:
        return 1 if 3 <= next(calls) < 7 else right(command, environment)

    run.execute = execute
    assert not run.run()  # the second launcher failed as often as it may
    assert run.pods.count("experiment[1].round[1].launcher(1)") == 4
    before = len(run.pods)
    assert run.run()
    assert run.pods[before:] == [
        "experiment[1].round[1].launcher(1)",
        "experiment[1].round[2].decision",
        "onExit",
    ]
    assert run.result()["trials"] == {"COMPLETE": 2}


@pytest.mark.long
def test_the_packed_library_runs_in_real_processes(
    tmp_path: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", NO_PIP)
    text = compile_workflow(
        experiment("", {"spec.parallelTrialCount": 2, "spec.maxTrialCount": 4}),
        ArgoOptions(),
        layout="rounds",
    ).text
    run = Engine(server, text, tmp_path, execute=in_processes)
    assert run.run()
    assert run.result()["trials"] == {"COMPLETE": 4}
