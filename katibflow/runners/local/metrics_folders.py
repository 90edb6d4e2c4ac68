"""Gives each trial on this machine a folder of its own for its files of metrics.

The container's folder of metrics is mapped to one in the attempt's folder: ``metrics`` for rank 0,
``metrics-worker-0`` and so on for the others. A command may name a folder above the metrics
instead, as ``--out=/results`` for ``/results/logs/metrics.log``. Where all of it stood for one real
folder, trials at a time would write to the same file. So such a folder becomes one of the trial's
own, ``view``, in which everything but the metrics is a link to what stands for it here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from katibflow.collectors.sources import Files, SideContainer
from katibflow.runners.local.manifest import JobPlan
from katibflow.runners.local.paths import PathMap, map_paths

__all__ = ["maps_of", "place_of"]

_NOWHERE = Path("/\N{REPLACEMENT CHARACTER}")
"""Stands for a path that is looked for in a text."""


def place_of(folder: Path, plan: JobPlan, replica: str) -> Path:
    """Returns the folder for a replica's files of metrics.

    Args:
        folder: The attempt's folder.
        plan: The replicas of the job.
        replica: Name of the replica.
    """
    return folder / f"metrics{_suffix(plan, replica)}"


def _suffix(plan: JobPlan, replica: str) -> str:
    """Returns what tells a replica's folders apart; the observer shares those of rank 0."""
    return "" if replica in (plan.replicas[0].name, plan.observer) else f"-{replica}"


def maps_of(
    plan: JobPlan, replica: str, folder: Path, maps: Sequence[PathMap], texts: Iterable[str]
) -> Sequence[PathMap]:
    """Returns the maps of a replica's process, with its folder of metrics; makes the folder.

    Args:
        plan: The replicas of the job.
        replica: Name of the replica.
        folder: The attempt's folder.
        maps: The user's maps.
        texts: What the process is given, with the container's paths: its words, its variables, its
            working folder. Where one of them leads to the metrics, the others are left alone.
    """
    files = plan.source.files if isinstance(plan.source, SideContainer) else plan.source
    if not isinstance(files, Files):
        return maps
    place = place_of(folder, plan, replica)
    place.mkdir(exist_ok=True)
    given = list(texts)
    own = list(_own_maps(files, place, maps))
    view = _View(files, place, maps)
    if any(_leads_to(text, files.path, is_exact=False) for text in given):
        if files.names:
            view.fill(PurePosixPath(files.path), place)
    else:
        above = [each for each in _above(files) if any(_leads_to(t, each) for t in given)]
        if above:
            own += view.made(above, folder / f"view{_suffix(plan, replica)}")
    return own


def _own_maps(files: Files, place: Path, maps: Sequence[PathMap]) -> Iterator[PathMap]:
    container = files.folder
    if files.names:
        yield from (each for each in maps if each.container != container)
        yield PathMap(container, place)
        return
    yield from maps
    yield PathMap(files.path, place / PurePosixPath(files.path).name)
    # A folder that may hold other files is not mapped, only the one file in it.
    is_used = any(PurePosixPath(each.container).is_relative_to(container) for each in maps)
    if not is_used and not os.path.isdir(container):
        yield PathMap(container, place)


def _leads_to(text: str, path: str, *, is_exact: bool = True) -> bool:
    """Returns whether a text names a path, or if it need not be exact, one below it."""
    return map_paths(text, [PathMap(path, _NOWHERE, is_exact)]) != text


def _above(files: Files) -> list[str]:
    """Returns the folders above the metrics, the lowest first, without the root."""
    return [str(each) for each in PurePosixPath(files.path).parents][:-1]


class _View:
    """Folders of a trial's own that show what stands for the container's, but for the metrics.

    Args:
        files: The metrics, which no link shows.
        place: The folder for the metrics.
        maps: The user's maps.
    """

    def __init__(self, files: Files, place: Path, maps: Sequence[PathMap]) -> None:
        self._metrics = files
        self._place = place.absolute()
        self._maps = maps

    def made(self, folders: Sequence[str], root: Path) -> Iterator[PathMap]:
        """Makes the folders, and yields the maps of them.

        Args:
            folders: The container's folders, each in the one behind it.
            root: The new folder that stands for the last one.
        """
        top = folders[-1]
        if top == self._metrics.folder:
            root = self._place
        else:
            root.mkdir(exist_ok=True)
        self.fill(PurePosixPath(top), root)
        for folder in folders:
            yield PathMap(folder, root / PurePosixPath(folder).relative_to(top), is_exact=True)

    def fill(self, container: PurePosixPath, here: Path) -> None:
        """Fills a new folder with links to what stands for the container's, and with new ones."""
        special = self._below(container)
        for name, source in self._entries(container):
            if name not in special:
                _link(here / name, source)
        for name in special:
            child = container / name
            if str(child) == self._metrics.folder:
                _link(here / name, self._place)
                self.fill(child, self._place)
            elif str(child) == self._metrics.path:
                continue  # the trial's own file
            elif self._below(child):
                (here / name).mkdir(exist_ok=True)
                self.fill(child, here / name)
            else:
                _link(here / name, Path(map_paths(str(child), self._maps)))

    def _below(self, container: PurePosixPath) -> dict[str, None]:
        """Returns the names in a folder that lead to the metrics or to another map."""
        paths = [self._metrics.path, *(each.container for each in self._maps)]
        return {
            path.relative_to(container).parts[0]: None
            for path in map(PurePosixPath, paths)
            if path != container and path.is_relative_to(container)
        }

    def _entries(self, container: PurePosixPath) -> Iterator[tuple[str, Path]]:
        """Yields what is here in the folder that stands for a container's; no old metrics."""
        if self._metrics.names and PurePosixPath(self._metrics.path) == container:
            return
        source = Path(map_paths(str(container), self._maps))
        with suppress(OSError):
            yield from ((name, source / name) for name in sorted(os.listdir(source)))


def _link(place: Path, source: Path) -> None:
    with suppress(FileExistsError):
        place.symlink_to(source)
