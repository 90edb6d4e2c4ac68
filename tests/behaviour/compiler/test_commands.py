"""The command of a step: what it installs, and that KFP's executor runs the function."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from katibflow.compiler.commands import carried_command, own_command
from katibflow.compiler.emit import compile_experiment
from katibflow.compiler.library import CARRIED, carried_modules
from katibflow.steps.files import LIBRARY, write_study
from katibflow.study.history import History
from tests.shell_trials import experiment

SOURCE = '''
import kfp
from kfp import dsl
from kfp.dsl import *
from typing import *

def count(text: str, least: int = 1) -> List[str]:
    """Text."""
    # why
    return [text] * max(least, 2)
'''
GIVEN = {"parameterValues": {"text": "a $HOME \"b\" 'c'", "least": 1}}
COUNTED = ["a $HOME \"b\" 'c'"] * 2

Maker = Callable[[Sequence[str], str], list[str]]

MAKERS: Mapping[str, Maker] = {
    "carried": partial(carried_command, "count", "study"),
    "own": partial(own_command, SOURCE),
}


@pytest.fixture(params=list(MAKERS.values()), ids=list(MAKERS))
def made(request: pytest.FixtureRequest) -> Maker:
    """Makes a command of either kind."""
    maker: Maker = request.param
    return maker


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study's folder, at a path with spaces, whose library holds the component `count`."""
    packages = ("katibflow/__init__.py", "katibflow/components/__init__.py")
    return packed(
        tmp_path, {**dict.fromkeys(packages, ""), "katibflow/components/count.py": SOURCE}
    )


def packed(folder: Path, files: Mapping[str, str]) -> Path:
    study = folder / "a folder" / "the study"
    study.mkdir(parents=True)
    with zipfile.ZipFile(study / LIBRARY, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return study


def run(
    command: list[str], folder: Path, study: Path, given: Mapping[str, Any], function: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command with what KFP's launcher puts into it."""
    folder.joinpath("katibflow.py").write_text('raise ImportError("not the one in the library")')
    folder.joinpath("cwd").mkdir()
    output = {"name": "text", "uri": str(folder / "text"), "type": {"schemaTitle": "x"}}
    executor_input = {
        "inputs": dict(given),
        "outputs": {
            "parameters": {
                name: {"outputFile": str(folder / name)} for name in ("Output", "reason")
            },
            "artifacts": {"text": {"artifacts": [output]}} if "artifacts" in given else {},
            "outputFile": str(folder / "executor_output.json"),
        },
    }
    placeholder = "{{$.inputs.artifacts['study'].path}}"
    filled = [str(study) if part == placeholder else part for part in command]
    arguments = ["--executor_input", json.dumps(executor_input), "--function_to_execute", function]
    environment = {
        "TMPDIR": str(folder),
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": str(folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    return subprocess.run(
        [*filled, *arguments],
        cwd=folder / "cwd",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def returned(folder: Path) -> Any:
    told = json.loads((folder / "executor_output.json").read_text(encoding="utf-8"))
    return told["parameterValues"]["Output"]


class TestBoth:
    def test_with_an_image_nothing_is_installed(self, made: Maker) -> None:
        shell, options, script, *_ = made([], "")
        assert (shell, options) == ("sh", "-ec")
        assert "pip" not in script

    def test_packages_are_installed_and_kfp_without_what_it_requires(self, made: Maker) -> None:
        script = made(["a==1", "b>=2,<3", "c[d]"], "kfp==2")[2]
        first, second, *_ = script.split(";")
        assert first == "python3 -m pip install -q a==1 'b>=2,<3' 'c[d]'"
        assert second == "echo kfp==2|python3 -m pip install -q --no-deps -r /dev/stdin"

    def test_kfp_alone_where_nothing_else_is_needed(self, made: Maker) -> None:
        assert made([], "kfp==2")[2].count("pip install") == 1

    def test_runs_the_function_with_what_is_installed(
        self, made: Maker, study: Path, tmp_path: Path
    ) -> None:
        """Pip itself is asked, for what is here already."""
        here = f"kfp=={importlib.metadata.version('kfp')}"
        pyyaml = f"PyYAML=={importlib.metadata.version('PyYAML')}"
        done = run(made([pyyaml], here), tmp_path, study, GIVEN, "count")
        assert done.returncode == 0, done.stderr
        assert returned(tmp_path) == COUNTED

    @pytest.mark.parametrize("packages", [["none-of-this-name==1"], []], ids=["package", "kfp"])
    def test_runs_nothing_when_something_cannot_be_installed(
        self, made: Maker, study: Path, tmp_path: Path, packages: list[str]
    ) -> None:
        done = run(made(packages, "kfp==0.0.0"), tmp_path, study, GIVEN, "count")
        assert done.returncode != 0
        assert "No matching distribution" in done.stderr
        assert not (tmp_path / "executor_output.json").exists()


class TestCarried:
    def test_is_short_and_says_whose_code_it_runs(self) -> None:
        assert carried_command("count", "before", [], "")[3:] == [
            "{{$.inputs.artifacts['before'].path}}",
            "count",
        ]
        assert len("".join(carried_command("count", "before", [], ""))) < 300

    def test_differs_between_components_in_their_name_and_input_only(self) -> None:
        commands = [carried_command(name, "study", ["a==1"], "kfp==2")[:-1] for name in CARRIED]
        assert commands[1:] == commands[:-1]

    def test_runs_a_component_from_the_library_and_no_other_katibflow(self, tmp_path: Path) -> None:
        study = packed(tmp_path, carried_modules())
        write_study(str(study), History(experiment("echo loss=1"), "00000000", 1))
        artifact = {"name": "study", "uri": str(study), "type": {"schemaTitle": "system.Artifact"}}
        given = {"artifacts": {"study": {"artifacts": [artifact]}}}
        done = run(carried_command("loop", "study", [], ""), tmp_path, study, given, "loop")
        assert done.returncode == 0, done.stderr
        assert returned(tmp_path) is True
        assert "another round, of 3 trials at most" in done.stdout

    def test_without_a_library_runs_what_the_image_has(self, tmp_path: Path) -> None:
        components = tmp_path / "katibflow" / "components"
        components.mkdir(parents=True)
        (components / "count.py").write_text(SOURCE, encoding="utf-8")
        (components / "__init__.py").touch()
        (components.parent / "__init__.py").touch()
        done = run(MAKERS["carried"]([], ""), tmp_path, tmp_path / "none", GIVEN, "count")
        assert done.returncode == 0, done.stderr
        assert returned(tmp_path) == COUNTED


class TestOwn:
    def test_what_people_read_is_left_out(self) -> None:
        source = own_command(SOURCE, [], "")[3]
        assert source == (
            "from typing import *\nfrom kfp.dsl import *\n"
            "def count(text: str, least: int=1) -> List[str]:\n"
            "    return [text] * max(least, 2)"
        )

    @pytest.mark.parametrize("name", ["start", "finish", "best"])
    def test_a_component_s_source_has_all_its_names(self, name: str) -> None:
        text = compile_experiment(experiment("echo loss=1"), is_part=True).text
        executors = next(yaml.safe_load_all(text))["deploymentSpec"]["executors"]
        source = executors[f"exec-{name}"]["container"]["command"][3]
        names: dict[str, Any] = {}
        exec(compile(source, "step.py", "exec"), names)
        assert names[name].__name__ == name
