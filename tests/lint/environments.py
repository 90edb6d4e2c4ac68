"""Wheels of the project, and new environments with nothing but what is wanted in them."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.paths import ROOT

__all__ = ["Environment", "build", "closure", "copy_of_the_project", "requirements_of"]

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def copy_of_the_project(folder: Path) -> Path:
    """The project's files as git sees them, links as links, without what git ignores."""
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
    return folder


def build(source: Path, folder: Path, *kinds: str) -> list[Path]:
    """What ``python -m build`` makes of a source tree: of no kinds, a wheel of an sdist."""
    words = ["--no-isolation", "--skip-dependency-check", "--outdir", str(folder), *kinds]
    done = subprocess.run(
        [sys.executable, "-m", "build", *words, str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(folder.iterdir())


def requirements_of(wheel: Path) -> list[Requirement]:
    """What a wheel requires, extras included."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = importlib.metadata.PathDistribution(zipfile.Path(archive, name).parent)
        return [Requirement(text) for text in metadata.requires or ()]


def closure(requirements: Iterable[Requirement], *extras: str) -> set[str]:
    """Installed distributions that these need, and all that those need, by normal name.

    Args:
        requirements: What the wheel requires.
        extras: The wheel's extras that are wanted.
    """
    found: set[tuple[str, str]] = set()
    waiting = [each for each in requirements if _is_wanted(each, ("", *extras))]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        new = {(name, extra) for extra in ("", *requirement.extras)} - found
        if new:
            found |= new
            texts = importlib.metadata.requires(name) or ()
            wanted = {extra for _, extra in new}
            waiting += [each for each in map(Requirement, texts) if _is_wanted(each, wanted)]
    return {name for name, _ in found}


def _is_wanted(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


@dataclass(frozen=True)
class Environment:
    """A virtual environment without pip.

    Attributes:
        folder: Where it is.
    """

    folder: Path

    @classmethod
    def new(cls, folder: Path, wheel: Path, distributions: Iterable[str] = ()) -> Environment:
        """Makes one with the wheel and with distributions that are installed here.

        They are linked, file by file, so that no index is asked and nothing is compiled anew.
        """
        venv.create(folder, with_pip=False)
        made = cls(folder)
        for name in distributions:
            made._link(name)
        install = ("install", "-q", "--no-deps", "--no-index", str(wheel))
        subprocess.run([*_PIP, "--python", str(made.python), *install], check=True)
        return made

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Its site-packages."""
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def _link(self, name: str) -> None:
        for file in importlib.metadata.files(name) or ():
            source = Path(str(file.locate()))
            if ".." in file.parts or not source.is_file():
                continue
            there = self.packages / file
            there.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, there)
            except OSError:  # another file system
                shutil.copy2(source, there)

    def run(
        self, *words: str, folder: Path, path: Sequence[Path] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Runs Python in a folder, with nothing of the environment that runs the tests."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
        if path:
            kept["PYTHONPATH"] = os.pathsep.join(map(str, path))
        return subprocess.run(
            [str(self.python), *words],
            cwd=folder,
            env=kept,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def katibflow(
        self, *words: str, folder: Path, path: Sequence[Path] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Runs the command line that the wheel installs."""
        return self.run(str(self.folder / "bin" / "katibflow"), *words, folder=folder, path=path)

    def check(self) -> subprocess.CompletedProcess[str]:
        """What ``pip check`` finds."""
        return subprocess.run(
            [*_PIP, "--python", str(self.python), "check"], capture_output=True, text=True
        )

    def distributions(self) -> set[str]:
        """Names of what is installed."""
        found = importlib.metadata.distributions(path=[str(self.packages)])
        return {canonicalize_name(each.metadata["Name"]) for each in found}

    def megabytes(self) -> float:
        """The size of site-packages as `du` counts it, in blocks."""
        files = [path for path in self.packages.rglob("*") if not path.is_symlink()]
        return sum(path.stat().st_blocks * 512 for path in files) / 2**20
