"""Makes and reads the Kubernetes object of a trial: its labels, its annotations, its record.

The job carries the labels ``katibflow/experiment``, ``katibflow/run``, ``katibflow/trial`` (its
number) and, once its outcome is on record, ``katibflow/state`` (a `TrialState`). Annotations:
``katibflow/assignments`` (JSON, parameter name to value), ``katibflow/record`` (the trial as JSON,
see `study.history`, and the record's ``version``, a key that the first version lacks; while the
trial runs its start is the job's creationTimestamp), ``katibflow/search`` (what the experiment
searches, see `study.resume`), ``katibflow/workflow`` (the name of the Workflow whose step made the
job) and ``katibflow/stopped`` (the reason) on a job that was to end early. The pods carry the first
three labels and ``katibflow/replica``, the type of replica, in lower case. A ConfigMap that holds a
record (`record_maps`) has its job's metadata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from katibflow.errors import HistoryError, InputError, RunnerError
from katibflow.experiment import job_kinds
from katibflow.experiment.job_kinds import JobKind
from katibflow.runners.base import TrialJob
from katibflow.runners.kubernetes.checkpoints import AddCheckpoint, add_checkpoint
from katibflow.runners.kubernetes.metrics_registry import add_source
from katibflow.runners.kubernetes.pods import REPLICA_LABEL
from katibflow.runners.kubernetes.record_lifetime import drop_lifetime, is_leaving
from katibflow.runners.kubernetes.workloads import has_queue, is_suspended
from katibflow.study.history import Trial, TrialState, time_text, trial_from_data, trial_to_data

__all__ = [
    "ASSIGNMENTS",
    "CHECKPOINTS",
    "EXPERIMENT",
    "RECORD",
    "RECORD_VERSION",
    "RUN",
    "SEARCH",
    "STATE",
    "STOPPED",
    "TRIAL",
    "UNREADABLE",
    "WORKFLOW",
    "Identity",
    "Shape",
    "check_name",
    "created_at",
    "holds_still",
    "is_name",
    "job_body",
    "merged",
    "read_record",
    "record_metadata",
    "record_patch",
    "stand_in",
    "started_at",
    "stop_patch",
    "was_stopped",
]

EXPERIMENT, RUN, TRIAL, STATE = (f"katibflow/{x}" for x in ("experiment", "run", "trial", "state"))
ASSIGNMENTS, RECORD, STOPPED = (f"katibflow/{x}" for x in ("assignments", "record", "stopped"))
SEARCH, WORKFLOW = (f"katibflow/{x}" for x in ("search", "workflow"))
RECORD_VERSION = 2
"""The version of written records, and the newest that can be read."""

RECORD_LIMIT = 200_000
"""Bytes of a record; Kubernetes allows 256 KiB for all annotations of an object together."""

CHECKPOINTS: Mapping[str, AddCheckpoint] = {
    "pbt": add_checkpoint,
}
"""Name of an algorithm to the function that gives its trials checkpoint folders."""

UNREADABLE = "RecordUnreadable"
"""Reason of a finished trial whose record cannot be read."""

_SIDECAR = "sidecar.istio.io/inject"
_TRIAL_NAME = "KATIB_TRIAL_NAME"  # Katib sets it on the primary container
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Identity:
    """The namespace, experiment and run that jobs belong to.

    Attributes:
        namespace: Namespace of the jobs.
        experiment: The Experiment's name.
        run: The run's id.

    Raises:
        InputError: One of them is not a valid Kubernetes name.
    """

    namespace: str
    experiment: str
    run: str

    def __post_init__(self) -> None:
        for what, text in vars(self).items():
            check_name(what, text)

    @property
    def labels(self) -> dict[str, str]:
        """Returns the labels of every job of the run."""
        return {EXPERIMENT: self.experiment, RUN: self.run}

    def owns(self, body: Mapping[str, Any], number: int) -> bool:
        """Returns whether an object is the job of this run's trial ``number``."""
        labels = body["metadata"].get("labels") or {}
        return {**self.labels, TRIAL: str(number)}.items() <= labels.items()


