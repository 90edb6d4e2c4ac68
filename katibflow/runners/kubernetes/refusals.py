"""Tells from the Status object of a refused request who refused it.

A 403 comes from an authorizer (RBAC), from an admission webhook, or from an admission plugin of the
API server (quota, LimitRange, Pod Security, a namespace that goes). All three have the reason
``Forbidden``; they differ in ``details``: a webhook's refusal has none, an authorizer names the
object only if the request's path did, and a plugin always names it.

Source: ``responsewriters/errors.go``, ``admission/errors.go`` and
``webhook/errors/statuserror.go`` in kubernetes/apiserver.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, auto
from typing import Any

__all__ = ["Refusal", "refusal"]

_FORBIDDEN = 403
_READING = ("get", "list", "watch")
_NAMESPACE_GOES = "NamespaceTerminating"


class Refusal(StrEnum):
    """The part of the API server that refused a request.

    ACCESS: an authorizer, so that a rule in a Role would allow the request. WEBHOOK: an admission
    webhook, which refuses the object itself. ADMISSION: a plugin of the API server, such as a
    quota. NAMESPACE: the namespace is being deleted. UNCLEAR: the Status does not say whether it
    was an authorizer or a plugin; a SelfSubjectAccessReview does. NONE: no refusal of this kind.
    """

    ACCESS = auto()
    WEBHOOK = auto()
    ADMISSION = auto()
    NAMESPACE = auto()
    UNCLEAR = auto()
    NONE = auto()


def refusal(verb: str, code: int, details: Mapping[str, Any]) -> Refusal:
    """Returns who refused a request.

    Args:
        verb: The request's verb as in a Role, such as ``create``.
        code: The ``code`` of the Status object.
        details: Its ``details``; empty if it has none.
    """
    if code != _FORBIDDEN:
        return Refusal.NONE
    if any(cause.get("reason") == _NAMESPACE_GOES for cause in details.get("causes") or ()):
        return Refusal.NAMESPACE
    if not details:
        # only the API server itself answers a request to read
        return Refusal.ACCESS if verb in _READING else Refusal.WEBHOOK
    if verb in _READING or not details.get("name"):
        return Refusal.ACCESS
    return Refusal.ADMISSION if verb == "create" else Refusal.UNCLEAR
