"""The registry of the sources of runs; finds one run, or lists them, over all sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module

from katibflow.errors import InputError, KatibflowError
from katibflow.handles.base import Configured, RunHandle, RunSource, Where

__all__ = ["SOURCES", "Listed", "find_run", "latest_runs", "source_of"]

SOURCES: Mapping[str, str] = {
    "local": "katibflow.handles.local",
    "kfp": "katibflow.handles.kfp",
    "argo": "katibflow.handles.argo",
    "kubernetes": "katibflow.handles.kubernetes",
}
"""Name of a source to the module that has it as ``SOURCE``, in the order in which runs are shown.

Each module imports late what is slow, as all of them are imported to look for a name. Of a run that
several sources have, as its folder here and its jobs in a cluster, the first one's handle counts.
"""


def source_of(name: str) -> RunSource:
    """Returns the source of a name.

    Raises:
        InputError: There is no such source.
    """
    if name not in SOURCES:
        raise InputError(f"--on: found {name}; allowed: {', '.join(SOURCES)}")
    source: RunSource = import_module(SOURCES[name]).SOURCE
    return source


def find_run(wanted: str, where: Where) -> RunHandle:
    """Returns the one run that a user means.

    Args:
        wanted: The run's folder or history file, its name, its id, or the first letters of its id;
            where none has that, the name of the Experiment of one of the latest runs.
        where: What the user says of where runs are.

    Raises:
        InputError: No run or several runs match.
        RunnerError: The only source with such a run does not answer, or refuses.
    """
    found: list[RunHandle] = []
    failures: list[KatibflowError] = []
    asked: list[RunSource] = []
    for name, source, configured in _asked(where):
        asked.append(source)
        try:
            found += _new(source.find(wanted, where), found)
        except KatibflowError as error:
            if configured is Configured.GIVEN:
                raise
            failures.append(error)
        if found and name == _PATHS and _is_path(wanted):
            break  # a path names one thing only
    if not found and not failures:
        found = list(_of_experiment(wanted, where))
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(_several(wanted, found))
    if failures:
        raise failures[0]
    allowed = "; or ".join(source.wanted for source in asked)
    raise InputError(f'RUN: found "{wanted}"; allowed: {allowed}')


def _of_experiment(name: str, where: Where) -> Iterator[RunHandle]:
    """Yields those of the latest runs whose Experiment has a name."""
    for listed in latest_runs(where, _LATEST):
        if not isinstance(listed.found, KatibflowError) and listed.found.experiment == name:
            yield listed.found


_LATEST = 50
"""Runs of a source that are looked at for an Experiment's name; each may cost a request."""


def _new(runs: Iterable[RunHandle], known: Sequence[RunHandle]) -> Iterator[RunHandle]:
    """Yields the runs that no source has yielded before, by the label of their jobs."""
    labels: set[str] | None = None
    for each in runs:
        if labels is None:
            labels = {label for one in known if one.on != each.on for label in _labels(one)}
        if labels.isdisjoint(_labels(each) if labels else ()):
            yield each


def _labels(run: RunHandle) -> list[str]:
    with suppress(KatibflowError):  # its own lines tell why it cannot be read
        return [run.job_run]
    return []


_PATHS = "local"
"""The source whose runs are named by paths."""


def _is_path(wanted: str) -> bool:
    return "/" in wanted


def _several(wanted: str, found: list[RunHandle]) -> str:
    """Returns the error about runs that one name means, with the way to say which."""
    shown = ", ".join(f"{each.run_id} ({each.on}: {each.name})" for each in found[:5])
    sources = dict.fromkeys(each.on for each in found)
    which = "one run's id"
    if len(sources) > 1:
        which = " or ".join(f"--on {name}" for name in sources)
        if _PATHS in sources:
            which += f"; or the path {next(each.link for each in found if each.on == _PATHS)}"
    return f'RUN: found "{wanted}", which are {len(found)} runs: {shown}; allowed: {which}'


@dataclass(frozen=True)
class Listed:
    """One entry of a list of runs.

    Attributes:
        source: The name of its source.
        configured: Whether the user names the source.
        found: The run, or why the source's runs cannot be listed.
    """

    source: str
    configured: Configured
    found: RunHandle | KatibflowError


def latest_runs(where: Where, limit: int) -> Iterator[Listed]:
    """Yields the latest runs of each source in turn, the newest of a source first.

    An error of a source is yielded after the source's runs, so that it hides no other runs.

    Args:
        where: What the user says of where runs are.
        limit: The greatest number of runs of a source that are looked at, from 1.

    Raises:
        InputError: There is no such source.
    """
    known: list[RunHandle] = []
    for name, source, configured in _asked(where):
        try:
            for each in _new(source.latest(where, limit), known):
                known.append(each)
                yield Listed(name, configured, each)
        except KatibflowError as error:
            yield Listed(name, configured, error)


def _asked(where: Where) -> Iterator[tuple[str, RunSource, Configured]]:
    if where.on is not None:
        yield where.on, source_of(where.on), Configured.GIVEN
        return
    for name in SOURCES:
        source = source_of(name)
        configured = source.configured(where)
        if configured is not Configured.NO:
            yield name, source, configured
