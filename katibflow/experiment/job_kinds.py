"""The kinds of job that a trial can be, as plain data, and the rules for a trial's job.

The references in a trial's job are in `experiment.trial_template`.

Source: the defaults in Katib's ``pkg/controller.v1beta1/consts/const.go`` and
``experiment_defaults.go``; JAXJob and PaddleJob have none there, so a file must give them. RayJob
and Workflow are not in Katib's list; KubeRay suspends a RayJob only if it shuts its cluster down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from katibflow.errors import Fault
from katibflow.experiment.gjson_path import path_of
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import TrialTemplate
from katibflow.experiment.yaml_reader import found

__all__ = [
    "KINDS",
    "JobKind",
    "PodTemplate",
    "faults",
    "kind_of",
    "pod_templates",
]


def _condition(word: str) -> str:
    """Returns Katib's GJSON expression for a job with this condition and its status True."""
    return f'status.conditions.#(type=="{word}")#|#(status=="True")#'


@dataclass(frozen=True)
class JobKind:
    """One kind of Kubernetes object that can be a trial.

    Attributes:
        api_version: The manifest's ``apiVersion``, as ``kubeflow.org/v1``.
        kind: The manifest's ``kind``, as ``PyTorchJob``.
        plural: The resource's name in the API's paths.
        replica_specs: The key in ``spec`` of the mapping from replica type to replica; empty if the
            kind has no replicas.
        pod_template: The keys from ``spec`` to the one pod template of a kind without replicas.
        success_condition: A GJSON expression over the object; None if the file must have one.
        failure_condition: The same for failure; it is tested first.
        primary_pod_labels: The labels of the pod whose output holds the metrics. Empty for any pod
            of the trial; None if the file must have them.
        stop: The values to merge into ``spec`` so that the pods end and the object stays; None if
            the job stops only when it is deleted.
        defaults: The values in ``spec`` that are set if the file leaves them out; ``stop`` needs
            them.
        pod_metadata: The keys from ``spec`` to metadata that every pod gets; empty if the kind has
            no such field.
        name_label: The label that holds the job's name on each pod, for a kind whose pod templates
            are not in the object; else empty.
    """

    api_version: str
    kind: str
    plural: str
    replica_specs: str = ""
    pod_template: tuple[str, ...] = ()
    success_condition: str | None = None
    failure_condition: str | None = None
    primary_pod_labels: Mapping[str, str] | None = None
    stop: Mapping[str, Any] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    pod_metadata: tuple[str, ...] = ()
    name_label: str = ""

    @property
    def group(self) -> str:
        """The API group; empty for Kubernetes's core."""
        return self.api_version.rpartition("/")[0]


@dataclass(frozen=True)
class PodTemplate:
    """One pod template of a job.

    Attributes:
        replica_type: ``Master``, ``Worker`` ...; ``Job`` for a batch Job.
        replicas: The number of pods that are made from the template.
        path: The path of the template in the manifest, as ``spec.template``.
        template: The template itself: ``metadata`` and ``spec``.
    """

    replica_type: str
    replicas: int
    path: str
    template: Mapping[str, Any] = field(repr=False)


def _training_job(kind: str, key: str, *, has_defaults: bool = True) -> JobKind:
    return JobKind(
        "kubeflow.org/v1",
        kind,
        f"{kind.lower()}s",
        replica_specs=key,
        success_condition=_condition("Succeeded") if has_defaults else None,
        failure_condition=_condition("Failed") if has_defaults else None,
        primary_pod_labels={"training.kubeflow.org/job-role": "master"} if has_defaults else None,
        stop={"runPolicy": {"suspend": True}},
    )


def _phase(*tests: str) -> str:
    """Returns a GJSON expression for a kind that has a word for its state and no conditions."""
    return "status.[@this].#(" + ")#|#(".join(tests) + ")#"


