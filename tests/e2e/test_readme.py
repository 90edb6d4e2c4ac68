"""Every command and file that the README shows, in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from _pytest.mark import ParameterSet

from katibflow.experiment.job_kinds import KINDS
from katibflow.suggestion.algorithms import ALGORITHMS
from tests.paths import ROOT
from tests.warm import client as warm

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PYTHON = [block for language, block in BLOCKS if language == "python"]
CONSOLE = [block for language, block in BLOCKS if language == "console"]
COMMANDS = [line[2:] for block in CONSOLE for line in block.splitlines() if line.startswith("$ ")]
CLUSTER = ".venv/bin/katibflow run examples/mnist.yaml --on kubernetes --namespace kubeflow"
SUBMIT = ".venv/bin/katibflow submit examples/mnist.yaml --host http://localhost:8080"
SUBMIT_TO_ARGO = ".venv/bin/katibflow submit examples/mnist.yaml --to argo"
SEED, FEWER = "run examples/seed.yaml", " --max-trials 4"
"""The seed's twelve trials, of two processes each, take minutes: `test_the_seed_runs_whole`."""
RUN_ELSEWHERE = {
    "make test": "the suite itself",
    "python3 -m pip install .": "tests/lint/test_wheel.py",
    "python3 -m pip install '.[kfp]'": "tests/lint/test_wheel.py",
    ".venv/bin/katibflow dashboard runs/mnist-pytorch": "tests/behaviour/test_dashboard.py",
    CLUSTER: "tests/behaviour/kubernetes/test_cli_on_kubernetes.py",
    SUBMIT: "tests/behaviour/kfp/test_docs_kfp.py",
    SUBMIT_TO_ARGO: "tests/behaviour/argo/test_docs_argo.py",
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the repository's files with the environment that runs the tests as .venv."""
    folder = tmp_path_factory.mktemp("checkout") / "katibflow"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() or (ROOT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    (folder / ".venv").symlink_to(sys.prefix)
    yield folder
    shutil.rmtree(folder)


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def marked(command: str) -> ParameterSet:
    is_long = "benchmarks/" in command or command == "make demo"
    return pytest.param(command, marks=pytest.mark.long if is_long else ())


@pytest.mark.parametrize("command", [marked(c) for c in COMMANDS if c not in RUN_ELSEWHERE])
def test_command_runs_and_prints_what_the_readme_shows(checkout: Path, command: str) -> None:
    if command == "make demo" and not (ROOT / ".venv" / "installed").exists():
        pytest.skip("only where make install made the environment: it would install one here")
    if " run " in command:  # the command above it, should this one be tested alone
        assert run(".venv/bin/python trial_image/make_digits.py", checkout).returncode == 0
    done = run(command + (FEWER if SEED in command else ""), checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = next(block for block in CONSOLE if f"$ {command}\n" in block)
    expected = shown.split(f"$ {command}\n")[1].split("$ ")[0]
    assert expected in done.stdout
    if " run " in command or command == "make demo":
        assert re.search(r"^best trial: \d+, loss=0\.\d+$", done.stdout, re.MULTILINE)
    if command == "make demo":
        (text,) = (block for language, block in BLOCKS if "best trial" in block)
        wanted = re.sub(r"[\d.]+(?=\n)|\d+(?=,)", "<number>", text)
        assert wanted in re.sub(r"[\d.]+(?=\n)|\d+(?=,)", "<number>", done.stdout)
        assert (checkout / "runs/mnist/report.html").is_file()


@pytest.mark.long
def test_the_seed_runs_whole(checkout: Path) -> None:
    (command,) = (each for each in COMMANDS if SEED in each)
    assert run(".venv/bin/python trial_image/make_digits.py", checkout).returncode == 0
    done = run(f"{command} --fresh", checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 trials ended, maxTrialCount is 12" in done.stdout


def test_the_files_of_a_run_are_where_the_readme_says(checkout: Path) -> None:
    run_command = next(each for each in COMMANDS if "katibflow run" in each)
    assert run(".venv/bin/python trial_image/make_digits.py", checkout).returncode == 0
    assert run(run_command + FEWER, checkout).returncode == 0
    files = re.findall(r"^\| `(runs/\S+)` \|", README, re.MULTILINE)
    assert len(files) == 4
    for name in files:
        assert (checkout / name).is_file(), name


def test_ci_runs_the_test_command_and_lint_and_nothing_else() -> None:
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    assert script == ["#!/usr/bin/env bash", "set -e", "make test", "make lint"]
    assert "make test" in COMMANDS


def test_the_experiment_shown_is_part_of_the_seed() -> None:
    (shown,) = (yaml.safe_load(block) for language, block in BLOCKS if language == "yaml")
    assert is_part(shown, yaml.safe_load((ROOT / "examples" / "seed.yaml").read_text()))


def is_part(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return all(key in whole and is_part(value, whole[key]) for key, value in part.items())
    if isinstance(part, list):
        return all(any(is_part(item, other) for other in whole) for item in part)
    return bool(part == whole)


def test_links_lead_to_files() -> None:
    places = re.findall(r"\]\(([^)]+)\)", README)
    local = [place for place in places if not place.startswith("https://")]
    assert len(local) >= 3
    assert [place for place in local if not (ROOT / place.partition("#")[0]).is_file()] == []


def test_options_named_in_the_text_exist() -> None:
    named = set(re.findall(r"`(--[a-z-]+)", README))
    helped = "".join(
        warm.run(command, "--help", env={**os.environ, "COLUMNS": "200"}).stdout
        for command in ("run", "validate", "compile", "submit", "report", "dashboard")
    )
    assert named
    assert [option for option in sorted(named) if option not in helped] == []


def test_every_algorithm_and_kind_is_named() -> None:
    kinds = {kind.kind for kind in KINDS.values()}
    assert [name for name in {*ALGORITHMS, *kinds} if f"`{name}`" not in README] == []


def test_the_pipeline_s_parameters_are_named() -> None:
    documents = list(yaml.safe_load_all((ROOT / "compiled" / "mnist.yaml").read_text()))
    parameters = documents[0]["root"]["inputDefinitions"]["parameters"]
    assert [name for name in parameters if f"`{name}`" not in README] == []


def test_the_python_shown_runs(tmp_path: Path) -> None:
    code, _ = PYTHON
    script = tmp_path / "shown.py"  # a file: the source of a function is read from there
    script.write_text(code, encoding="utf-8")
    done = run(f"{sys.executable} {script}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\{'lr': [\d.e-]+, 'layers': \d\} -\d\.\d+$", done.stdout, re.MULTILINE)


@pytest.mark.long
def test_the_python_shown_has_the_right_types(tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(PYTHON[0], encoding="utf-8")
    command = f"{sys.executable} -m mypy --strict --follow-imports=silent shown.py"
    done = run(f"MYPYPATH={ROOT} {command} --cache-dir {ROOT}/.mypy_cache", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pipeline_shown_compiles(tmp_path: Path) -> None:
    _, code = PYTHON
    compiling = "from kfp import compiler; compiler.Compiler().compile(tune_and_train, 'x.yaml')"
    (tmp_path / "shown.py").write_text(f"{code}\n\n{compiling}\n", encoding="utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    done = run(f"{sys.executable} shown.py", tmp_path)
    assert done.returncode == 0, done.stderr
    tasks = next(yaml.safe_load_all((tmp_path / "x.yaml").read_text()))["root"]["dag"]["tasks"]
    assert set(tasks) == {"mnist", "train"}


def test_every_example_is_named() -> None:
    named = set(re.findall(r"^\| \[(examples/[\w.-]+)\]", README, re.MULTILINE))
    assert named == {f"examples/{path.name}" for path in (ROOT / "examples").iterdir()}
