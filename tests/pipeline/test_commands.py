"""The command of a step: what it installs, and that KFP's executor runs the function."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import os
import subprocess
from pathlib import Path

import pytest

from components.suggestion import suggestion
from katibflow.compiler.commands import step_command

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


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {
        "inputs": {"parameterValues": {"text": "a $HOME \"b\" 'c'", "least": 1}},
        "outputs": {
            "parameters": {"Output": {"outputFile": str(folder / "Output")}},
            "outputFile": str(folder / "executor_output.json"),
        },
    }
    arguments = ["--executor_input", json.dumps(given), "--function_to_execute", "count"]
    return subprocess.run(
        [*command, *arguments],
        env={**os.environ, "TMPDIR": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


class TestStepCommand:
    def test_with_an_image_nothing_is_installed(self) -> None:
        _, options, script, _ = step_command(SOURCE, [], "")
        assert options == "-ec"
        assert "pip" not in script

    def test_packages_are_installed_and_kfp_without_what_it_requires(self) -> None:
        script = step_command(SOURCE, ["a==1", "b>=2,<3", "c[d]"], "kfp==2")[2]
        first, second, *_ = script.split("; ")
        assert first == "python3 -m pip install -q a==1 'b>=2,<3' 'c[d]'"
        assert second == "python3 -m pip install -q --no-deps kfp==2"

    def test_kfp_alone_where_nothing_else_is_needed(self) -> None:
        assert step_command(SOURCE, [], "kfp==2")[2].count("pip install") == 1

    def test_what_people_read_is_left_out(self) -> None:
        source = step_command(SOURCE, [], "")[3]
        assert source == (
            "from kfp import dsl\nfrom typing import *\n"
            "def count(text: str, least: int=1) -> List[str]:\n"
            "    return [text] * max(least, 2)\n"
        )

    def test_a_component_s_own_source_has_all_its_names(self) -> None:
        source = step_command(inspect.getsource(suggestion), [], "")[3]
        compile(source, "step.py", "exec")


class TestRuns:
    def test_the_function_with_what_is_installed(self, tmp_path: Path) -> None:
        """Pip itself is asked, for what is here already."""
        here = f"kfp=={importlib.metadata.version('kfp')}"
        pyyaml = f"PyYAML=={importlib.metadata.version('PyYAML')}"
        done = run(step_command(SOURCE, [pyyaml], here), tmp_path, PIP_NO_INDEX="1")
        assert done.returncode == 0, done.stderr
        told = json.loads((tmp_path / "executor_output.json").read_text(encoding="utf-8"))
        assert told["parameterValues"]["Output"] == ["a $HOME \"b\" 'c'"] * 2

    @pytest.mark.parametrize("packages", [["none-of-this-name==1"], []], ids=["package", "kfp"])
    def test_not_when_something_cannot_be_installed(
        self, tmp_path: Path, packages: list[str]
    ) -> None:
        command = step_command(SOURCE, packages, "kfp==0.0.0")
        done = run(command, tmp_path, PIP_NO_INDEX="1")
        assert done.returncode != 0
        assert "No matching distribution" in done.stderr
        assert not (tmp_path / "executor_output.json").exists()
