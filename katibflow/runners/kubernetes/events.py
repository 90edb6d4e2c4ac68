"""Reads Kubernetes's warnings (Events of type Warning) as values, and explains findings by them.

The functions are pure. A warning says what no status says: why a pod is not created, why a volume
cannot be mounted, why a container was killed. `event_log` reads them from the cluster.

Source: the Event of ``core/v1``. A repeat comes as the same Event with a higher count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum, auto
from typing import Any

from katibflow.runners.kubernetes.causes import Prospect, Reason, cause_of
from katibflow.runners.kubernetes.pods import Finding

__all__ = ["Access", "Known", "WarningEvent", "explained", "read_warning", "status_words"]

_KILLED = (137, 143)
"""Exit codes of a container that was ended by SIGKILL or SIGTERM."""


class Access(StrEnum):
    """Whether the Events could be read.

    UNREAD: nobody has asked yet, or the answer is not there. READ: those so far are known. REFUSED:
    the account may not read them.
    """

    UNREAD = auto()
    READ = auto()
    REFUSED = auto()


@dataclass(frozen=True)
class WarningEvent:
    """An Event of type Warning.

    Attributes:
        kind: Kind of the object that it is about, such as ``Pod``.
        name: Name of that object.
        container: Name of the container that it is about; empty for the object as a whole.
        reason: One word of its sender's.
        message: The sender's sentence, in one line.
        count: How often it happened, as far as the sender counts.
    """

    kind: str
    name: str
    reason: str
    message: str = ""
    container: str = ""
    count: int = 1


@dataclass(frozen=True)
class Known:
    """What is known from the Events of a trial.

    Attributes:
        access: Whether they could be read.
        warnings: Name of the Event to the warning, the newest last.
    """

    access: Access = Access.UNREAD
    warnings: Mapping[str, WarningEvent] = field(default_factory=dict)

    def with_warning(self, name: str, warning: WarningEvent) -> Known:
        """Returns what is known after an Event came, or came again."""
        others = {key: each for key, each in self.warnings.items() if key != name}
        return replace(self, warnings={**others, name: warning})

    def of_pod(self, pod: str, container: str) -> Iterator[WarningEvent]:
        """Yields the warnings about a container of a pod, or about the pod, the newest first."""
        for each in reversed(list(self.warnings.values())):
            is_here = each.kind == "Pod" and each.name == pod
            if is_here and (not container or each.container in ("", container)):
                yield each

    def of_job(self) -> Iterator[WarningEvent]:
        """Yields the warnings about the job and what its controllers made of it, newest first."""
        return (each for each in reversed(list(self.warnings.values())) if each.kind != "Pod")


def read_warning(item: Mapping[str, Any]) -> WarningEvent:
    """Returns the warning of an API object."""
    about: Mapping[str, Any] = item.get("involvedObject") or {}
    path = about.get("fieldPath") or ""
    return WarningEvent(
        kind=about.get("kind", ""),
        name=about.get("name", ""),
        reason=item.get("reason") or "",
        message=" ".join((item.get("message") or "").split()),
        container=path.partition("{")[2].rstrip("}"),
        count=item.get("count") or (item.get("series") or {}).get("count") or 1,
    )


def explained(finding: Finding, known: Known, namespace: str, job: str) -> Finding:
    """Returns a finding in the words of a warning that explains it, or else the finding itself.

    A finding that only Events could explain says so if they may not be read.

    Args:
        finding: A finding about a trial.
        known: What is known from the trial's Events.
        namespace: The trial's namespace.
        job: Name of the trial's job.
    """
    if not finding.unexplained:
        return finding
    begins = finding.prospect in (Prospect.SLOW, Prospect.WAITING, Prospect.SETTLING)
    if known.access is Access.REFUSED and (begins or finding.exit_code in _KILLED):
        text = "; ".join(filter(None, (finding.message, _hint(namespace, finding.pod or job))))
        return replace(finding, message=text, topic=finding.reason)
    if finding.reason == Reason.PODS_MISSING:
        return _in_words_of(finding, known.of_job())
    about = known.of_pod(finding.pod, finding.container)
    if begins:
        return _in_words_of(finding, (each for each in about if not cause_of(each.reason).kills))
    why = next((each for each in about if cause_of(each.reason).kills), None)
    if why is None:
        return finding
    if finding.exit_code in _KILLED:
        text = f"{why.message}; {finding.message}" if why.message else finding.message
        return replace(finding, reason=why.reason, message=text)
    return replace(finding, message=f"{finding.message}; {why.reason}: {why.message}")


def _in_words_of(finding: Finding, warnings: Iterable[WarningEvent]) -> Finding:
    """Returns a finding of something that does not begin, as the newest warning has it."""
    why = next((each for each in warnings if not cause_of(each.reason).is_silent), None)
    if why is None:
        return finding
    begun = f"{finding.message}: " if finding.message and not finding.pod else ""
    text = f"{begun}{why.message}"
    # a controller names another pod in each try, and counts what is used anew
    return replace(finding, reason=why.reason, message=text, topic=why.reason)


def _hint(namespace: str, name: str) -> str:
    """Returns what would show a cause that only Events have, and what allows to read them."""
    where = f" -n {namespace}" if namespace else ""
    return (
        "only its Events say why, and they may not be read: "
        f"kubectl get events{where} --field-selector involvedObject.name={name}; "
        "with the rule `list` and `watch` of `events` katibflow reads them"
    )


def status_words(kind: str, body: Mapping[str, Any]) -> str:
    """Returns what a job's controller last wrote on it; that it wrote nothing, if so.

    Args:
        kind: The job's kind.
        body: The job object.
    """
    status: Mapping[str, Any] = body.get("status") or {}
    if not status:
        return f"the controller of {kind} is not running, or has not come to it"
    conditions: Collection[Mapping[str, Any]] = status.get("conditions") or ()
    said = [each for each in conditions if each.get("message")]
    newest = max(said, key=lambda each: each.get("lastTransitionTime") or "", default=status)
    reason, message = newest.get("reason") or "", newest.get("message") or ""
    return ": ".join(filter(None, (reason, message)))
