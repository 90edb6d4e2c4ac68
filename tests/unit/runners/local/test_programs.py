"""Which files of this machine are the trials' programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from katibflow.runners.local.host import Host
from katibflow.runners.local.paths import PathMap
from katibflow.runners.local.programs import program_files


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    files = {
        "train.py": "import os\nimport helper\nfrom model.net import Net\n",
        "helper.py": "from model import net\n",
        "model/__init__.py": "",
        "model/net.py": "from . import layers\n",
        "model/layers.py": "import train\n",
        "unused.py": "",
        "run.sh": "python train.py\n",
        "tool": "#!/bin/sh\n",
        "data.csv": "1,2\n",
        "broken.py": "def (\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


IMPORTED = {"train.py", "helper.py", "model/__init__.py", "model/net.py", "model/layers.py"}


def job(words: list[str], **container: Any) -> dict[str, Any]:
    main = {"name": "main", "image": "i", "command": words, **container}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {"template": {"spec": {"containers": [main]}}},
    }


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["python3", "train.py", "--lr=${trialParameters.lr}"], IMPORTED),
        (["python3", "-m", "train"], IMPORTED),
        (["sh", "-c", "cd . && python3 helper.py; ./tool"], (IMPORTED - {"train.py"}) | {"./tool"}),
        (["sh", "run.sh"], {"run.sh"}),
        (["python3", "broken.py", "--data=data.csv"], {"broken.py"}),
        (["python3", "absent.py", "\0"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_scripts_and_what_they_import_of_their_project(
    project: Path, words: list[str], names: set[str]
) -> None:
    found = set(program_files(job(words, workingDir=str(project)), Host()))
    expected = names | ({"train.py"} if names & {"helper.py"} else set())
    assert found == expected


def test_a_mapped_script_has_the_name_that_the_command_gives_it(project: Path) -> None:
    manifest = job(["python3"], args=["/opt/code/train.py"])
    found = program_files(manifest, Host(maps=(PathMap("/opt/code", project),)))
    assert set(found) == {f"/opt/code/{name}" for name in IMPORTED}


def test_a_changed_module_has_another_hash_and_a_moved_project_the_same(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = program_files(job(["python3", "train.py"], workingDir=str(project)), Host())
    moved = tmp_path_factory.mktemp("moved") / "project"
    project.rename(moved)
    after = program_files(job(["python3", "train.py"], workingDir=str(moved)), Host())
    assert after == before
    (moved / "model/net.py").write_text("from . import layers\nx = 1\n")
    changed = program_files(job(["python3", "train.py"], workingDir=str(moved)), Host())
    assert [name for name in before if before[name] != changed[name]] == ["model/net.py"]
