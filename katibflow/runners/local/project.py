"""Finds the folder of the user's project in which a trial's command is meant to be read.

In a cluster a command such as ``python train.py`` is read in the image's own working folder. Here
that is the folder, of the Experiment's file or the current one, that holds the file which the
command names. A command without such a file runs in its trial's folder.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from itertools import pairwise
from pathlib import Path
from typing import Any

__all__ = ["absent_paths", "project_of", "relative_script"]

_SUFFIX = r"\.(?:py|sh|bash|R|r|jl|pl|rb|js)"
_SCRIPT = re.compile(rf"[^/\s$-][^\s$]*{_SUFFIX}")
_SPACED = re.compile(rf"[^/\s$-][^\n$]*{_SUFFIX}")
"""A script whose name may have spaces, as may a text for a shell: only a file tells them apart."""

_PROGRAM = re.compile(r"(?:\.{1,2}/)?[\w.-]+(?:/[\w.-]+)+")
_SHELL = re.compile(r"-[a-z]*c")
_FILE = re.compile(
    r"(?:[\w.~-]*/[\w./~@+-]*|[\w.-]+\.(?:csv|tsv|json|jsonl|ya?ml|toml|txt|npz|npy|pt|pth|ckpt|"
    r"parquet|pkl|h5|hdf5|zip|tar|gz|db|sqlite|cfg|ini))"
)
"""A path: it has a slash, or the suffix of a file of data."""


def _words(container: Mapping[str, Any]) -> list[str]:
    lists = (container.get(key) for key in ("command", "args"))
    return [word for each in lists if isinstance(each, list) for word in each if _is_text(word)]


def _is_text(word: object) -> bool:
    return isinstance(word, str)


def relative_script(container: Mapping[str, Any]) -> str | None:
    """Returns the script that a command names by a relative path as a word of its own, if any.

    A shell's text names none: it may change its folder, or write the script itself.
    """
    if container.get("workingDir"):
        return None
    words = _words(container)
    for index, word in enumerate(words):
        if index and (_SHELL.fullmatch(words[index - 1]) or word == "-m"):
            return None
        if _SCRIPT.fullmatch(word):
            return word
    return None


def project_of(container: Mapping[str, Any], projects: Sequence[Path]) -> Path | None:
    """Returns the first of the folders that holds the program of a container's command.

    Args:
        container: The container; with a ``workingDir`` it is in no project.
        projects: The folders to look in.
    """
    if container.get("workingDir"):
        return None
    words = _words(container)
    for folder in projects:
        if any(_is_in(folder, name) for name in _names(words)):
            return folder
        modules = [word for before, word in pairwise(words) if before == "-m"]
        if any(_has_module(folder, module) for module in modules[:1]):
            return folder
    return None


def _names(words: Sequence[str]) -> Iterator[str]:
    """Yields the relative paths of programs in a command, also those in a shell's text."""
    for index, word in enumerate(words):
        if index and _SHELL.fullmatch(words[index - 1]):
            yield from () if re.search(r"\bcd\s", word) else _split(word)
        elif _SPACED.fullmatch(word) or (not index and _PROGRAM.fullmatch(word)):
            yield word


def _split(text: str) -> list[str]:
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return []
    return [word for word in (each.rstrip(";") for each in words) if _SPACED.fullmatch(word)]


def _is_in(folder: Path, name: str) -> bool:
    try:
        return (folder / name).is_file()
    except (OSError, ValueError):
        return False


def _has_module(folder: Path, module: str) -> bool:
    """Returns whether a module is the project's, and not one that is installed."""
    path = module.replace(".", "/")
    if not any(_is_in(folder, name) for name in (f"{path}.py", f"{path}/__main__.py")):
        return False
    here = {"", ".", str(folder), str(folder.resolve())}
    elsewhere = [place for place in sys.path if place not in here]
    return PathFinder.find_spec(module.partition(".")[0], elsewhere) is None


def absent_paths(arguments: Sequence[str], folder: Path) -> list[str]:
    """Returns the arguments of a command that look like paths and lead to nothing here.

    Args:
        arguments: The command, with the paths of this machine.
        folder: Its working folder.
    """
    found: list[str] = []
    for index, word in enumerate(arguments):
        if index and _SHELL.fullmatch(arguments[index - 1]):
            continue
        value = word.partition("=")[2] if word.startswith("-") else word
        if not value or "://" in value or not _FILE.fullmatch(value):
            continue
        if not os.path.exists(folder / os.path.expanduser(value)) and value not in found:
            found.append(value)
    return found
