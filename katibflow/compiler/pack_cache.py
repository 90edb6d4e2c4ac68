"""Keeps packed libraries in the user's cache, as packing takes a good part of a compilation.

A pack is found by all that decides it: the package's files, what is packed beside the usual, and
the version of Python, whose ``ast`` writes the sources. The cache only saves time: what cannot be
read is made anew, and what cannot be written is made each time.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from katibflow.study.files import make_folder, open_regular, write_atomically

__all__ = ["keep_pack", "kept_pack", "pack_key"]

_MOST = 8
"""Packs that stay: a few versions of Python, and checkouts of who works on the package."""


def pack_key(root: Path, suffixes: Collection[str], more: Collection[str]) -> str:
    """Returns the name of the pack of a package's files as they are now.

    Args:
        root: The package's folder; links to folders are followed.
        suffixes: Suffixes of the files that may be packed.
        more: Names of the modules that are packed beside the usual.
    """
    digest = hashlib.sha256(repr((sys.version, sorted(more))).encode())
    for folder, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        for path in (Path(folder, name) for name in sorted(files)):
            if path.suffix in suffixes:
                digest.update(f"\0{path.relative_to(root).as_posix()}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def kept_pack(key: str) -> bytes | None:
    """Returns the bz2-compressed pack of a name, or None if there is none that is whole.

    Somebody else's file, or one that others may write, is none: what is packed runs in a cluster.
    """
    with suppress(OSError, RuntimeError):
        with open(open_regular(_folder() / key), "rb") as file:
            about = os.fstat(file.fileno())
            if about.st_uid != os.geteuid() or about.st_mode & 0o022:
                return None
            digest, _, packed = file.read().partition(b"\n")
        # It is compared before anything is unpacked: a few damaged bytes may unpack to very many.
        return packed if digest == _digest(packed) else None
    return None


def keep_pack(key: str, packed: bytes) -> None:
    """Keeps a bz2-compressed pack under a name, beside the newest others; or does nothing."""
    with suppress(OSError, RuntimeError):
        folder = _folder()
        make_folder(folder)
        write_atomically(folder / key, _digest(packed) + b"\n" + packed)
        others = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[_MOST:]:
            path.unlink(missing_ok=True)


def _digest(packed: bytes) -> bytes:
    return hashlib.sha256(packed).hexdigest().encode()


def _folder() -> Path:
    """Returns the folder of the packs.

    A relative path is none, as the XDG Base Directory Specification says.

    Raises:
        OSError: There is no home for it.
        RuntimeError: As above.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    cache = Path(given) if os.path.isabs(given) else Path.home() / ".cache"
    if not cache.is_absolute():
        raise OSError("the home is no absolute path")
    return cache / "katibflow" / "packs"
