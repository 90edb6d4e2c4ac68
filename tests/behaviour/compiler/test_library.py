"""The packed library works alone, with no more packages than each step installs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from unittest.mock import patch

import pytest

from katibflow.compiler.library import CARRIED, carried_files, carried_modules, pack_library
from katibflow.components.unpacking import unpack_library
from tests.paths import ROOT
from tests.shell_trials import ROOM, document

_STEPS = """
import json, sys
sys.path[:0] = [sys.argv[1]]
sys.path.append(sys.argv[2])
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED:
            raise ImportError(f"{name} is not installed here")
REFUSED = {"kfp", "kubernetes", "optuna", "plotly", "numpy", "scipy", "psutil", "re2", "jinja2"}
sys.meta_path.insert(0, Refused())
from types import SimpleNamespace
from katibflow import steps
assert steps.__file__.startswith(sys.argv[1]), steps.__file__
text, folder = sys.stdin.read(), sys.argv[3]
def output(name):
    return SimpleNamespace(path=f"{folder}/{name}", metadata={})
counts = {"name": "alone", "parallelTrialCount": "2", "maxTrialCount": "2"}
mark, room = sys.argv[4], int(sys.argv[5])
study = output("study")
steps.start(text, counts, "rounds", "some-run", mark, room, study)
REFUSED.remove("optuna"); REFUSED.remove("numpy")
items = steps.suggestion(study.path)
REFUSED |= {"optuna", "numpy"}
for name in [name for name in sys.modules if name.split(".")[0] in REFUSED]:
    del sys.modules[name]
from katibflow.study.history import Observation, TrialState
from katibflow.steps import launching
from katibflow.steps.files import read_study, write_study
from katibflow.steps.messages import read_item
from dataclasses import replace
history = read_study(study.path)
seen = {"loss": Observation(0.5, 0.5, 0.5)}
trials = [
    replace(read_item(item, history), state=TrialState.COMPLETE, observations=seen)
    for item in items
]
write_study(study.path, replace(history.with_trials(trials), rounds=1))
shown = output("text")
print(json.dumps([steps.loop(study.path, shown, f"{folder}/reason"), shown.metadata]))
print(open(f"{folder}/reason").read())
try:
    steps.launcher(study.path, items[0], output("log"))
except SystemExit as error:
    print(error)
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive as the steps write it."""
    path = tmp_path_factory.mktemp("library") / "library.zip"
    with patch.object(sys, "path", [*sys.path]):
        unpack_library(pack_library().text, str(path))
    return path


def _alone(code: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Python without the packages of this machine; where they are is the second argument."""
    packages = sysconfig.get_paths()["purelib"]
    archive, *more = arguments
    return subprocess.run(
        [sys.executable, "-S", "-E", "-c", code, archive, packages, *more],
        cwd="/",
        input=text,
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("KATIBFLOW")},
        check=False,
    )


def test_steps_run_from_it_alone_with_no_more_than_they_install(
    archive: Path, tmp_path: Path
) -> None:
    mark, text = pack_library().mark, json.dumps(document("echo loss=1"))
    done = _alone(_STEPS, str(archive), str(tmp_path), mark, str(ROOM), text=text)
    assert done.returncode == 0, done.stderr
    *_, looped, reason, refused = done.stdout.splitlines()
    assert json.loads(looped) == [False, {"display_name": "round 1"}]
    assert reason == "ExperimentMaxTrialsReached: 2 trials ended, maxTrialCount is 2"
    # Trials on this machine are for laptops, where the library is installed.
    assert "pip install katibflow==" in refused


def test_kubernetes_runner_is_in_it_and_can_be_imported(archive: Path) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:2]; sys.path.append(sys.argv[2])\n"
        "from katibflow.runners import kubernetes; print(kubernetes.__file__)"
    )
    done = _alone(code, str(archive))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(archive))


def test_every_module_in_it_imports_only_what_is_in_it(archive: Path) -> None:
    """At the top of a module, all of them in one go; packages are those of the steps.

    A step's own code, in `components`, comes from there too.
    """
    code = (
        "import importlib, sys, zipfile\n"
        "sys.path[:0] = sys.argv[1:2]; sys.path.append(sys.argv[2])\n"
        "for name in zipfile.ZipFile(sys.argv[1]).namelist():\n"
        "    if not name.endswith('.py'): continue\n"
        "    module = name.removesuffix('.py').replace('/', '.').removesuffix('.__init__')\n"
        "    assert importlib.import_module(module).__file__.startswith(sys.argv[1])\n"
        "    if module.startswith('katibflow.components.'):\n"
        "        name = module.rpartition('.')[2]\n"
        "        assert callable(getattr(sys.modules[module], name)), name\n"
    )
    done = _alone(code, str(archive))
    assert done.returncode == 0, done.stderr


def test_it_holds_what_steps_in_a_cluster_can_reach_and_no_more(archive: Path) -> None:
    held = set(zipfile.ZipFile(archive).namelist())
    assert held == set(carried_files())
    assert held - set(carried_modules()) == {
        f"katibflow/report/{name}"
        for name in ("page.html.j2", "script.js", "style.css", "table.js")
    } | {"katibflow/steps/pins.json"}
    assert all((ROOT / name).is_file() for name in held)
    for name in (
        "components/loop",
        "engine/loop",
        "report/plots",
        "runners/kubernetes/runner",
        "steps/__init__",
        "suggestion/algorithms/pbt",
    ):
        assert f"katibflow/{name}.py" in held
    components = {name for name in held if name.startswith("katibflow/components/")}
    assert components == {f"katibflow/components/{name}.py" for name in ("__init__", *CARRIED)}
    for part in ("runners/local/", "runs/", "cli/", "client/", "compiler/", "api/"):
        assert not [name for name in held if name.startswith(f"katibflow/{part}")]


def test_each_module_in_it_is_plain(archive: Path) -> None:
    files = zipfile.ZipFile(archive)
    for name, text in carried_modules().items():
        assert files.read(name).decode() == text
        assert len(text) < len((ROOT / name).read_text(encoding="utf-8")) or not text