KINDS: Mapping[tuple[str, str], JobKind] = {
    (kind.api_version, kind.kind): kind
    for kind in (
        JobKind(
            "batch/v1",
            "Job",
            "jobs",
            pod_template=("template",),
            success_condition=_condition("Complete"),
            failure_condition=_condition("Failed"),
            primary_pod_labels={},
            stop={"suspend": True},
        ),
        _training_job("PyTorchJob", "pytorchReplicaSpecs"),
        _training_job("TFJob", "tfReplicaSpecs"),
        _training_job("XGBoostJob", "xgbReplicaSpecs"),
        _training_job("MPIJob", "mpiReplicaSpecs"),
        _training_job("PaddleJob", "paddleReplicaSpecs", has_defaults=False),
        _training_job("JAXJob", "jaxReplicaSpecs", has_defaults=False),
        JobKind(
            "trainer.kubeflow.org/v1alpha1",
            "TrainJob",
            "trainjobs",
            success_condition=_condition("Complete"),
            failure_condition=_condition("Failed"),
            primary_pod_labels={
                "jobset.sigs.k8s.io/replicatedjob-name": "node",
                "batch.kubernetes.io/job-completion-index": "0",
            },
            stop={"suspend": True},
            name_label="jobset.sigs.k8s.io/jobset-name",
        ),
        JobKind(
            "ray.io/v1",
            "RayJob",
            "rayjobs",
            success_condition=_phase('jobStatus=="SUCCEEDED"'),
            failure_condition=_phase('jobDeploymentStatus=="Failed"'),
            primary_pod_labels={},
            stop={"suspend": True},
            defaults={"shutdownAfterJobFinishes": True},
            name_label="batch.kubernetes.io/job-name",
        ),
        JobKind(
            "argoproj.io/v1alpha1",
            "Workflow",
            "workflows",
            success_condition=_phase('phase=="Succeeded"'),
            failure_condition=_phase(
                *(f'phase!="{word}"' for word in ("Succeeded", "Running", "Pending", ""))
            ),
            stop={"shutdown": "Terminate"},
            pod_metadata=("podMetadata",),
        ),
    )
}
"""Maps apiVersion and kind to a kind. Any other kind needs its conditions in the file."""

_RANK_ORDER = ("Chief", "Master", "Launcher", "Worker")


def kind_of(manifest: Mapping[str, Any]) -> JobKind:
    """Returns the kind of a trialSpec.

    Another version of a known kind is like it in all. Another group's kind of the same name has its
    conditions and labels, as in Katib, which goes by the name alone; where its pods are and how it
    stops is not known. An unknown kind has nothing but its names; the plural is Kubernetes's usual
    one, lower case with an ``s``.
    """
    api_version, kind = str(manifest.get("apiVersion", "")), str(manifest.get("kind", ""))
    same = KINDS.get((api_version, kind))
    if same is not None:
        return same
    plain = JobKind(api_version, kind, f"{kind.lower()}s")
    for known in KINDS.values():
        if known.kind == kind and known.group == plain.group:
            return replace(known, api_version=api_version)
        if known.kind == kind:
            return replace(
                plain,
                success_condition=known.success_condition,
                failure_condition=known.failure_condition,
                primary_pod_labels=known.primary_pod_labels,
            )
    return plain


