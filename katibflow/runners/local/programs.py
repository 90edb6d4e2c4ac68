"""Finds the files of this machine that are the trials' programs, and hashes them.

They are the scripts that a command names, also inside the text of a shell, the module behind
``-m``, and the modules of the project that a Python script imports. A name that stands for data is
none of them. A run keeps the hashes, so that the next start finds a script that has changed.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from posixpath import dirname, isabs, join
from typing import Any

from katibflow.experiment.bootstrap import BOOTSTRAP
from katibflow.experiment.job_kinds import pod_templates
from katibflow.runners.local.host import Host
from katibflow.runners.local.paths import map_paths
from katibflow.runners.local.project import project_of
from katibflow.runners.local.surroundings import project_folders

__all__ = ["file_hash", "program_files"]

_SUFFIXES = frozenset(
    {".bash", ".jl", ".js", ".lua", ".pl", ".py", ".R", ".r", ".rb", ".sh", ".ts", ".zsh"}
)
"""Suffixes of programs; a file without a suffix is one if it begins with ``#!``."""

_MOST_BYTES = 2_000_000
"""Larger files are no scripts."""

_MOST_FILES = 200
"""Files of one command that are hashed, of a project of many modules."""

_WORD = re.compile(r"[^\s'\"=;&|()<>]+")


def program_files(manifest: Mapping[str, Any], host: Host) -> Mapping[str, str]:
    """Returns name to SHA-256 of each program's file.

    Args:
        manifest: The trialSpec; references in it are names of no file.
        host: The options of the run.

    Returns:
        The hashes. A name is the path as the command has it; an imported module's is the path
        beside the script's, so that a project may move without a change.
    """
    found: dict[str, str] = {}
    for pod in pod_templates(manifest):
        spec = pod.template.get("spec")
        containers = spec.get("containers") if isinstance(spec, Mapping) else None
        for container in containers if isinstance(containers, list) else ():
            if isinstance(container, Mapping):
                _add_imports(found, container)
                for program in _named(container, host):
                    _add(found, program)
    return found


def _add_imports(found: dict[str, str], container: Mapping[str, Any]) -> None:
    """Adds the modules of the project that a tuned function imports."""
    command = container.get("command")
    if not isinstance(command, list) or BOOTSTRAP not in command:
        return
    text = str(command[-1])
    for folder in map(Path, project_folders()):
        _add_modules(found, _Program("", folder / "objective.py", folder, ""), text.encode())


def file_hash(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class _Program:
    """A program: its name, its path, the folder of its modules, and that folder's name."""

    name: str
    path: Path
    root: Path
    above: str


def _named(container: Mapping[str, Any], host: Host) -> Iterator[_Program]:
    """Yields the programs that a container's command names."""
    folder = container.get("workingDir")
    maps = host.maps
    base = project_of(container, host.projects)
    if isinstance(folder, str) and folder:
        base = Path(map_paths(folder, maps))
    lists = [container.get(key) for key in ("command", "args")]
    texts = [str(text) for each in lists if isinstance(each, list) for text in each]
    previous = ""
    for word in (word for text in texts for word in _WORD.findall(text)):
        names, is_module = [word], previous == "-m"
        if is_module:
            module = word.replace(".", "/")
            names = [f"{module}.py", f"{module}/__main__.py"]
        previous = word
        for name in names:
            mapped = map_paths(name, maps)
            if isabs(mapped):
                path = Path(mapped)
            elif base is not None:
                path = base / mapped
            else:
                continue
            if _is_program(path):
                if is_module and base is not None:
                    yield _Program(name, path, base, "")
                else:
                    yield _Program(name, path, path.parent, dirname(name))


def _is_program(path: Path) -> bool:
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return False
        if path.suffix:
            return path.suffix in _SUFFIXES
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except (OSError, ValueError):
        return False


def _add(found: dict[str, str], program: _Program) -> None:
    """Adds a program and what it imports of its own folder."""
    if program.name in found or len(found) >= _MOST_FILES:
        return
    try:
        content = program.path.read_bytes()
    except OSError:
        return
    found[program.name] = hashlib.sha256(content).hexdigest()
    if program.path.suffix == ".py":
        _add_modules(found, program, content)


def _add_modules(found: dict[str, str], program: _Program, content: bytes) -> None:
    """Adds the modules below a program's folder that a file of it imports, and theirs."""
    to_read = [(program.path, content)]
    while to_read:
        file, text = to_read.pop()
        for module in sorted(_imported(text, file, program.root)):
            key = join(program.above, module.relative_to(program.root).as_posix())
            if key in found or len(found) >= _MOST_FILES:
                continue
            try:
                inside = module.read_bytes()
            except OSError:
                continue
            found[key] = hashlib.sha256(inside).hexdigest()
            to_read.append((module, inside))


def _imported(content: bytes, file: Path, root: Path) -> set[Path]:
    """Returns the files below ``root`` that a Python file imports; none if it cannot be read."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return set()
    modules: set[Path] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            bases = [root]
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            names = [f"{start}.{alias.name}".strip(".") for alias in node.names]
            names += [start] if start else []
            above = file.parents[node.level - 1 : node.level] if node.level else ()
            bases = [*above] if node.level else [root]
        else:
            continue
        for base in bases:
            for name in names:
                modules.update(_files_of(base, name, root))
    return modules


def _files_of(base: Path, name: str, root: Path) -> Iterator[Path]:
    """Yields the files that stand for a dotted name: the packages above it, and itself."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        place = base.joinpath(*parts[:count])
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_relative_to(root) and path.is_file():
                yield path
