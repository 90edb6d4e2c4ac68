"""Runs a compiled pipeline file in kfp.local, in a process and a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from katibflow.steps.files import read_study
from katibflow.study.history import History

SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
from kfp import components, local
from kfp.local.pip_install_manager import pip_install_manager
local.init(local.SubprocessRunner(use_venv=False), pipeline_root="out", raise_on_error=True)
# Without it, a step that names packages keeps all others waiting until it has ended.
pip_install_manager.configure(serialize_installs=False, max_concurrent=2)
components.load_component_from_file(sys.argv[1])(**json.loads(sys.argv[2]))
"""


NO_PIP = str(Path(__file__).parent / "no_pip")
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([NO_PIP, os.environ.get("PYTHONPATH", "")])}
"""Makes the steps' pip do nothing: all is installed here, and asking takes a second each time."""

_LAST_STEPS = ("collector", "controller")


@dataclass(frozen=True)
class Run:
    """What a pipeline run left behind."""

    folder: Path
    code: int
    log: str

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def root(self) -> Path:
        (root,) = (self.folder / "out").iterdir()
        return root

    @property
    def study(self) -> History:
        """The study of the last round, or of the controller."""
        (folder,) = (self.root / name / "study" for name in self._steps if name in _LAST_STEPS)
        return read_study(str(folder))

    @property
    def _steps(self) -> list[str]:
        return [folder.name for folder in self.root.iterdir()]

    def outputs(self, step: str) -> dict[str, Any]:
        """A step's output parameters, of the last round that ran it."""
        folder = self.root / step
        returned = json.loads((folder / "executor_output.json").read_text(encoding="utf-8"))
        files = {
            file.name: file
            for file in folder.iterdir()
            if file.is_file() and file.suffix != ".json"
        }
        written = {
            name: file.read_text(encoding="utf-8")
            for name, file in files.items()
            if name not in returned.get("artifacts", {})
        }
        return {**written, **returned.get("parameterValues", {})}

    def metrics(self, step: str) -> dict[str, float]:
        """What a step put into its Metrics."""
        path = self.root / step / "executor_output.json"
        artifacts = json.loads(path.read_text(encoding="utf-8"))["artifacts"]
        metadata: dict[str, float] = artifacts["metrics"]["artifacts"][0]["metadata"]
        return metadata

    def shown(self, step: str) -> dict[str, str]:
        """What the UI calls a step's artifacts; by default they are called what they are named."""
        text = (self.root / step / "executor_output.json").read_text(encoding="utf-8")
        return {
            name: listed["artifacts"][0]["metadata"].get("display_name", name)
            for name, listed in json.loads(text)["artifacts"].items()
        }

    def count(self, step: str) -> int:
        """How often a step was executed."""
        return sum(f"Executing task \x1b[96m'{step}'" in line for line in self.log.splitlines())


def run_pipeline(
    folder: Path,
    text: str,
    arguments: Mapping[str, str] | None = None,
    maps: Sequence[str] = (),
    timeout: float = 900,
) -> Run:
    """Runs a compiled file's text to its end."""
    file = folder / "pipeline.yaml"
    file.write_text(text, encoding="utf-8")
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "KATIBFLOW_RUNNER": "local",
        "KATIBFLOW_RUNS": str(folder / "runs"),
        "KATIBFLOW_MAPS": os.pathsep.join(maps),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(file), json.dumps(dict(arguments or {}))],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    return Run(folder, done.returncode, done.stdout)
