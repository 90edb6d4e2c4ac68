"""Maps container paths to the files and folders on this machine that stand for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from katibflow.errors import InputError

__all__ = ["PathMap", "map_paths", "parse_map", "with_map"]

# A prefix counts only where a path begins: not inside another path, and not behind a part that a
# shell expands ("$HOME/opt/x", "$(pwd)/opt/x", "*/opt/x").
_BEFORE = r"(?:(?<![\w./~+@%)}\]*?\\-])|(?<=file://))"
_AFTER = r"(?![\w.~+@%${\[*?\\-])"
_END = r"(?!/*[\w.~+@%${\[*?\\-])"


@dataclass(frozen=True)
class PathMap:
    """One container path and its replacement on this machine.

    Attributes:
        container: Absolute path in the image, without a slash at its end.
        host: Absolute path of a folder or file on this machine.
        is_exact: Whether the map is for texts of just this path, and for none that leads further.
    """

    container: str
    host: Path
    is_exact: bool = False


def parse_map(text: str) -> PathMap:
    """Reads a map ``CONTAINER=HOST``, such as ``/opt/pytorch-mnist=trial_image``.

    Raises:
        InputError: The container path is not absolute, or the host path does not exist.
    """
    container, separator, host = text.partition("=")
    what = f'--map {text}: found "{container}"'
    if not separator or not host:
        raise InputError(
            f'--map: found "{text}"; allowed: CONTAINER=HOST, as /opt/pytorch-mnist=DIR'
        )
    if not container.startswith("/"):
        raise InputError(f"{what}; allowed: an absolute path in the container")
    normal = PurePosixPath("/" + container.strip("/"))
    if normal == PurePosixPath("/") or ".." in normal.parts:
        raise InputError(f"{what}; allowed: a folder or file below /, without ..")
    path = Path(host).expanduser()
    if not path.exists():
        raise InputError(f'--map {text}: found "{host}"; allowed: a folder or file that exists')
    return PathMap(str(normal), path.resolve())


def with_map(maps: Sequence[PathMap], entry: PathMap) -> tuple[PathMap, ...]:
    """Returns the maps with another one, which replaces one of the same container path."""
    return (*(each for each in maps if each.container != entry.container), entry)


def map_paths(text: str, maps: Sequence[PathMap]) -> str:
    """Returns a text in which every mapped container path is replaced, also inside words.

    A path is replaced as a whole or up to a slash: a map of ``/opt/x`` does nothing to
    ``/opt/x-other``. Of several maps that fit, the longest counts, then one that is exact.
    """
    if not maps or "/" not in text:
        return text
    hosts = {(entry.container, entry.is_exact): str(entry.host) for entry in maps}
    keys = sorted(hosts, key=lambda key: (len(key[0]), key[1]), reverse=True)
    prefixes = "|".join(
        f"({re.escape(path)}{_END if is_exact else _AFTER})" for path, is_exact in keys
    )
    return re.sub(
        f"{_BEFORE}(?:{prefixes})", lambda match: hosts[keys[(match.lastindex or 0) - 1]], text
    )
