"""The packed library works alone, with no more packages than each step installs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from components import start as component
from katibflow.compiler.library import carried_modules, pack_library
from tests.shell_trials import ROOM, document

ROOT = Path(__file__).parent.parent.parent

_STEPS = """
import json, sys
sys.path[:0] = [sys.argv[1]]
sys.path.append(sys.argv[2])
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED:
            raise ImportError(f"{name} is not installed here")
REFUSED = {"kfp", "kubernetes", "optuna", "plotly", "numpy", "scipy", "psutil", "re2"}
sys.meta_path.insert(0, Refused())
from katibflow import steps
assert steps.__file__.startswith(sys.argv[1]), steps.__file__
text, folder = sys.stdin.read(), sys.argv[3]
counts = {"name": "alone", "parallelTrialCount": "2", "maxTrialCount": "2"}
mark, room = sys.argv[4], int(sys.argv[5])
steps.start(text, counts, "rounds", "some-run", mark, room, f"{folder}/study")
REFUSED.remove("optuna"); REFUSED.remove("numpy")
items = steps.suggestion(f"{folder}/study")
REFUSED |= {"optuna", "numpy"}
for name in [name for name in sys.modules if name.split(".")[0] in REFUSED]:
    del sys.modules[name]
outcomes, logs = [], {}
for item in items:
    trial = json.loads(item)
    logs[trial["number"]] = f"{folder}/log-{trial['number']}"
    with open(logs[trial["number"]], "w") as log:
        log.write(f"loss={trial['number']}.5\\n")
    ended = {"trial": trial, "state": "SUCCEEDED", "end": "2026-01-01T00:00:00+00:00"}
    outcomes.append(json.dumps(ended))
told = steps.collector(f"{folder}/study", outcomes, logs, f"{folder}/next")
print(json.dumps([told, *steps.loop(f"{folder}/next", f"{folder}/text")]))
try:
    steps.launcher(f"{folder}/study", items[0], f"{folder}/log")
except SystemExit as error:
    print(error)
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive as `start` writes it: the component's own source, run as it stands."""
    path = tmp_path_factory.mktemp("library") / "library.zip"
    source = Path(component.__file__).read_text(encoding="utf-8")
    unpacking = source[
        source.index("        text = found[1]") : source.index("    sys.path.insert")
    ]
    imports = "import base64, bz2, zipfile\nif True:\n"
    given = {"archive": str(path), "found": ["", pack_library().text]}
    exec(imports + unpacking, given)
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
    lines = done.stdout.splitlines()
    told = json.loads(next(line for line in lines if line.startswith("[{")))
    assert told == [
        {"display_name": "study after round 1"},
        False,
        "ExperimentMaxTrialsReached: 2 trials ended, maxTrialCount is 2",
        {"display_name": "round 1"},
    ]
    # Trials on this machine are for laptops, where the library is installed.
    assert "pip install katibflow==" in lines[-1]


def test_kubernetes_runner_is_in_it_and_can_be_imported(archive: Path) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:2]; sys.path.append(sys.argv[2])\n"
        "from katibflow.runners import kubernetes; print(kubernetes.__file__)"
    )
    done = _alone(code, str(archive))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(archive))


def test_every_module_in_it_imports_only_what_is_in_it(archive: Path) -> None:
    """At the top of a module, all of them in one go; packages are those of the steps."""
    code = (
        "import importlib, sys, zipfile\n"
        "sys.path[:0] = sys.argv[1:2]; sys.path.append(sys.argv[2])\n"
        "for name in zipfile.ZipFile(sys.argv[1]).namelist():\n"
        "    module = name.removesuffix('.py').replace('/', '.').removesuffix('.__init__')\n"
        "    assert importlib.import_module(module).__file__.startswith(sys.argv[1])\n"
    )
    done = _alone(code, str(archive))
    assert done.returncode == 0, done.stderr


def test_it_holds_what_steps_in_a_cluster_can_reach_and_no_more(archive: Path) -> None:
    held = set(zipfile.ZipFile(archive).namelist())
    assert held == set(carried_modules())
    assert all((ROOT / name).is_file() for name in held)
    for name in ("steps/__init__", "runners/kubernetes", "algorithms/pbt", "plots", "engine"):
        assert f"katibflow/{name}.py" in held
    for part in ("runners/local", "cli/", "client/", "compiler/", "dashboard", "api.py"):
        assert not [name for name in held if name.startswith(f"katibflow/{part}")]


def test_each_module_in_it_is_plain(archive: Path) -> None:
    files = zipfile.ZipFile(archive)
    for name, text in carried_modules().items():
        assert files.read(name).decode() == text
        assert len(text) < len((ROOT / name).read_text(encoding="utf-8")) or not text
