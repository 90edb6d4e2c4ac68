"""Operations on objects that an API server does: selecting, merging, metadata, as mappings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
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
    labels = body["metadata"].get("labels") or {}
    for term in filter(None, query.get("fieldSelector", "").split(",")):
        match = re.fullmatch(r"(metadata\.name|status\.phase)(!?)=(.*)", term)
        assert match, term
        part, key = match[1].split(".")
        if (body.get(part, {}).get(key, "") == match[3]) == bool(match[2]):
            return False
    for term in filter(None, query.get("labelSelector", "").split(",")):
        match = re.fullmatch(r"(!?)([^=]+)(?:=(.*))?", term)
        assert match, term
        negated, key, value = match.groups()
        if negated:
            if key in labels:
                return False
        elif key not in labels or (value is not None and labels[key] != value):
            return False
    return True


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
