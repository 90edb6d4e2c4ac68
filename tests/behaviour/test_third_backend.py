"""A third place to run trials takes one folder and one line, and is then like the others.

The package is copied, the folder ``tests/doubles/plain`` put into it as ``runners/plain``, and one
line added to the registry. All that follows runs in that copy.
"""

from __future__ import annotations

import difflib
import filecmp
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.doubles import plain
from tests.paths import ROOT
from tests.shell_trials import ROOM, document

FOLDER = Path(plain.__file__).parent
LINE = '    "plain": "katibflow.runners.plain.backend",\n'
ONE_AT_A_TIME = "mkdir busy && sleep 0.2 && rmdir busy && echo loss=$X"
"""Fails where two trials run at a time."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the package stands with the third backend in it."""
    top = tmp_path_factory.mktemp("third")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "katibflow", top / "katibflow", ignore=ignored)
    shutil.copytree(FOLDER, top / "katibflow" / "runners" / "plain", ignore=ignored)
    registry = top / "katibflow" / "runners" / "backends.py"
    before, mark = registry.read_text(encoding="utf-8"), '.kubernetes.backend",\n'
    assert before.count(mark) == 1
    registry.write_text(before.replace(mark, mark + LINE), encoding="utf-8")
    return top


def different(left: Path, right: Path) -> list[str]:
    """Files and folders that are not the same in both."""
    compared = filecmp.dircmp(left, right, ignore=["__pycache__"])
    own = [*compared.left_only, *compared.right_only, *compared.diff_files, *compared.funny_files]
    within = (
        f"{name}/{each}"
        for name in compared.common_dirs
        for each in different(left / name, right / name)
    )
    return sorted([*own, *within])


def test_it_took_one_folder_and_one_line(copy: Path) -> None:
    left, right = ROOT / "katibflow", copy / "katibflow"
    assert different(left, right) == ["runners/backends.py", "runners/plain"]
    texts = [
        (each / "runners" / "backends.py").read_text().splitlines(True) for each in (left, right)
    ]
    changed = [line for line in difflib.ndiff(*texts) if line[0] in "+-"]
    assert changed == [f"+ {LINE}"]


