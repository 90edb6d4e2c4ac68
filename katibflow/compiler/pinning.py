"""Refreshes what compiled files and workflows name exactly; ``make pins`` calls it.

``katibflow/steps/pins.json`` has the image of the steps, with its digest once one was read, and the
packages that steps install. ``wanted`` is written by hand: the requirements to choose from, as
narrow as what was seen to run in Kubeflow Pipelines. The rest is made from it: of each package the
version, the names of what it requires, and the SHA-256 hashes of its files for the steps' Python on
Linux. The workflows in ``.github`` name actions by commit, with the tag or branch that the commit
is taken from in a comment.

It asks by the tools that people have: uv, skopeo or docker, and git. What cannot be reached stays
as it is, and is told.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

__all__ = ["main", "packages_of_lock", "with_commits"]

PYTHON = (3, 11)
MACHINES = ("x86_64", "aarch64")
_NEWEST_GLIBC = 36
"""The minor version of glibc in Debian 12, the oldest that the image has been made from."""

_USES = re.compile(r"(uses: )([\w.-]+/[\w.-]+)@(\S+)(?: # (\S+))?")

Made = TypeVar("Made")

_UNREACHED = "not reached, so it stays as it is"


def packages_of_lock(lock: Mapping[str, Any], name: str) -> dict[str, list[Any]]:
    """Returns the packages of a lock file of uv's: name to version, requirements, and hashes.

    Args:
        lock: The file's content.
        name: The name of the project that is locked, which is left out.

    Raises:
        ValueError: A package has no file for a machine, or is required on one machine only.
    """
    known = {each["name"]: each for each in lock["package"] if each["name"] != name}
    return {
        each: [body["version"], sorted(_required(body, known)), _hashes(body)]
        for each, body in sorted(known.items())
    }


def _required(body: Mapping[str, Any], known: Mapping[str, Any]) -> set[str]:
    """Returns the names of what a package requires, and of what the extras that it names do."""
    names = set[str]()
    for each in body.get("dependencies", ()):
        if "marker" in each:
            held = [Marker(each["marker"]).evaluate(_environment(arch)) for arch in MACHINES]
            if any(held) != all(held):
                raise ValueError(f"{body['name']}: required on one machine only: {each['name']}")
            if not any(held):
                continue
        extras = known[each["name"]].get("optional-dependencies", {})
        names.add(each["name"])
        names.update(more["name"] for extra in each.get("extra", ()) for more in extras[extra])
    return names


def _environment(machine: str) -> dict[str, str]:
    version = ".".join(map(str, PYTHON))
    names = {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    return {"platform_machine": machine, "python_version": version, **names}


def _hashes(body: Mapping[str, Any]) -> list[str]:
    """Returns the hashes of the wheels that pip may choose in the steps' image."""
    wheels = {
        each["url"].rpartition("/")[2]: each["hash"].removeprefix("sha256:")
        for each in body.get("wheels", ())
    }
    found = set[str]()
    for machine in MACHINES:
        fitting = [
            digest
            for file, digest in wheels.items()
            if not parse_wheel_filename(file)[3].isdisjoint(_TAGS[machine])
        ]
        if not fitting:
            raise ValueError(f"{body['name']} {body['version']}: found no wheel for {machine}")
        found.update(fitting)
    return sorted(found)


def _tags(machine: str) -> Iterator[Tag]:
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(_NEWEST_GLIBC, 4, -1)]
    platforms += [f"{name}_{machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1")]
    yield from cpython_tags(PYTHON, abis=["cp311"], platforms=platforms)
    yield from compatible_tags(PYTHON, interpreter="cp311", platforms=platforms)


_TAGS = {machine: frozenset(_tags(machine)) for machine in MACHINES}


