"""Adds to a trial's pod the containers, ports and volumes by which its metrics can be read.

For files it adds a container that copies them to its own log. That is a native sidecar (an init
container with ``restartPolicy: Always``, Kubernetes 1.29 and newer). The kubelet ends it once the
pod's work is done, so that it keeps no pod alive. It mounts the files' folder from an empty volume,
or from the volume that the template mounts there already.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from katibflow.collectors.sources import METRICS_PORT, Endpoint, Files, SideContainer
from katibflow.errors import InputError
from katibflow.experiment import job_kinds

__all__ = [
    "COPY_STEP",
    "READER",
    "add_container",
    "add_port",
    "add_reader",
    "primary_of",
]

READER = "katibflow-metrics"
"""Name of the container that copies files, and of the empty volume."""

COPY_STEP = 9000
"""Bytes of a file in a line; in base64 they stay below the 16 KiB of a line in a pod's log."""

_NOBODY = 65534
_RESOURCES = {
    "requests": {"cpu": "5m", "memory": "16Mi"},
    "limits": {"cpu": "200m", "memory": "64Mi"},
}

# Both print first whose files they read, and after a SIGTERM look once more before they end.
_START = """
over=
trap 'over=1' TERM
echo "katibflow-metrics of $POD"
"""

_NEXT = """
  [ -z "$last" ] || exit 0
  sleep 1 >/dev/null 2>&1 & wait $!
done
"""

_FOLLOW_FILE = f"""{_START}
known= size=0
while :; do
  last=$over
  if [ -e "$1" ]; then
    set -- "$1" $(stat -c '%i %s' "$1" 2>/dev/null) '' 0
    if [ "$2" != "$known" ] || [ "$3" -lt "$size" ]; then
      known=$2
      command exec 3<"$1" 2>/dev/null || known=
    fi
    size=$3
    [ -z "$known" ] || cat <&3
  fi
{_NEXT}"""

_COPY_FILES = f"""{_START}
while :; do
  last=$over
  list=$(find "$1" -type f -name "$2" 2>/dev/null | sort)
  while IFS= read -r path; do
    [ -n "$path" ] || continue
    key=at_$(printf %s "$path" | md5sum | cut -c 1-32)
    eval "at=\\${{$key:-0}}"
    size=$(stat -c %s "$path" 2>/dev/null || echo 0)
    [ "$size" -gt "$at" ] || continue
    tail -c +$((at + 1)) "$path" | head -c $((size - at)) | base64 -w {COPY_STEP * 4 // 3} | {{
      while IFS= read -r text || [ -n "$text" ]; do
        echo "$at $text ${{path#"$1"/}}"
        at=$((at + {COPY_STEP}))
      done
    }}
    eval "$key=$size"
  done <<END
$list
END
{_NEXT}"""


def add_port(pod: dict[str, Any], container: dict[str, Any], source: Endpoint) -> None:
    """Adds the port of its page to the primary container."""
    variables = container.setdefault("env", [])
    if not any(item.get("name") == METRICS_PORT for item in variables):
        variables.append({"name": METRICS_PORT, "value": str(source.port)})


def add_reader(pod: dict[str, Any], container: dict[str, Any], source: Files) -> None:
    """Adds the container that copies a file or a folder's files, and the volume of the folder.

    Raises:
        InputError: No volume can be mounted there.
    """
    if source.reader is None:
        _add_reader(pod, container, source, _FOLLOW_FILE, source.path)
    else:
        _add_reader(pod, container, source, _COPY_FILES, source.path, source.names)


def add_container(pod: dict[str, Any], container: dict[str, Any], source: SideContainer) -> None:
    """Adds the user's container, which shares the primary one's processes and maybe its files.

    Raises:
        InputError: The pod has a container of that name, or no volume can be mounted there.
    """
    added = {**source.container}
    if any(item.get("name") == added["name"] for item in pod["containers"]):
        raise InputError(
            "metricsCollectorSpec.collector.customCollector.name: found "
            f'"{added["name"]}"; allowed: a name that no container of the pod has'
        )
    if source.files is not None:
        mount = _mount(pod, container, source.files.folder)
        added["volumeMounts"] = [*(added.get("volumeMounts") or ()), mount]
    pod["containers"].append(added)
    pod.setdefault("shareProcessNamespace", True)


def primary_of(body: dict[str, Any], primary: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the first pod spec with the primary container, and the container.

    Raises:
        InputError: The object has no such pod.
    """
    known: list[Any] = [template.template.get("spec") for template in job_kinds.pod_templates(body)]
    for pod in known or _pods(body):
        for container in pod["containers"] if isinstance(pod, dict) else ():
            if primary in (None, container.get("name")):
                return pod, container
    raise InputError(
        f"metricsCollectorSpec: found metrics that {primary} does not print; allowed for a "
        f"{body.get('kind')}, whose object has no pod with that container: the collectors StdOut "
        "and Push"
    )


def _pods(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        containers = value.get("containers")
        if isinstance(containers, list) and all(isinstance(item, dict) for item in containers):
            yield value
        for item in value.values():
            yield from _pods(item)
    elif isinstance(value, list):
        for item in value:
            yield from _pods(item)


def _mount(pod: dict[str, Any], container: dict[str, Any], folder: str) -> dict[str, Any]:
    """Returns the mount of the folder for another container; adds a volume if there is none."""
    mounts = container.setdefault("volumeMounts", [])
    wanted = PurePosixPath(folder)
    covering = [item for item in mounts if wanted.is_relative_to(item.get("mountPath", ""))]
    if covering:
        return dict(max(covering, key=lambda item: len(item["mountPath"].rstrip("/"))))
    if folder == "/":
        raise InputError(
            "metricsCollectorSpec.source.fileSystemPath.path: found a file in /; allowed on "
            "Kubernetes: a folder below / that a volume can be mounted at"
        )
    mount = {"name": READER, "mountPath": folder}
    pod.setdefault("volumes", []).append({"name": READER, "emptyDir": {}})
    mounts.append(mount)
    return dict(mount)


def _add_reader(
    pod: dict[str, Any], container: dict[str, Any], files: Files, script: str, *words: str
) -> None:
    mount = _mount(pod, container, files.folder)
    reader = {
        "name": READER,
        "image": files.image,
        "restartPolicy": "Always",
        "command": ["sh", "-c", script, READER, *words],
        "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}],
        "resources": _RESOURCES,
        "securityContext": _security(pod, container),
        "volumeMounts": [{**mount, "readOnly": True}],
    }
    pod.setdefault("initContainers", []).append(reader)


def _security(pod: dict[str, Any], container: dict[str, Any]) -> dict[str, Any]:
    """Returns a security context within Pod Security's ``restricted``, for the writer's user."""
    own = {**(pod.get("securityContext") or {}), **(container.get("securityContext") or {})}
    user = own.get("runAsUser", _NOBODY)
    group = {"runAsGroup": own["runAsGroup"]} if "runAsGroup" in own else {}
    return {
        "runAsUser": user,
        **group,
        **({"runAsNonRoot": True} if user else {}),
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
