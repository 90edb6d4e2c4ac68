"""Packs the library's own modules for a compiled pipeline.

The pack is what the `start` step carries: a ZIP archive of stored files, compressed as one with
LZMA and written in base64. The modules are much alike, so compressing them together takes half of
what ZIP's own compression, file by file, would take. `start` unpacks it to the ZIP archive that
every other step imports from.

Only what the steps import is in it, and of that only what a program needs to run: no comments,
docstrings and annotations of functions. No line moves, so a traceback in a step's log shows the
line numbers of the real modules.
"""

from __future__ import annotations

import ast
import base64
import io
import lzma
import zipfile
from collections.abc import Mapping
from pathlib import Path

import katibflow
from katibflow.compiler.stripping import stripped
from katibflow.errors import InputError

__all__ = ["MAX_PACK_BYTES", "modules", "pack_archive", "pack_library"]

MAX_PACK_BYTES = 40 * 1024
"""A task's code stands several times in Argo's workflow object, which may hold 1 MB."""

_ENTRY = "katibflow.steps"

_LEFT_OUT = ("katibflow.runners.local",)
"""Beginnings of modules that are of no use in a cluster; on a laptop they are installed."""

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]


def pack_library() -> str:
    """The packed library as base64 text, the same for the same modules.

    Raises:
        InputError: It is larger than a workflow can carry.
    """
    return pack_archive({name: stripped(text) for name, text in modules().items()})


def pack_archive(files: Mapping[str, str]) -> str:
    """Files, by their path in the archive, packed as base64 text.

    Raises:
        InputError: They are larger than a workflow can carry.
    """
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as pack:
        for name, text in files.items():
            pack.writestr(zipfile.ZipInfo(name, _LONG_AGO), text)
    data = lzma.compress(
        archive.getvalue(), format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=_FILTERS
    )
    if len(data) > MAX_PACK_BYTES:
        raise InputError(
            f"the packed library: found {len(data)} bytes; allowed: at most {MAX_PACK_BYTES} "
            "(use --image or --package, which embed nothing)"
        )
    return base64.b64encode(data).decode("ascii")


def modules() -> dict[str, str]:
    """The modules that steps may import: path in the archive to source text, by path."""
    root = Path(katibflow.__file__).parent.parent
    found: dict[str, str] = {}
    waiting = [_ENTRY]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name.startswith(_LEFT_OUT):
            continue
        seen.add(name)
        path = root.joinpath(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not path.is_file():
            continue
        source = path.read_text(encoding="utf-8")
        found[path.relative_to(root).as_posix()] = source
        waiting += _imported(source)
        if "." in name:
            waiting.append(name.rpartition(".")[0])
    return dict(sorted(found.items()))


def _imported(source: str) -> list[str]:
    """What a module imports of the library, anywhere in it; some of it may be no module."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] == katibflow.__name__]
