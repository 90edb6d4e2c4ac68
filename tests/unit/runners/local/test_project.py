"""Which folder a relative command is read in, and what of it is not here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from katibflow.runners.local.project import absent_paths, project_of, relative_script


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("train.py", "src/main.py", "json.py", "run.sh", "my train.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "is_in"),
    [
        (["python", "train.py", "--lr=1"], True),
        (["python", "-u", "src/main.py"], True),
        (["torchrun", "--nproc_per_node=2", "./train.py"], True),
        (["./run.sh"], True),
        (["python", "my train.py"], True),
        (["sh", "-c", "python 'my train.py' --lr=1"], True),
        (["python", "-m", "src.main"], True),
        (["python", "-m", "json.tool"], False),
        (["sh", "-c", "python train.py --lr=1"], True),
        (["sh", "-c", "cd /opt && python train.py"], False),
        (["python", "/opt/train.py", "--data", "src"], False),
        (["python", "other.py"], False),
    ],
)
def test_the_folder_that_holds_the_program_is_the_commands(
    project: Path, words: list[str], is_in: bool
) -> None:
    found = project_of({"command": words[:1], "args": words[1:]}, [project / "absent", project])
    assert found == (project if is_in else None)


def test_a_working_folder_of_the_template_stays(project: Path) -> None:
    container: dict[str, Any] = {"command": ["python", "train.py"], "workingDir": "/opt"}
    assert project_of(container, [project]) is None
    assert relative_script(container) is None


@pytest.mark.parametrize(
    ("words", "script"),
    [
        (["python", "a/b.py", "c.py"], "a/b.py"),
        (["sh", "-c", "python b.py"], None),
        (["python", "-m", "a", "b.py"], None),
        (["python", "/opt/b.py"], None),
    ],
)
def test_a_script_by_a_relative_path_is_found(words: list[str], script: str | None) -> None:
    assert relative_script({"command": words}) == script


def test_paths_that_lead_nowhere_are_named(project: Path) -> None:
    words = ["python", "train.py", "--data=/no/such/dir", "x.csv", "src/main.py", "--lr=0.1"]
    words += ["https://example.com/a.csv", "sh", "-c", "cat a.csv"]
    assert absent_paths(words, project) == ["/no/such/dir", "x.csv"]