def is_name(text: str) -> bool:
    """Returns whether a text is a valid Kubernetes name."""
    return _NAME.fullmatch(text) is not None


def check_name(what: str, text: str) -> None:
    """Refuses an invalid Kubernetes name, before it gets into a path or a selector."""
    if not is_name(text):
        raise InputError(
            f"{what}: found {text!r}; allowed: at most 63 of a-z, 0-9 and -, first and last no -"
        )


@dataclass(frozen=True)
class Shape:
    """The number and labels of pods that a rendered trialSpec describes.

    Attributes:
        expected: Number of the job's pods.
        first_replica: Type of the replica with rank 0; empty if the kind has none.
        allowed_restarts: The job's backoffLimit; None if it has none.
        labelled: Whether the pods carry katibflow's labels.
    """

    expected: int
    first_replica: str
    allowed_restarts: int | None
    labelled: bool

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Shape:
        """Reads the shape from a rendered trialSpec."""
        kind = job_kinds.kind_of(manifest)
        templates = job_kinds.pod_templates(manifest)
        spec = manifest.get("spec") or {}
        limits = (spec.get("backoffLimit"), (spec.get("runPolicy") or {}).get("backoffLimit"))
        expected = sum(template.replicas for template in templates) or 1
        counts = [spec.get(key) for key in ("parallelism", "completions")]
        known = [count for count in counts if isinstance(count, int)]
        if kind.pod_template and len(known) == 2:
            expected = max(1, min(known))
        return cls(
            expected=expected,
            first_replica=templates[0].replica_type if kind.replica_specs and templates else "",
            allowed_restarts=next((item for item in limits if isinstance(item, int)), None),
            labelled=bool(kind.pod_metadata) or bool(list(_pods_of(_plain(manifest)))),
        )


def job_body(
    job: TrialJob,
    identity: Identity,
    owner: Mapping[str, Any] | None = None,
    search: str = "",
) -> dict[str, Any]:
    """Returns the object to create for a trial.

    Args:
        job: The trial's job.
        identity: The namespace, experiment and run.
        owner: apiVersion, kind, name and uid of the object whose deletion deletes the job too.
        search: What the experiment searches, for the job's annotation.

    Raises:
        InputError: The manifest names another namespace, or the job's name is invalid.
    """
    kind = job_kinds.kind_of(job.manifest)
    body = _plain(job.manifest)
    add_source(body, job.source, job.primary_container)
    metadata = _mapping_at(body, "metadata")
    name = job.trial.job or ""
    check_name("the job's name", name)
    drop_lifetime(kind, body)
    if metadata.get("namespace", identity.namespace) != identity.namespace:
        raise InputError(
            f"trialSpec.metadata.namespace: found {metadata['namespace']!r}; allowed: "
            f"{identity.namespace!r}, the run's own, or nothing"
        )
    own = {**identity.labels, TRIAL: str(job.trial.number)}
    spec = _mapping_at(body, "spec")
    for key, value in kind.defaults.items():
        spec.setdefault(key, value)
    for pod in _pods_of(body):
        _mark_pod(_mapping_at(pod, "metadata"), own)
        for container in () if kind.env else pod["spec"]["containers"]:
            if container.get("name") == job.primary_container:
                _add_variable(container, "env", name)
    if kind.env:
        trainer, last = spec, kind.env[-1]
        for key in kind.env[:-1]:
            trainer = _mapping_at(trainer, key)
        _add_variable(trainer, last, name)
    if kind.pod_metadata:
        place = spec
        for key in kind.pod_metadata:
            place = _mapping_at(place, key)
        _mark_pod(place, own)
    for template in job_kinds.pod_templates(body):
        labels = template.template["metadata"]["labels"]
        labels[REPLICA_LABEL] = template.replica_type.lower()
    for key, value in record_metadata(job.trial, identity, owner, search).items():
        if isinstance(value, dict):
            _mapping_at(metadata, key).update(value)
        else:
            metadata[key] = value
    if job.checkpoint is not None:
        CHECKPOINTS["pbt"](body, job.checkpoint, name, job.parent)
    return body


