"""The image behind `--image`: what can be known of it without a container engine."""

from __future__ import annotations

import configparser
import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.paths import ROOT

DOCKERFILE = ROOT / "components" / "Dockerfile"
IGNORED = Path(f"{DOCKERFILE}.dockerignore").read_text(encoding="utf-8").splitlines()


def _instructions() -> list[tuple[str, str]]:
    """Each instruction with what follows it."""
    lines = re.sub(r"\\\n", " ", DOCKERFILE.read_text(encoding="utf-8")).splitlines()
    said = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    return [(word, rest) for word, rest in said]


def _all(word: str) -> list[str]:
    return [rest for name, rest in _instructions() if name == word]


COPIES = [rest for rest in _all("COPY") if not rest.startswith("--from")]


def _is_sent(name: str) -> bool:
    """Whether the engine sees a file at the repository's top: the last rule that fits decides."""
    sent = True
    for rule in IGNORED:
        if fnmatch.fnmatch(name, rule.removeprefix("!")):
            sent = rule.startswith("!")
    return sent


@pytest.mark.parametrize("copy", COPIES)
def test_what_is_copied_is_there_and_sent_to_the_engine(copy: str) -> None:
    *sources, _ = copy.split()
    for source in sources:
        assert (ROOT / source).exists()
        assert _is_sent(source)


def test_nothing_else_is_sent() -> None:
    copied = {source for copy in COPIES for source in copy.split()[:-1]}
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {name.split("/")[0] for name in listed if _is_sent(name.split("/")[0])} == copied


def test_steps_do_not_run_as_root_and_the_user_is_a_number() -> None:
    words = [word for word, _ in _instructions()]
    (user,) = _all("USER")
    assert int(user.split(":")[0]) > 0
    assert "RUN" not in words[words.index("USER") :]


def test_it_is_the_stock_image_with_the_package_and_no_torch() -> None:
    assert _all("ARG") == ["PYTHON_IMAGE=python:3.11-slim"]
    assert {rest.split()[0] for rest in _all("FROM")} == {"${PYTHON_IMAGE}"}
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    assert "torch" not in config["options"]["install_requires"]
    extras = re.findall(r"\[([\w,]+)\]", "".join(_all("RUN")))
    assert extras == ["kfp,kubernetes"], "the steps need no others"


@pytest.mark.long
def test_the_wheel_that_it_builds_has_all_that_steps_call(tmp_path: Path) -> None:
    source, wheels = tmp_path / "source", tmp_path / "wheels"
    source.mkdir()
    for copy in COPIES:
        *names, target = copy.split()
        for name in names:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, source / target, ignore=ignored)
            else:
                shutil.copy(ROOT / name, source / target)
    command = _all("RUN")[0].replace("/wheels", str(wheels))
    words = [sys.executable, "-m", *shlex.split(command), "--no-build-isolation", "--no-index"]
    done = subprocess.run(words, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = wheels.glob("*.whl")
    code = "from katibflow.steps import tasks; print(tasks.__file__, *tasks.__all__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(wheel))
    assert "katibflow/components/start.py" in zipfile.ZipFile(wheel).namelist()
