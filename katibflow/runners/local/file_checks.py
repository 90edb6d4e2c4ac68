"""Checks that the files which a trial's command names are on this machine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from katibflow.errors import Fault
from katibflow.experiment.job_kinds import pod_templates
from katibflow.runners.local.host import Host
from katibflow.runners.local.paths import PathMap, map_paths
from katibflow.runners.local.project import project_of, relative_script

__all__ = ["UNKNOWN", "file_faults"]

_INTERPRETER = re.compile(r"(python[0-9.]*|(ba|da|z|k)?sh|torchrun|accelerate|env)")

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Stands for an assignment: a text with it cannot be checked before there is a trial."""


def file_faults(manifest: Mapping[str, Any], host: Host) -> Iterator[Fault]:
    """Yields programs, scripts and folders of data that a job names and this machine lacks.

    Args:
        manifest: The rendered job, with `UNKNOWN` for each assignment.
        host: The options of the run.
    """
    for pod in pod_templates(manifest):
        found = pod.template.get("spec")
        pod_spec = found if isinstance(found, Mapping) else {}
        containers = pod_spec.get("containers")
        for index, container in enumerate(containers if isinstance(containers, list) else ()):
            if isinstance(container, Mapping):
                path = f"{pod.path}.spec.containers[{index}]"
                yield from _program_faults(container, path, host)
                yield from _data_faults(pod_spec, container, path, host)


def _program_faults(container: Mapping[str, Any], path: str, host: Host) -> Iterator[Fault]:
    maps = host.maps
    words = [
        (f"{path}.{key}[{index}]", word)
        for key in ("command", "args")
        if isinstance(container.get(key), list)
        for index, word in enumerate(container[key])
        if isinstance(word, str)
    ]
    folder = container.get("workingDir")
    if isinstance(folder, str) and _is_absent(folder, maps, os.path.isdir):
        yield _missing(f"{path}.workingDir", folder, folder)
    if not words or not container.get("command"):
        return
    where, program = words[0]
    if _is_open(program):
        return
    if program.startswith("/"):
        mapped = map_paths(program, maps)
        if not os.path.isfile(mapped):
            yield _missing(where, program, os.path.dirname(program))
        elif not os.access(mapped, os.X_OK):
            yield Fault(where, f'"{program}", which is not executable here', "a program")
    elif "/" not in program and not _is_found(program, container, host):
        yield Fault(where, f'"{program}", which is not on PATH here', "a program of this machine")
    if _INTERPRETER.fullmatch(os.path.basename(program)):
        yield from _script_faults(words[1:], maps)
        yield from _relative_faults(words, container, host)


def _is_found(program: str, container: Mapping[str, Any], host: Host) -> bool:
    """Returns whether a program is on PATH; True if the container sets a PATH of its own."""
    entries = container.get("env")
    names = [
        entry.get("name")
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, Mapping)
    ]
    return "PATH" in names or shutil.which(program, path=host.search_path) is not None


def _script_faults(words: Sequence[tuple[str, str]], maps: Sequence[PathMap]) -> Iterator[Fault]:
    previous = ""
    for where, word in words:
        texts = [word]
        if re.fullmatch(r"-[a-z]*c", previous):
            try:
                texts = shlex.split(word)
            except ValueError:
                texts = [word]
        previous = word
        for text in texts:
            if text.endswith((".py", ".sh")):
                if _is_absent(text, maps, os.path.isfile):
                    yield _missing(where, text, os.path.dirname(text))
                return


def _relative_faults(
    words: Sequence[tuple[str, str]], container: Mapping[str, Any], host: Host
) -> Iterator[Fault]:
    """Yields a fault for a script by a relative path that no folder of the project holds."""
    script = relative_script(container)
    if (
        not host.projects
        or script is None
        or _is_open(script)
        or project_of(container, host.projects)
    ):
        return
    where = next(where for where, word in words if word == script)
    places = " nor in ".join(map(str, host.projects))
    neither = "neither in" if host.projects[1:] else "not in"
    yield Fault(
        where,
        f'"{script}", which is {neither} {places}',
        "a file there; or beside command: workingDir: FOLDER, the folder here "
        f"that holds {os.path.basename(script)}, or a container's with --map CONTAINER=HERE",
    )


def _data_faults(
    pod: Mapping[str, Any], container: Mapping[str, Any], path: str, host: Host
) -> Iterator[Fault]:
    """Yields a fault for each volume with data that the trial's texts name and that is not here."""
    volumes = pod.get("volumes")
    filled = {
        volume.get("name"): next((str(key) for key in volume if key != "name"), "")
        for volume in (volumes if isinstance(volumes, list) else ())
        if isinstance(volume, Mapping) and "emptyDir" not in volume
    }
    mounts = container.get("volumeMounts")
    texts = list(_texts(container))
    for index, mount in enumerate(mounts if isinstance(mounts, list) else ()):
        place = mount.get("mountPath") if isinstance(mount, Mapping) else None
        if not isinstance(place, str) or mount.get("name") not in filled:
            continue
        place = place.rstrip("/")
        stands_in = map_paths(place, host.maps)
        is_named = any(map_paths(text, [PathMap(place, Path("/"))]) != text for text in texts)
        if place and is_named and stands_in == place and not os.path.exists(place):
            yield Fault(
                f"{path}.volumeMounts[{index}].mountPath",
                f'"{place}", the {filled[mount["name"]]} {mount["name"]}, which is not here',
                f"the folder here that stands for it: --map {place}=DIR (maps)",
            )


def _texts(container: Mapping[str, Any]) -> Iterator[str]:
    for key in ("command", "args"):
        words = container.get(key)
        yield from (
            word for word in (words if isinstance(words, list) else ()) if isinstance(word, str)
        )
    entries = container.get("env")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping) and isinstance(entry.get("value"), str):
            yield entry["value"]
    folder = container.get("workingDir")
    yield from [folder] if isinstance(folder, str) else []


def _missing(where: str, path: str, folder: str) -> Fault:
    return Fault(
        where,
        f'"{path}", which does not exist here',
        f"a path of this machine, or a map of the container's path: --map {folder}=DIR",
    )


def _is_absent(path: str, maps: Sequence[PathMap], exists: Callable[[str], bool]) -> bool:
    return path.startswith("/") and not _is_open(path) and not exists(map_paths(path, maps))


def _is_open(text: str) -> bool:
    """Returns whether the text is known only while a trial runs."""
    return UNKNOWN in text or "$(" in text
