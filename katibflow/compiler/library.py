"""Packs katibflow's own modules into a compiled pipeline, whose steps run on a stock image.

The pack has all modules that a step can import: the components with the study as input,
`katibflow.steps`, the backends but for this machine's, what those import at their top or later, and
the resource files beside them. It is one text, which the pipeline has once, as the source of a
component that never runs; the step `start` reads and unpacks it (`components/start.py`).
"""

from __future__ import annotations

import ast
import base64
import bz2
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import katibflow
from katibflow.compiler.pack_cache import keep_pack, kept_pack, pack_key
from katibflow.compiler.plain import plain_text
from katibflow.runners.backends import BACKENDS
from katibflow.tracking import TRACKERS

__all__ = [
    "CARRIED",
    "LOADERS",
    "PACKABLE",
    "PLAIN",
    "Pack",
    "carried_files",
    "carried_modules",
    "pack_library",
]

CARRIED: tuple[str, ...] = ("suggestion", "launcher", "collector", "loop", "summary", "report")
"""The components with the study as input, beside which they find the library."""

LOADERS: tuple[str, ...] = ("start", "controller", "finish")
"""The components that get the library from the run's Workflow (`components.loading`)."""

PLAIN = "{}$`&<>"
PACKABLE = ",.:/[]'"
"""Replaces `PLAIN`, characters of base 85 with a meaning for Argo, KFP, Kubernetes or JSON."""

_ROOTS = (
    "katibflow.steps",
    *BACKENDS.values(),
    *(f"katibflow.components.{name}" for name in CARRIED),
    *(kind.module for kind in TRACKERS.values() if kind.requirement),
)

_COMPONENTS = "katibflow.components."
"""Prefix of the modules whose functions are the tasks of the DAGs."""

_DATA = frozenset({".css", ".j2", ".js", ".json"})
"""Suffixes of the files that modules read as resources."""

_LAPTOP = "katibflow.runners.local."
"""Prefix of the modules that run trials on the machine where the library is installed."""


@dataclass(frozen=True)
class Pack:
    """The packed library.

    Attributes:
        mark: The version and a hash, by which `start` finds the pack.
        text: The pack, in characters that need no escape anywhere.
    """

    mark: str
    text: str


@cache
def pack_library(*more: str) -> Pack:
    """Returns the library's files as one text; the same files always give the same text.

    The files are much alike, so compressed together they take half the size of a ZIP archive. A
    pack that was made before comes from the user's cache.
    """
    key = pack_key(Path(katibflow.__file__).parent, {".py", *_DATA}, more)
    packed = kept_pack(key)
    if packed is None:
        parts = [part for path, text in carried_files(*more).items() for part in (path, text)]
        packed = bz2.compress("\0".join(parts).encode())
        keep_pack(key, packed)
    text = base64.b85encode(packed).decode("ascii")
    digest = hashlib.sha256(bz2.decompress(packed)).hexdigest()[:12]
    return Pack(
        mark=f"katibflow-{katibflow.__version__}-{digest}",
        text=text.translate(str.maketrans(PLAIN, PACKABLE)),
    )


def carried_files(*more: str) -> dict[str, str]:
    """Returns the packed files, path in the archive to text: first modules, each by path."""
    root = Path(katibflow.__file__).parent.parent
    modules = carried_modules(*more)
    folders = sorted({(root / path).parent for path in modules})
    data = [file for folder in folders for file in sorted(folder.iterdir())]
    return modules | {
        file.relative_to(root).as_posix(): file.read_text(encoding="utf-8")
        for file in data
        if file.suffix in _DATA
    }


def carried_modules(*more: str) -> dict[str, str]:
    """Returns the packed modules: path in the archive to plain source text."""
    root = Path(katibflow.__file__).parent.parent
    reached: dict[Path, str] = {}
    waiting = [*_ROOTS, *more]
    while waiting:
        name = waiting.pop()
        path = _file_of(root, name)
        if path is None or path in reached or name.startswith(_LAPTOP):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        waiting += [name.rpartition(".")[0], *_imports(tree)]
        # It comes last, as it changes the tree. KFP reads the annotations of components.
        reached[path] = plain_text(tree, annotated=name.startswith(_COMPONENTS))
    return {path.relative_to(root).as_posix(): text for path, text in sorted(reached.items())}


def _file_of(root: Path, module: str) -> Path | None:
    """Returns the file of a module of ours, or None for any other name."""
    if module.partition(".")[0] != "katibflow":
        return None
    path = root.joinpath(*module.split("."))
    files = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


def _imports(tree: ast.Module) -> Iterator[str]:
    """Yields the names of the modules that a module imports, at its top or later.

    ``from a import b`` may mean the module ``a.b`` or a name in ``a``, so this yields both, and
    some names are no module.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
