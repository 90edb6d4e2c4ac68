"""Operations on objects that an API server does: selecting, merging, metadata, as mappings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any


class Refused(Exception):
    def __init__(
        self, status: int, reason: str, message: str, details: Mapping[str, str] | None = None
    ) -> None:
        self.details = details or {}
        self.status, self.reason, self.message = status, reason, message
        super().__init__(message)


def event_line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event).encode() + b"\n"


def as_seen(
    kind: str, new: Mapping[str, Any], old: Mapping[str, Any], query: Mapping[str, str]
) -> dict[str, Any] | None:
    """Returns an event as a watch with this selector shows it, or None if it shows nothing."""
    is_in = kind != "DELETED" and selected(new, query)
    was_in = bool(old) and selected(old, query)
    if not (is_in or was_in):
        return None
    seen_as = ("MODIFIED" if was_in else "ADDED") if is_in else "DELETED"
    return {"type": seen_as, "object": new}


def selected(body: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    return selector(query)(body)


def selector(query: Mapping[str, str]) -> Callable[[Mapping[str, Any]], bool]:
    """Returns whether an object is selected, for a query's selectors."""
    fields, labels = query.get("fieldSelector", ""), query.get("labelSelector", "")
    return _selector(fields, labels)


@lru_cache(maxsize=1000)
def _selector(fields: str, labels: str) -> Callable[[Mapping[str, Any]], bool]:
    by_field: list[tuple[list[str], bool, str]] = []
    for term in filter(None, fields.split(",")):
        match = re.fullmatch(r"(metadata\.name|status\.phase|type)(!?)=(.*)", term)
        assert match, term
        by_field.append((match[1].split("."), not match[2], match[3]))
    by_label: list[tuple[str, str, str | None]] = []
    for term in filter(None, labels.split(",")):
        match = re.fullmatch(r"(!?)([^=]+)(?:=(.*))?", term)
        assert match, term
        by_label.append((match[1], match[2], match[3]))

    def is_selected(body: Mapping[str, Any]) -> bool:
        for path, equal, wanted in by_field:
            value: Any = body
            for key in path:
                value = value.get(key, "")
            if (value == wanted) != equal:
                return False
        has = body["metadata"].get("labels") or {}
        for negated, key, wanted_label in by_label:
            if negated:
                if key in has:
                    return False
            elif key not in has or (wanted_label is not None and has[key] != wanted_label):
                return False
        return True

    return is_selected


def metadata_only(page: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a list as a client gets it that requests metadata only."""
    items = [{"metadata": item["metadata"]} for item in page["items"]]
    return {**page, "kind": "PartialObjectMetadataList", "items": items}


def is_stopped(body: Mapping[str, Any]) -> bool:
    spec = body.get("spec") or {}
    return bool(
        spec.get("suspend") or (spec.get("runPolicy") or {}).get("suspend") or spec.get("shutdown")
    )


def merge(body: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(body)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            result[key] = merge(result.get(key) or {}, value)
        else:
            result[key] = value
    return result
