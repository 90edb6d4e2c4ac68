"""The Python API's page and its reference, and the files that check commits and releases."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import katibflow
from tests.doubles.kfp.server import KfpServer
from tests.paths import ROOT


@pytest.fixture
def kfp_server() -> Iterator[KfpServer]:
    made = KfpServer()
    yield made
    made.close()


@pytest.mark.long
def test_the_code_of_the_page_runs(tmp_path: Path, kfp_server: KfpServer) -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 8
    blocks[0] = blocks[0].replace('"examples/', f'"{ROOT}/examples/')
    check = (
        "assert result.study.best_params == result.best.params\n"
        "assert len(result.trials) == 6 and failed == []\n"
        "assert list(tune_in_a_pipeline.pipeline_spec.root.dag.tasks) == ['train']\n"
    )
    script = tmp_path / "page.py"
    code = "\n\n".join([*blocks, check]).replace("http://localhost:8080", kfp_server.url)
    script.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "KUBECONFIG": str(tmp_path / "absent")},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,), (nightly,) = kfp_server.runs.values(), kfp_server.recurring.values()
    assert run["runtime_config"]["parameters"] == {"maxTrialCount": "20", "resume": "all"}
    assert nightly["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    lines = done.stdout.splitlines()
    assert f"PENDING {kfp_server.url}/#/runs/details/{run['run_id']}" in lines
    recurring = nightly["recurring_run_id"]
    assert f"{recurring} {kfp_server.url}/#/recurringrun/details/{recurring}" in lines
    assert (tmp_path / "train-pipeline.yaml").is_file()
    assert (tmp_path / "train-controller.yaml").is_file()


def test_the_reference_has_all_that_the_package_offers(tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (modules,) = re.findall(r"^API := \$\(addprefix katibflow\.,(.*)\)$", makefile, re.MULTILINE)
    (command,) = re.findall(r"^\t\$\(BIN\)/pdoc (.*) \$\(API\)$", makefile, re.MULTILINE)
    words = [*command.replace("build/docs", str(tmp_path)).split()]
    done = subprocess.run(
        [sys.executable, "-m", "pdoc", *words, *(f"katibflow.{name}" for name in modules.split())],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Warn" not in done.stderr
    pages = "".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html"))
    documented = set(re.findall(r' id="([\w.]+)"', pages))
    offered = set(katibflow.__all__) - {"__version__", "search"}
    methods = {"Experiment.from_yaml", "Experiment.run", "Experiment.compile"}
    methods |= {
        "Experiment.submit",
        "Experiment.task",
        "Result.best",
        "Run.wait",
        "Run.find",
        "Run.latest",
    }
    methods |= {"Recurring.recurring_run_id", "Recurring.link"}
    assert offered | methods | {"double", "int", "categorical"} <= documented


def test_the_checks_of_a_commit_are_those_of_the_tests() -> None:
    config = ROOT / ".pre-commit-config.yaml"
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (repository,) = yaml.safe_load(config.read_text(encoding="utf-8"))["repos"]
    for hook in repository["hooks"]:
        program = Path(hook["entry"].split()[0])
        assert program.parent == Path(".venv/bin")
        assert Path(sys.executable).with_name(program.name).is_file()


RELEASE = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("tag", "passes"), [("v{}", True), ("v{}.1", False), ("v9.9.9", False)])
def test_a_release_is_of_the_version_that_its_tag_names(tag: str, passes: bool) -> None:
    (step,) = (
        each for each in RELEASE["jobs"]["build"]["steps"] if "version" in each.get("name", "")
    )
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=ROOT,
        env={"GITHUB_REF_NAME": tag.format(katibflow.__version__), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode == 0) is passes


def test_a_release_publishes_only_what_passed_the_tests() -> None:
    commands = [step.get("run") for step in RELEASE["jobs"]["build"]["steps"]]
    assert commands.index("make test") < commands.index(".venv/bin/python -m build")
    assert {job["needs"] for name, job in RELEASE["jobs"].items() if name != "build"} == {"build"}
