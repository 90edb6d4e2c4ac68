"""Packs the library's own modules for a compiled pipeline.

The pack is what the `start` step carries, as text, and unpacks to the ZIP archive that every other
step imports from. Only what the steps reach is in it (`shaking`), of the algorithms and metrics
collectors only the Experiment's own, and of the text only what a program needs to run
(`stripping`). No line moves, so a traceback in a step's log shows the line numbers of the real
modules.

The modules are much alike, so they are compressed as one: half the size of a ZIP archive of theirs.
"""

from __future__ import annotations

import ast
import base64
import bz2
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import katibflow
from katibflow import steps
from katibflow.compiler.shaking import shaken, with_entry
from katibflow.compiler.stripping import stripped
from katibflow.errors import InputError
from katibflow.experiment import Experiment

__all__ = [
    "MAX_PACK_LENGTH",
    "PACKABLE",
    "PLAIN",
    "Used",
    "pack_files",
    "pack_library",
    "packed_modules",
]

MAX_PACK_LENGTH = 72_000
"""Characters; Argo's workflow object, at most 1 MB, holds the code of a task more than four times.

Most experiments take 62,000 to 65,000.
"""

PLAIN = "{}$`&<>"
PACKABLE = ",.:/[]'"
"""Stand in the pack for the characters of base 85 that Argo, KFP, Kubernetes or JSON would read."""

_ROOT = "katibflow.steps"

_INSTALLED = "katibflow.runners.local"
"""Beginning of the modules that are of no use in a cluster; on a laptop the library is installed.

Neither they nor what only they need is in the pack. They import from it, so it holds what they
import of its modules.
"""


@dataclass(frozen=True)
class Used:
    """What a pipeline uses of the library.

    Attributes:
        algorithm: Name of the Experiment's algorithm.
        stopping: Name of its early stopping rule; empty if it has none.
        collector: The kind of its metrics collector.
        components: The pipeline's; the steps of the same names are packed.
    """

    algorithm: str
    stopping: str = ""
    collector: str = "StdOut"
    components: tuple[str, ...] = tuple(steps.__all__)

    @staticmethod
    def by(experiment: Experiment, components: tuple[str, ...]) -> Used:
        """What a pipeline of some components uses for an experiment."""
        spec = experiment.spec
        stopping = spec.early_stopping.algorithm_name if spec.early_stopping is not None else ""
        kind = spec.metrics_collector_spec.collector.kind
        return Used(spec.algorithm.algorithm_name, stopping, kind, components)

    def entries(self) -> Iterator[tuple[str, str, str]]:
        """Dictionaries of which one entry at most is packed: module, name, and the entry's key."""
        yield "katibflow.algorithms", "ALGORITHMS", self.algorithm
        yield "katibflow.early_stopping", "RULES", self.stopping
        yield "katibflow.collectors.kinds", "KINDS", self.collector
        yield "katibflow.runners.kubernetes_readings", "READINGS", self.collector
        yield "katibflow.runners.kubernetes_objects", "CHECKPOINTS", self.algorithm
        if ":" not in self.algorithm:  # else it is a class of Optuna's
            yield "katibflow.algorithms", "_BY_NAME", ""
        if ":" not in self.stopping:
            yield "katibflow.early_stopping", "_BY_NAME", ""


@cache
def pack_library(used: Used) -> str:
    """The library's modules, packed; the same for the same modules.

    Raises:
        InputError: They are more than a workflow can carry.
    """
    pack = pack_files(packed_modules(used))
    if len(pack) > MAX_PACK_LENGTH:
        raise InputError(
            f"the packed library: found {len(pack)} characters; allowed: at most "
            f"{MAX_PACK_LENGTH} (use --image or --package, which embed nothing)"
        )
    return pack


def pack_files(files: Mapping[str, str]) -> str:
    """Files, by their path in the archive, as text that needs no escape anywhere."""
    plain = "\0".join(part for name, text in sorted(files.items()) for part in (name, text))
    text = base64.b85encode(bz2.compress(plain.encode())).decode("ascii")
    return text.translate(str.maketrans(PLAIN, PACKABLE))


def packed_modules(used: Used) -> dict[str, str]:
    """What is packed: path in the archive to text."""
    root = Path(katibflow.__file__).parent.parent
    paths = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in Path(katibflow.__file__).parent.rglob("*.py")
    }
    texts: dict[str, str] = {}
    waiting = [_ROOT]
    while waiting:
        name = waiting.pop()
        if name in texts or name not in paths:
            continue
        text = paths[name].read_text(encoding="utf-8")
        texts[name] = text if name.startswith(_INSTALLED) else stripped(text)
        for module, registry, key in used.entries():
            if name == module:
                texts[name] = with_entry(texts[name], registry, key)
        for module, imported in _imports(texts[name]):
            waiting += [module, f"{module}.{imported}"]
        waiting.append(name.rpartition(".")[0])
    roots = [(_ROOT, step) for step in used.components]
    waiting = [name for name in texts if name.startswith(_INSTALLED)]
    in_cluster = {name: text for name, text in texts.items() if name not in waiting}
    packed = shaken(in_cluster, roots)
    installed: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in installed or name in packed or name not in texts:
            continue
        installed.add(name)
        for module, imported in _imports(texts[name]):
            roots.append((module, imported))
            waiting += [module, f"{module}.{imported}"]
    reached = shaken(
        {name: text for name, text in texts.items() if name not in installed},
        [(module, imported) for module, imported in roots if imported],
    )
    return {
        paths[name].relative_to(root).as_posix(): text for name, text in sorted(reached.items())
    }


def _imports(text: str) -> list[tuple[str, str]]:
    """What a module imports, anywhere in it: module, and name in it or nothing."""
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found += [(node.module, alias.name) for alias in node.names]
    return found