def pod_templates(manifest: Mapping[str, Any]) -> tuple[PodTemplate, ...]:
    """Returns the pod templates of a job, the one with rank 0 first; none for an unknown kind.

    The manifest may be unchecked: this ignores a value that should be a mapping and is not.
    """
    kind = kind_of(manifest)
    spec = _mapping(manifest.get("spec"))
    if kind.pod_template:
        template: Mapping[str, Any] = spec
        for key in kind.pod_template:
            template = _mapping(template.get(key))
        path = ".".join(("spec", *kind.pod_template))
        return (PodTemplate(kind.kind, 1, path, template),) if template else ()
    if not kind.replica_specs:
        return ()
    replicas = _mapping(spec.get(kind.replica_specs))
    ordered = sorted(
        replicas,
        key=lambda name: _RANK_ORDER.index(name) if name in _RANK_ORDER else len(_RANK_ORDER),
    )
    return tuple(
        PodTemplate(
            name,
            _count(_mapping(replicas[name]).get("replicas", 1)),
            f"spec.{kind.replica_specs}.{name}.template",
            _mapping(_mapping(replicas[name]).get("template")),
        )
        for name in ordered
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 1


def faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of the job in trialTemplate.

    Source: validateTrialTemplate and validateTrialJob in Katib's validator.go.
    """
    template = parts.trial_template
    if template is None:
        return
    where = "spec.trialTemplate"
    if not template.primary_container_name:
        yield Fault(f"{where}.primaryContainerName", "", "the name of the training container")
    yield from _gjson_faults(template, where)
    if template.trial_spec is None:
        return
    spec = template.trial_spec
    unnamed = [key for key in ("apiVersion", "kind") if not _is_word(spec.get(key))]
    for key in unnamed:
        given = found(spec[key]) if spec.get(key) is not None else ""
        yield Fault(f"{where}.trialSpec.{key}", given, f'a string, as "{_EXAMPLES[key]}"')
    metadata = _mapping(spec.get("metadata"))
    if spec.get("metadata") is not None and not isinstance(spec["metadata"], Mapping):
        yield Fault(f"{where}.trialSpec.metadata", found(spec["metadata"]), "a mapping")
    for key in ("name", "namespace"):
        if metadata.get(key) not in (None, ""):
            yield Fault(
                f"{where}.trialSpec.metadata.{key}",
                found(metadata[key]),
                "nothing: every trial gets its own name, in the experiment's namespace",
            )
    if unnamed:
        return
    yield from _kind_faults(template, where)
    yield from _pod_faults(template, f"{where}.trialSpec")


_EXAMPLES = {"apiVersion": "batch/v1", "kind": "Job"}


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _gjson_faults(template: TrialTemplate, where: str) -> Iterator[Fault]:
    """Yields the faults of conditions as expressions, whatever the kind."""
    for key, text in (
        ("successCondition", template.success_condition),
        ("failureCondition", template.failure_condition),
    ):
        try:
            if text:
                path_of(text)
        except ValueError as error:
            allowed = f"a GJSON expression over the job, as {_condition('Succeeded')}"
            yield Fault(f"{where}.{key}", f"{found(text)}, {error}", allowed)


def _kind_faults(template: TrialTemplate, where: str) -> Iterator[Fault]:
    spec = template.trial_spec or {}
    kind = kind_of(spec)
    for key, given, default, word in (
        ("successCondition", template.success_condition, kind.success_condition, "Succeeded"),
        ("failureCondition", template.failure_condition, kind.failure_condition, "Failed"),
    ):
        if not given and default is None:
            yield Fault(
                f"{where}.{key}",
                "",
                f"a GJSON condition, as {kind.kind} has no default ({_condition(word)})",
            )
    if not template.primary_pod_labels and kind.primary_pod_labels is None:
        yield Fault(
            f"{where}.primaryPodLabels", "", f"labels of a pod, as {kind.kind} has no default"
        )


def _pod_faults(template: TrialTemplate, where: str) -> Iterator[Fault]:
    spec = template.trial_spec or {}
    kind = kind_of(spec)
    if not (kind.replica_specs or kind.pod_template):
        return
    pods = pod_templates(spec)
    if not pods:
        missing = kind.replica_specs or ".".join(kind.pod_template)
        yield Fault(f"{where}.spec.{missing}", "", "a mapping that describes the pods")
        return
    names: set[str] = set()
    for pod in pods:
        if kind.replica_specs:
            yield from _replica_faults(spec, kind, pod, where)
        path = f"{where}.{pod.path}.spec.containers"
        containers = _mapping(pod.template.get("spec")).get("containers")
        if not isinstance(containers, list) or not containers:
            given = "" if containers is None else found(containers)
            yield Fault(path, given, "a list with a container")
            continue
        for index, container in enumerate(containers):
            name = _mapping(container).get("name")
            if isinstance(name, str) and name:
                names.add(name)
            else:
                given = "" if name is None else found(name)
                yield Fault(f"{path}[{index}].name", given, "a string")
    primary = template.primary_container_name
    if primary and names and primary not in names and not any("${" in name for name in names):
        yield Fault(
            "spec.trialTemplate.primaryContainerName",
            f'"{primary}", which no pod of trialSpec has',
            ", ".join(sorted(names)),
        )


def _replica_faults(
    spec: Mapping[str, Any], kind: JobKind, pod: PodTemplate, where: str
) -> Iterator[Fault]:
    replicas = _mapping(_mapping(spec.get("spec")).get(kind.replica_specs))
    count = _mapping(replicas.get(pod.replica_type)).get("replicas")
    if count is None or _is_reference(count):
        return
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        path = f"{where}.spec.{kind.replica_specs}.{pod.replica_type}.replicas"
        yield Fault(path, found(count), "a whole number above 0")


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"\$\{trialParameters\..+\}", value))
