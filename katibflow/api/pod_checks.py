"""Checks what `tune` is told of a trial's pod, before a cluster refuses every trial for it.

Only what is wrong in any release of Kubernetes is refused: a field that is not in these tables may
be newer than they are, and is passed on unless it looks like one of them.

Source: PodSpec and Container in Kubernetes's ``staging/src/k8s.io/api/core/v1/types.go``,
``validateRestartPolicy`` of a Job in ``pkg/apis/batch/validation``, and quantities in
``apimachinery/pkg/api/resource/quantity.go``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from katibflow.api.trial_pod import wrong
from katibflow.errors import InputError
from katibflow.experiment.spelling import did_you_mean

__all__ = ["check_items", "check_pod", "check_resources", "check_texts"]

_QUANTITY = re.compile(r"(\d+\.?\d*|\.\d+)(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?\d+))?")
_SCALES = {
    **{letter: 10.0 ** (3 * power) for power, letter in enumerate("num", -3)},
    **{letter: 10.0 ** (3 * power) for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", 1)},
}
_AMOUNT = 'an amount, as 2, "500m" or "4Gi"'
_PLAIN = ("cpu", "memory", "ephemeral-storage", "gpu")

_KINDS: Mapping[str, tuple[type, str]] = {
    "text": (str, "a text"),
    "list": (list, "a list"),
    "mapping": (dict, "a mapping"),
    "flag": (bool, "true or false"),
    "count": (int, "a whole number"),
}
_POD: Mapping[str, str] = {
    "list": "containers ephemeralContainers hostAliases imagePullSecrets initContainers "
    "readinessGates resourceClaims schedulingGates tolerations topologySpreadConstraints volumes",
    "mapping": "affinity dnsConfig nodeSelector os overhead resources securityContext",
    "flag": "automountServiceAccountToken enableServiceLinks hostIPC hostNetwork hostPID hostUsers "
    "setHostnameAsFQDN shareProcessNamespace",
    "count": "activeDeadlineSeconds priority terminationGracePeriodSeconds",
    "text": "dnsPolicy hostname nodeName preemptionPolicy priorityClassName restartPolicy "
    "runtimeClassName schedulerName serviceAccount serviceAccountName subdomain",
}
_CONTAINER: Mapping[str, str] = {
    "list": "args command env envFrom ports resizePolicy volumeDevices volumeMounts",
    "mapping": "lifecycle livenessProbe readinessProbe resources securityContext startupProbe",
    "flag": "stdin stdinOnce tty",
    "text": "image imagePullPolicy name restartPolicy terminationMessagePath "
    "terminationMessagePolicy workingDir",
}
_TEMPLATE: Mapping[str, str] = {"mapping": "metadata spec"}
_METADATA: Mapping[str, str] = {"mapping": "annotations labels"}
_NEEDED = {
    "containers": ("name", "image"),
    "volumes": ("name",),
    "volumeMounts": ("name", "mountPath"),
}


def check_resources(argument: str, resources: Mapping[str, Any]) -> None:
    """Checks ``resources`` of a container, or amounts that are both requests and limits.

    Raises:
        InputError: An amount is none, or a request is above its limit.
    """
    if not set(resources) <= {"claims", "limits", "requests"}:
        resources = {"limits": resources}
    amounts: dict[str, dict[str, float]] = {"requests": {}, "limits": {}}
    for key, into in amounts.items():
        given = resources.get(key) or {}
        if not isinstance(given, Mapping):
            raise wrong(f"{argument}: {key}", given, "a mapping of amounts")
        into.update({name: _amount(argument, name, value) for name, value in given.items()})
    for name, most in amounts["limits"].items():
        if amounts["requests"].get(name, 0) > most:
            found = resources["requests"][name]
            limit = resources["limits"][name]
            raise wrong(f"{argument}: requests: {name}", found, f"at most the limit, {limit}")


def _amount(argument: str, name: str, value: object) -> float:
    where = f"{argument}: {name}"
    if "/" not in name and name not in _PLAIN and not name.startswith("hugepages-"):
        meant = did_you_mean(name, _PLAIN)
        allowed = f"{', '.join(_PLAIN)}, or a name with a slash, as amd.com/gpu{meant}"
        raise InputError(f"{argument}: found {name}; allowed: {allowed}")
    number = _quantity(value)
    if number is None:
        raise wrong(where, value, f"{_AMOUNT}, not below 0")
    if ("/" in name or name == "gpu") and number != int(number):
        raise wrong(where, value, "a whole number of devices")
    return number


def _quantity(value: object) -> float | None:
    """Returns the number that a quantity stands for, or None if it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if not isinstance(value, str):
        return float(value) if math.isfinite(value) and value >= 0 else None
    match = _QUANTITY.fullmatch(value)
    if match is None:
        return None
    exponent = float(match[3] or 0)
    return float(match[1]) * _SCALES.get(match[2], 1.0) * 10 ** min(exponent, 300)


