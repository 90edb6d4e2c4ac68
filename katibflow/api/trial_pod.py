"""Makes parts of a trial's pod from the arguments of `tune`, which may be Kubernetes's own objects.

Objects of the package ``kubernetes`` are taken as plain data is; the package itself is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from katibflow.errors import InputError
from katibflow.experiment.yaml_reader import found

__all__ = [
    "environment",
    "mapping",
    "patched",
    "plain_list",
    "resources",
    "settings",
    "texts",
    "wrong",
]

_RESOURCES = {"gpu": "nvidia.com/gpu"}
_NAMED_BY = {"volumeMounts": "mountPath", "ports": "containerPort"}


def wrong(argument: str, value: object, allowed: str) -> InputError:
    """Returns the error for an argument of `tune`."""
    shown = found(value)
    if not isinstance(value, str | int | float | Mapping | list | tuple | None):
        shown = f"a {type(value).__name__}"
    return InputError(f"{argument}: found {shown}; allowed: {allowed}")


def texts(argument: str, value: object) -> list[str]:
    """Returns a list of texts, empty for None.

    Raises:
        InputError: The value is no list, or has an item that is no text.
    """
    allowed = "a list of texts"
    if value is None:
        return []
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
        raise wrong(argument, value, allowed)
    for index, item in enumerate(value):
        if not isinstance(item, str):
            raise wrong(f"{argument}[{index}]", item, "a text")
    return list(value)


def mapping(argument: str, value: object) -> dict[str, Any]:
    """Returns a mapping with texts as keys as plain data, empty for None.

    Raises:
        InputError: The value is none.
    """
    if value is None:
        return {}
    data = _plain(argument, value)
    if not isinstance(data, dict):
        raise wrong(argument, value, "a mapping")
    return data


def plain_list(argument: str, value: object) -> list[dict[str, Any]]:
    """Returns a list of mappings or of Kubernetes's objects as plain data, empty for None.

    Raises:
        InputError: The value is no list of these.
    """
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise wrong(argument, value, "a list")
    items = []
    for index, item in enumerate(value):
        data = _plain(f"{argument}[{index}]", item)
        if not isinstance(data, dict):
            raise wrong(f"{argument}[{index}]", item, "a mapping, or an object of Kubernetes's")
        items.append(data)
    return items


def settings(argument: str, value: object) -> list[dict[str, str]] | None:
    """Returns algorithm settings, given by name or as a list of names and values.

    Raises:
        InputError: The value is neither.
    """
    if value is None:
        return None
    if isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        pairs = []
        for index, item in enumerate(plain_list(argument, value)):
            if set(item) != {"name", "value"} or not isinstance(item["name"], str):
                raise wrong(f"{argument}[{index}]", item, "name and value")
            pairs.append((item["name"], item["value"]))
    for name, item in pairs:
        if isinstance(item, Mapping | list | tuple | None) or not isinstance(name, str):
            raise wrong(f"{argument}: {name}", item, "a text or a number")
    return [{"name": name, "value": str(item)} for name, item in pairs] or None


def environment(argument: str, value: object) -> dict[str, list[dict[str, Any]]]:
    """Returns ``env`` and ``envFrom`` of a container.

    Args:
        argument: The argument's name in errors.
        value: Variables by name; or a list of V1EnvVar and V1EnvFromSource, or of mappings like
            them; or None.

    Raises:
        InputError: The value is neither.
    """
    allowed = "texts by name, or a list of V1EnvVar and V1EnvFromSource"
    if isinstance(value, Mapping):
        for name, text in value.items():
            if not isinstance(name, str) or not isinstance(text, str):
                raise wrong(f"{argument}: {name}", text, "a text")
        return {"env": [{"name": name, "value": text} for name, text in value.items()]}
    if value is not None and not isinstance(value, list | tuple):
        raise wrong(argument, value, allowed)
    parts: dict[str, list[dict[str, Any]]] = {}
    for index, item in enumerate(plain_list(argument, value)):
        if isinstance(item.get("name"), str) and set(item) <= {"name", "value", "valueFrom"}:
            parts.setdefault("env", []).append(item)
        elif {"configMapRef", "secretRef"} & set(item) and set(item) <= {
            *("configMapRef", "prefix", "secretRef")
        }:
            parts.setdefault("envFrom", []).append(item)
        else:
            raise wrong(f"{argument}[{index}]", item, "a V1EnvVar or a V1EnvFromSource")
    return parts


def resources(argument: str, value: object) -> dict[str, Any]:
    """Returns ``resources`` of a container: given amounts are both requested and the limit.

    Raises:
        InputError: The value is no mapping and no V1ResourceRequirements.
    """
    amounts = mapping(argument, value)
    if amounts and set(amounts) <= {"claims", "limits", "requests"}:
        return amounts
    for name, amount in amounts.items():
        if isinstance(amount, bool) or not isinstance(amount, str | int | float):
            raise wrong(f"{argument}: {name}", amount, 'an amount, as 2 or "4Gi"')
    named = {_RESOURCES.get(name, name): amount for name, amount in amounts.items()}
    return {"requests": named, "limits": named} if named else {}


def patched(value: Any, patch: Any, key: str = "") -> Any:
    """Returns a value with a patch: mappings are merged, and lists whose items have names.

    Other lists, and values, are replaced; null takes a key out.

    Args:
        value: The value to patch; it is not changed.
        patch: The patch.
        key: The key of both in their mapping.
    """
    if isinstance(value, dict) and isinstance(patch, Mapping):
        merged = {name: patched(value.get(name), item, name) for name, item in patch.items()}
        return {name: item for name, item in {**value, **merged}.items() if item is not None}
    name = _NAMED_BY.get(key, "name")
    if isinstance(value, list) and isinstance(patch, list) and _all_have(name, value + patch):
        by_name = {item[name]: item for item in value}
        for item in patch:
            by_name[item[name]] = patched(by_name.get(item[name]), item)
        return list(by_name.values())
    return patch


def _all_have(name: str, items: list[Any]) -> bool:
    return all(isinstance(item, dict) and isinstance(item.get(name), str | int) for item in items)


def _plain(argument: str, value: object) -> Any:
    """Returns plain data; an object of the Kubernetes client says itself how its fields are called.

    Raises:
        InputError: There is another kind of object in it, or a key that is no text.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    names = getattr(value, "attribute_map", None)
    if isinstance(names, Mapping):
        value = {
            name: item
            for field, name in names.items()
            if (item := getattr(value, field, None)) is not None
        }
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise wrong(f"{argument}: a key", key, "a text")
        return {key: _plain(f"{argument}.{key}", item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(f"{argument}[{index}]", item) for index, item in enumerate(value)]
    raise wrong(argument, value, "a mapping, a list, a text or a number")
