"""Installs what a step imports: each package in the version, and with a hash, of ``pins.json``.

A package index, or whoever stands between, can give the steps no other file. It runs before
anything is installed, so it imports only what Python comes with.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["install", "pinned", "pins"]


def pins() -> dict[str, Any]:
    """Returns the content of ``pins.json``, which `katibflow.compiler.pinning` describes."""
    found: dict[str, Any] = json.loads(pkgutil.get_data(__package__, "pins.json") or b"")
    return found


def pinned(packages: Iterable[str]) -> list[str]:
    """Returns pip's lines for packages and all that they require, each with its hashes.

    Args:
        packages: Names in ``pins.json``.

    Raises:
        KeyError: A name is not there.
    """
    known = pins()["packages"]
    waiting, lines = [*packages], dict[str, str]()
    while waiting:
        name = waiting.pop()
        if name in lines:
            continue
        version, required, hashes = known[name]
        marks = [f"--hash=sha256:{each}" for each in hashes]
        lines[name] = " ".join([f"{name}=={version}", *marks])
        waiting += required
    return [lines[name] for name in sorted(lines)]


def install(packages: Sequence[str]) -> None:
    """Installs packages and all that they require, for this process too; nothing without any.

    What is there in its version already, as in an image of the user's, stays as it is.

    Raises:
        SystemExit: Pip cannot, and has said why.
    """
    lines = pinned(packages)
    if not lines:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        file.write_text("\n".join(lines), encoding="utf-8")
        pip = (sys.executable, "-m", "pip", "install", "-q", "--require-hashes", "-r", str(file))
        if subprocess.run(pip, check=False).returncode:
            raise SystemExit(f"katibflow: pip could not install {' '.join(packages)}")
    # A user without a right to write into Python's own folder gets one at home, made just now.
    if site.ENABLE_USER_SITE:
        site.addsitedir(site.getusersitepackages())
    importlib.invalidate_caches()


if __name__ == "__main__":
    install(sys.argv[1:])