def check_pod(argument: str, template: object, container: str) -> None:
    """Checks a pod's template with a patch in it.

    Args:
        argument: The argument that the patch comes from.
        template: The template, patched.
        container: The name of the container that runs the function.

    Raises:
        InputError: A field has another kind of value than Kubernetes takes, is misspelt, or the
            container is gone.
    """
    top = _checked(argument, template, _TEMPLATE)
    where = f"{argument}: metadata"
    metadata = _checked(where, top.get("metadata", {}), _METADATA)
    for key in ("annotations", "labels"):
        check_texts(f"{where}.{key}", metadata.get(key, {}))
    where = f"{argument}: spec"
    pod = _checked(where, top.get("spec"), _POD)
    check_texts(f"{where}.nodeSelector", pod.get("nodeSelector", {}))
    if pod.get("restartPolicy", "Never") not in ("Never", "OnFailure"):
        raise wrong(f"{where}.restartPolicy", pod["restartPolicy"], "Never, OnFailure")
    check_items(f"{where}.volumes", "volumes", pod.get("volumes", []))
    check_items(f"{where}.containers", "containers", pod.get("containers", []))
    names = [each["name"] for each in pod.get("containers", [])]
    own = [each for each in pod.get("containers", []) if each["name"] == container]
    if not own or not own[0].get("command"):
        listed = ", ".join(map(str, names)) or "none"
        allowed = f"{container} among them, with the command that it has"
        raise InputError(f"{where}.containers: found {listed}; allowed: {allowed}")
    volumes = [each["name"] for each in pod.get("volumes", [])]
    for each in pod.get("containers", []):
        place = f"{where}.containers: {each['name']}"
        _checked(place, each, _CONTAINER)
        check_items(f"{place}.volumeMounts", "volumeMounts", each.get("volumeMounts", []))
        for mount in each.get("volumeMounts", []):
            if mount["name"] not in volumes:
                allowed = f"a volume of the pod: {', '.join(volumes) or 'there is none'}"
                raise wrong(f"{place}.volumeMounts: name", mount["name"], allowed)
        check_resources(f"{place}.resources", each.get("resources", {}))


def _checked(where: str, value: object, kinds: Mapping[str, str]) -> Mapping[str, Any]:
    """Returns a mapping whose known fields have the kinds of values that they must have."""
    if not isinstance(value, Mapping):
        raise wrong(where, value, "a mapping")
    known = {name: kind for kind, names in kinds.items() for name in names.split()}
    for name, item in value.items():
        if name not in known:
            meant = did_you_mean(name, known)
            if meant:
                raise InputError(f"{where}: found {name}, an unknown field; allowed: others{meant}")
            continue
        kind, allowed = _KINDS[known[name]]
        if not isinstance(item, kind) or (kind is int and isinstance(item, bool)):
            raise wrong(f"{where}.{name}", item, allowed)
    return value


def check_texts(where: str, value: Mapping[str, Any]) -> None:
    """Checks that the values of a mapping are texts.

    Raises:
        InputError: One is none.
    """
    for name, item in value.items():
        if not isinstance(item, str):
            raise wrong(f"{where}: {name}", item, "a text, in quotes")


def check_items(where: str, key: str, items: list[Any]) -> None:
    """Checks the items of a pod's list.

    Args:
        where: Name of the list in errors.
        key: Kubernetes's name of the list: ``containers``, ``volumes`` or ``volumeMounts``.
        items: The items.

    Raises:
        InputError: One is no mapping, or lacks a text that each of them needs.
    """
    for index, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise wrong(f"{where}[{index}]", item, "a mapping")
        for name in _NEEDED[key]:
            if not isinstance(item.get(name), str) or not item[name]:
                raise wrong(f"{where}[{index}].{name}", item.get(name), "a text")
