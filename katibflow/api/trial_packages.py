"""Installs the packages of ``packages_to_install`` for a trial; its function is part of programs.

In a container pip installs into the container. On a user's machine that would change the user's
own environment, for all trials at once and for good: there the packages go into an environment in
the cache, one for each list of requirements and interpreter, on top of what is installed.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

__all__ = ["install", "program_of_packages"]


def program_of_packages(requirements: Sequence[str], options: Sequence[str]) -> str:
    """Returns the text of a program that installs requirements, and then has them on its path."""
    return f"{inspect.getsource(install)}\n\ninstall({list(requirements)!r}, {list(options)!r})\n"


def install(requirements: list[str], options: list[str]) -> None:
    """Installs requirements for this process and those that it starts."""
    import fcntl
    import hashlib
    import importlib.util
    import os
    import pathlib
    import shutil
    import subprocess
    import sys
    import sysconfig
    import venv

    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options]
    if "KATIBFLOW_TRIAL_FOLDER" not in os.environ:
        subprocess.run([sys.executable, *pip, *requirements], check=True)
        return
    what = repr((sys.version, sys.prefix, options, sorted(requirements)))
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = cache / "katibflow" / "packages" / hashlib.sha256(what.encode()).hexdigest()[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    values = {"base": str(folder), "platbase": str(folder)}
    library = sysconfig.get_path("purelib", "venv", values)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():  # it is written last
            shutil.rmtree(folder, ignore_errors=True)
            has_pip = importlib.util.find_spec("pip") is not None
            venv.create(folder, with_pip=not has_pip, symlinks=True)
            below = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
            pathlib.Path(library, "below.pth").write_text("\n".join(below) + "\n")
            unset = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONPATH", "PYTHONHOME")
            kept = {name: value for name, value in os.environ.items() if name not in unset}
            print(f"installing {' '.join(requirements)} into {folder}", flush=True)
            subprocess.run(
                [folder / "bin" / "python", *pip, *requirements],
                check=True,
                env={**kept, "PIP_USER": "0"},
            )
            (folder / "complete").touch()
    sys.path.insert(1, library)
    paths = [library, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    os.environ["PATH"] = os.pathsep.join([str(folder / "bin"), os.environ.get("PATH", os.defpath)])