def with_commits(text: str, commit_of: Callable[[str, str], str]) -> str:
    """Returns a workflow file's text in which each action is named by its newest commit.

    Args:
        text: The text. What is to be followed of an action, a tag or a branch, stands in a comment
            behind it, or is what the action is named by.
        commit_of: Returns the commit of a repository's tag or branch.
    """

    def named(match: re.Match[str]) -> str:
        uses, repository, used, followed = match.groups()
        follow = followed or used
        return f"{uses}{repository}@{commit_of(repository, follow)} # {follow}"

    return _USES.sub(named, text)


def _lock(wanted: list[str]) -> dict[str, Any]:
    """Returns uv's lock of requirements; KFP's own are left out, as its executor needs none."""
    version = ".".join(map(str, PYTHON))
    environments = [
        f"sys_platform == 'linux' and platform_machine == '{each}'" for each in MACHINES
    ]
    project = f"""
[project]
name = "steps"
version = "0"
requires-python = "=={version}.*"
dependencies = {json.dumps(wanted)}
[tool.uv]
environments = {json.dumps(environments)}
[[tool.uv.dependency-metadata]]
name = "kfp"
requires-dist = []
"""
    beside = Path(sys.executable).with_name("uv")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pyproject.toml").write_text(project, encoding="utf-8")
        _run(str(beside) if beside.exists() else "uv", "lock", "--quiet", "--directory", folder)
        return tomllib.loads(Path(folder, "uv.lock").read_text(encoding="utf-8"))


def _digest(image: str) -> str:
    """Returns the digest of an image's list of platforms, as the registry has it now."""
    if shutil.which("skopeo"):
        place = image if "/" in image else f"docker.io/library/{image}"
        return _run("skopeo", "inspect", "--format", "{{.Digest}}", f"docker://{place}").strip()
    shown = "{{.Manifest.Digest}}"
    return _run("docker", "buildx", "imagetools", "inspect", "--format", shown, image).strip()


def _commit(repository: str, name: str) -> str:
    """Returns the commit of a tag, of an annotated one what it tags, or of a branch."""
    place = f"https://github.com/{repository}"
    refs = [f"refs/tags/{name}^{{}}", f"refs/tags/{name}", f"refs/heads/{name}"]
    lines = [line.split() for line in _run("git", "ls-remote", place).splitlines()]
    listed = {name: commit for commit, name in lines}
    return next(listed[ref] for ref in refs if ref in listed)


def _run(*command: str) -> str:
    # A server that asks for a password is one that is not reached.
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    return done.stdout


def _tried(what: str, make: Callable[[], Made], old: Made) -> Made:
    try:
        made = make()
    except (OSError, subprocess.SubprocessError, StopIteration) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        print(f"{what}: {_UNREACHED}: {said[-1] if said else type(error).__name__}")
        return old
    print(f"{what}: {'unchanged' if made == old else 'refreshed'}")
    return made


def main(root: Path) -> None:
    """Refreshes the files below a checkout, and prints what was reached and what was not."""
    file = root / "katibflow" / "steps" / "pins.json"
    pins = json.loads(file.read_text(encoding="utf-8"))
    wanted, image = pins["wanted"], pins["image"]
    packages = _tried(
        "packages", lambda: packages_of_lock(_lock(wanted), "steps"), pins.get("packages", {})
    )
    digest = _tried(f"image {image}", lambda: _digest(image), pins["digest"])
    lines = [f"  {json.dumps(name)}: {json.dumps(body)}" for name, body in packages.items()]
    head = [
        f'"{key}": {json.dumps(value)},'
        for key, value in (("image", image), ("digest", digest), ("wanted", wanted))
    ]
    made = "{\n" + "\n".join(head) + '\n"packages": {\n' + ",\n".join(lines) + "\n}}\n"
    file.write_text(made, encoding="utf-8")
    for workflow in sorted((root / ".github" / "workflows").glob("*.yml")):
        text = workflow.read_text(encoding="utf-8")
        _refresh(workflow, text)


def _refresh(workflow: Path, text: str) -> None:
    made = _tried(f"actions of {workflow.name}", lambda: with_commits(text, _commit), text)
    workflow.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main(Path.cwd())