def record_metadata(
    trial: Trial,
    identity: Identity,
    owner: Mapping[str, Any] | None,
    search: str,
    *,
    is_owned: bool = True,
) -> dict[str, Any]:
    """Returns the metadata of an object with a trial's record: its job, or a ConfigMap.

    Args:
        trial: The trial.
        identity: The namespace, experiment and run.
        owner: apiVersion, kind, name and uid of the Workflow that has the job made.
        search: What the experiment searches.
        is_owned: Whether the owner's deletion deletes this object too.
    """
    assignments = json.dumps(dict(trial.assignments), ensure_ascii=False)
    labels = {**identity.labels, TRIAL: str(trial.number)}
    if trial.state.is_finished:
        labels[STATE] = trial.state.value
    annotations = {ASSIGNMENTS: assignments, RECORD: _record_text(trial)}
    if search:
        annotations[SEARCH] = search
    metadata: dict[str, Any] = {
        "name": trial.job or "",
        "namespace": identity.namespace,
        "labels": labels,
        "annotations": annotations,
    }
    if owner:
        annotations[WORKFLOW] = owner["name"]  # a reference goes once the trial is on record
    if owner and is_owned:
        owned = {**owner, "controller": False, "blockOwnerDeletion": False}
        metadata["ownerReferences"] = [owned]
    return metadata


def _add_variable(place: dict[str, Any], key: str, job: str) -> None:
    variables = place.get(key) or []
    if all(entry.get("name") != _TRIAL_NAME for entry in variables):
        place[key] = [*variables, {"name": _TRIAL_NAME, "value": job}]