def python(
    copy: Path, *words: str | Path, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(copy), **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def write(folder: Path, script: str, changes: Mapping[str, Any] | None = None) -> str:
    (folder / "experiment.yaml").write_text(yaml.safe_dump(document(script, changes)))
    return "experiment.yaml"


def test_an_experiment_runs_there_with_its_own_option(copy: Path, tmp_path: Path) -> None:
    file = write(tmp_path, ONE_AT_A_TIME)
    command = ("-m", "katibflow", "run", file, "--on", "plain", "--json")
    done = python(copy, *command, "--workers", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"] == {"COMPLETE": 6}
    folder = tmp_path / "runs" / "sample"
    assert len(list(folder.glob("trials/*/main.log"))) == 6
    assert (folder / "plain.jsonl").exists() and (folder / "report.html").exists()
    again = python(copy, *command, cwd=tmp_path)
    assert json.loads(again.stdout) == json.loads(done.stdout)
    shutil.rmtree(tmp_path / "runs")
    crowded = python(copy, *command, "--workers", "3", cwd=tmp_path)
    assert json.loads(crowded.stdout)["trials"]["FAIL"] > 0


def test_a_stopped_trial_leaves_no_process(copy: Path, tmp_path: Path) -> None:
    goal = {"spec.objective.goal": 1000, "spec.maxTrialCount": 2, "spec.parallelTrialCount": 2}
    pids = f"echo $$ >> {tmp_path}/pids; mkdir first 2>/dev/null || exec sleep 600"
    waits = f'while [ "$(wc -l < {tmp_path}/pids)" -lt 2 ]; do sleep 0.05; done; echo loss=1'
    file = write(tmp_path, f"{pids}; {waits}", goal)
    command = ("-m", "katibflow", "run", file, "--on", "plain", "--workers", "2", "--json")
    done = python(copy, *command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["reason"], told["trials"]) == (
        "ExperimentGoalReached",
        {"COMPLETE": 1, "KILLED": 1},
    )
    for pid in (tmp_path / "pids").read_text().split():
        assert not psutil.pid_exists(int(pid))


SAID = """
import contextlib, io, json, sys
from katibflow.cli.app import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["katibflow", *words]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            status = ended.code
    print(json.dumps([status, out.getvalue(), err.getvalue()]))
"""
REFUSED = {
    "one.yaml --workers 2": "--workers: found 2; allowed: only with --on plain",
    "one.yaml --on plain --namespace team": (
        "--namespace: found team; allowed: only with --on kubernetes"
    ),
    "one.yaml --on plain --map /a=.": "--map: found /a=.; allowed: only with --on local",
    "one.yaml --on plain --workers 0": "--workers: found 0; allowed: a number above 0",
    "parallel.yaml --on plain": (
        "spec.trialTemplate.trialSpec.spec.parallelism: found 2; allowed: 1, as a subprocess"
    ),
    "one.yaml --on moon": '--on: found "moon"; allowed: local, kubernetes, plain',
}


def test_what_does_not_fit_it_is_refused_and_help_tells_of_it(copy: Path, tmp_path: Path) -> None:
    parallel = {"spec.trialTemplate.trialSpec.spec.parallelism": 2}
    for name, changes in {"one.yaml": {}, "parallel.yaml": parallel}.items():
        (tmp_path / write(tmp_path, "touch ran", changes)).rename(tmp_path / name)
    asked = [["run", *words.split()] for words in REFUSED]
    # One process for all: its imports take longer than all answers.
    done = python(
        copy,
        *("-c", SAID, json.dumps([*asked, ["run", "--help"]])),
        cwd=tmp_path,
        env={"COLUMNS": "300"},
    )
    *answers, (status, text, _) = map(json.loads, done.stdout.splitlines())
    for (words, says), (code, out, err) in zip(REFUSED.items(), answers, strict=True):
        assert (code, out) == (2, ""), words
        assert says in err, words
    assert {path.name for path in tmp_path.iterdir()} == {"one.yaml", "parallel.yaml"}
    assert status == 0
    text = " ".join(text.split())
    assert "Where trials run: processes here, or jobs in a cluster, or bare subprocesses." in text
    assert "How many trials run at a time. Only with --on plain." in text


API = """
import json, sys
from katibflow import Experiment
experiment = Experiment.from_yaml(sys.argv[1])
result = experiment.run(on="plain", workers=1, progress=False)
print(len(result.trials), result.succeeded)
try:
    experiment.run(on="plain", threads=1)
except Exception as error:
    print(error)
"""


@pytest.mark.long
def test_python_takes_its_option(copy: Path, tmp_path: Path) -> None:
    done = python(copy, "-c", API, write(tmp_path, ONE_AT_A_TIME), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ran, refused = done.stdout.splitlines()
    assert ran == "6 True"
    said, _, allowed = refused.partition("; allowed: ")
    assert said == "threads: found a keyword that run does not take"
    assert {"on", "maps", "namespace", "context", "resume", "workers"} <= {*allowed.split(", ")}


STEPS = """
import json, sys
from types import SimpleNamespace
from katibflow import steps
text, room, run = sys.argv[1], int(sys.argv[2]), sys.argv[3]
output = lambda name: SimpleNamespace(path=f"{run}-{name}", metadata={})
counts = {"parallelTrialCount": "2", "maxTrialCount": "+2", "resume": "all"}
study, after = output("study"), output("after")
steps.start(text, counts, "rounds", run, "", room, study)
ended = [steps.launcher(study.path, item, output("log")) for item in steps.suggestion(study.path)]
print("ENDED", json.dumps(ended))
steps.collector(study.path, ended, after)
print("LOOP", steps.loop(after.path, output("text"), "reason"))
outputs = [output(name) for name in ("page", "markdown", "metrics")]
steps.report(study.path, *outputs, f"{run}-best", f"{run}-result")
"""
JOB = json.dumps({"trialSpec": {"apiVersion": "batch/v1", "kind": "Job"}})
FINISH = """
import json, sys
from types import SimpleNamespace
from katibflow.components.finish import finish
names = ("study", "page", "text", "metrics", "logs")
made = {name: SimpleNamespace(path=f"end-{name}", metadata={}) for name in names}
given = json.loads(sys.argv[2])
finish(**made, run=sys.argv[1], status=SimpleNamespace(state="COMPLETE"), **given)
"""


@pytest.mark.long
def test_a_pipelines_steps_run_there_and_find_earlier_trials(copy: Path, tmp_path: Path) -> None:
    env = {"KATIBFLOW_RUNNER": "plain", "PLAIN_RUNS": str(tmp_path / "runs")}
    text = json.dumps(document("echo loss=$X"))
    for run, numbers in (("first", [0, 1]), ("second", [2, 3])):
        done = python(copy, "-c", STEPS, text, str(ROOM), run, cwd=tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        lines = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line[:1].isupper())
        assert json.loads(lines["ENDED"]) == [f"{n} COMPLETE TrialSucceeded" for n in numbers]
        assert lines["LOOP"] == "False"
        result = json.loads((tmp_path / f"{run}-result").read_text())
        assert result["trials"] == {"COMPLETE": len(numbers) + numbers[0]}


def test_finish_ends_what_still_runs_there(copy: Path, tmp_path: Path) -> None:
    env = {"KATIBFLOW_RUNNER": "plain", "PLAIN_RUNS": str(tmp_path / "runs")}
    text = json.dumps(document("echo started; exec sleep 600"))
    step = subprocess.Popen(
        [sys.executable, "-c", STEPS, text, str(ROOM), "first"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(copy), **env},
        stdout=subprocess.PIPE,
        text=True,
    )
    with step:
        try:
            assert step.stdout is not None
            assert any("started" in line for line in step.stdout)
            (pid,) = (file.read_text() for file in (tmp_path / "runs").glob("*/*.pid"))
            given = {"name": "sample", "document": "", "packages": "", "job": JOB}
            given |= {"layout": "rounds", "library": "", "room": ROOM}
            words = (FINISH, "first", json.dumps(given))
            done = python(copy, "-c", *words, cwd=tmp_path, env=env)
            assert done.returncode == 0, done.stderr
            assert any(
                line.startswith("trial 0: FAIL ExitCode exit code -9") for line in step.stdout
            )
        finally:
            step.kill()
    assert not psutil.pid_exists(int(pid))