def _plain(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy without shared parts: a YAML anchor may make one object of two templates."""
    copied: dict[str, Any] = json.loads(json.dumps(manifest, default=str))
    return copied


def _mapping_at(parent: dict[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(parent.get(key), dict):
        parent[key] = {}
    child: dict[str, Any] = parent[key]
    return child


def _pods_of(value: object) -> Iterator[dict[str, Any]]:
    """Yields every pod template in an object of any kind; a Pod is its own template."""
    if isinstance(value, dict):
        spec = value.get("spec")
        if isinstance(spec, dict) and isinstance(spec.get("containers"), list):
            yield value
        for item in list(value.values()):
            yield from _pods_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from _pods_of(item)


def _mark_pod(metadata: dict[str, Any], own: Mapping[str, str]) -> None:
    labels, annotations = (_mapping_at(metadata, key) for key in ("labels", "annotations"))
    if _SIDECAR not in labels and _SIDECAR not in annotations:
        # newer Istio reads the label, older the annotation
        labels[_SIDECAR] = annotations[_SIDECAR] = "false"
    labels.update(own)


def _record_text(trial: Trial) -> str:
    """Returns the record's text, with a thinned series if it is too long for an annotation."""

    def text(changed: Trial) -> str:
        data = {"version": RECORD_VERSION, **trial_to_data(changed)}
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"))

    record, step, points = text(trial), 1, trial.intermediate
    while len(record.encode()) > RECORD_LIMIT and step < len(points):
        step *= 2
        kept = points[:-1:step] + points[-1:]
        note = f"(the record keeps {len(kept)} of {len(points)} reports)"
        thinned = replace(trial, intermediate=kept, message=f"{trial.message} {note}".strip())
        record = text(thinned)
    if len(record.encode()) > RECORD_LIMIT:
        cut = f"{trial.message[: RECORD_LIMIT // 20]} (the record is cut)"
        record = text(replace(trial, intermediate=points[-1:], message=cut, attributes={}))
    return record


def record_patch(trial: Trial) -> dict[str, Any]:
    """Returns the patch that puts a trial's present state on its job's record."""
    state = trial.state.value if trial.state.is_finished else None
    return {
        "metadata": {"annotations": {RECORD: _record_text(trial)}, "labels": {STATE: state}},
    }


def read_record(body: Mapping[str, Any]) -> Trial | None:
    """Returns the trial on a job's record, or None if the job has no record.

    Raises:
        RunnerError: The record cannot be read; the error says what it found and what can be read.
    """
    text = (body["metadata"].get("annotations") or {}).get(RECORD)
    if text is None:
        return None
    try:
        trial = _trial_of(json.loads(text))
    except (ValueError, RecursionError, HistoryError) as error:
        name = body["metadata"].get("name")
        raise RunnerError(f"the annotation {RECORD} of {name} cannot be read: {error}") from error
    if trial.state.is_finished:
        return trial
    if was_stopped(body) is not None or is_suspended(body) or is_leaving(body):
        return replace(trial, start=None)  # its job is to be created (anew), or waits in a queue
    return trial.started(time_text(started_at(body)))


def _trial_of(data: object) -> Trial:
    if not isinstance(data, dict):
        raise HistoryError("it is no JSON object")
    version = data.get("version", 1)
    if type(version) is not int or not 1 <= version <= RECORD_VERSION:
        raise HistoryError(
            f"a record of version {version!r}, this katibflow reads up to {RECORD_VERSION}"
        )
    return trial_from_data(data)


def stand_in(body: Mapping[str, Any], why: str) -> Trial | None:
    """Returns the trial of a job with an unreadable record by its labels, or None without them.

    A trial that is over counts as failed, as its result is not known; its number stays taken.

    Args:
        body: The job.
        why: The reason why the record cannot be read.
    """
    metadata = body["metadata"]
    labels, annotations = (metadata.get(key) or {} for key in ("labels", "annotations"))
    number = labels.get(TRIAL, "")
    try:
        assignments = json.loads(annotations.get(ASSIGNMENTS, ""))
    except (ValueError, RecursionError):
        return None
    if not (number.isdecimal() and isinstance(assignments, dict)):
        return None
    texts = {key: str(value) for key, value in assignments.items()}
    trial = Trial(int(number), TrialState.RUNNING, texts, job=metadata.get("name"))
    if was_stopped(body) is None and not is_suspended(body) and not is_leaving(body):
        trial = trial.started(time_text(started_at(body)))
    if labels.get(STATE) is None:
        return trial
    return replace(trial, state=TrialState.FAIL, reason=UNREADABLE, message=why)


def created_at(body: Mapping[str, Any]) -> datetime:
    """Returns the time of an object's creation; Kubernetes keeps whole seconds."""
    return datetime.fromisoformat(body["metadata"]["creationTimestamp"])


def started_at(body: Mapping[str, Any]) -> datetime:
    """Returns the time when a job began: its creation, or its start after it left a queue."""
    start = (body.get("status") or {}).get("startTime")
    return datetime.fromisoformat(start) if start and has_queue(body) else created_at(body)


def stop_patch(kind: JobKind, reason: str) -> dict[str, Any]:
    """Returns the patch after which a job's controller ends the pods."""
    return {
        "metadata": {"annotations": {STOPPED: reason[:1000] or "stopped"}},
        "spec": kind.stop or {},
    }


def merged(body: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the object after a JSON merge patch (RFC 7386)."""
    result = dict(body)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            old = result.get(key)
            result[key] = merged(old if isinstance(old, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def holds_still(kind: JobKind, body: Mapping[str, Any]) -> bool:
    """Returns whether a job's spec asks for no pods.

    An API server drops fields that the kind's definition lacks, as ``suspend`` in old operators.
    """

    def contains(value: Any, part: Any) -> bool:
        if isinstance(part, Mapping) and isinstance(value, Mapping):
            return all(contains(value.get(key), item) for key, item in part.items())
        return bool(value == part)

    return kind.stop is not None and contains(body.get("spec"), kind.stop)


def was_stopped(body: Mapping[str, Any]) -> str | None:
    """Returns the reason for which a job was stopped early, or None if it was not."""
    reason: str | None = (body["metadata"].get("annotations") or {}).get(STOPPED)
    return reason
