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

from katibflow.experiment.yaml_reader import mapping

__all__ = [
    "KINDS",
    "JobKind",
    "PodTemplate",
    "Suffix",
    "condition",
    "has_primary",
    "is_reference",
    "kind_of",
    "name_limit",
    "pod_templates",
]


def condition(word: str) -> str:
    """Returns Katib's GJSON expression for a job with this condition and its status True."""
    return f'status.conditions.#(type=="{word}")#|#(status=="True")#'


@dataclass(frozen=True)
class Suffix:
    """A text that a controller appends to a job's name.

    Attributes:
        text: The text; ``{}`` stands for the highest index of a pod.
        count: The keys from ``spec`` to the number of pods; empty if it is 1.
        when: The keys from ``spec`` to a field without which the name is not made; empty if it
            always is.
    """

    text: str
    count: tuple[str, ...] = ()
    when: tuple[str, ...] = ()


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
        lifetime: The keys from ``spec`` to the field by which the controller deletes a finished job
            after some time; empty if the kind has no such field.
        name_label: The label that holds the job's name on each pod, for a kind whose pod templates
            are not in the object; else empty.
        suffixes: What the kind's controllers append to the job's name in the names that they make.
        env: The keys from ``spec`` to the variables of the primary container, for a kind that
            allows them nowhere else; else empty.
        has_stages: Whether pods run one after another, each for a step of the user's own, so that
            the end of one says nothing about the job's end.
        job_replicas: The types of replica that the operator runs as a batch Job, which starts them
            again up to ``runPolicy.backoffLimit`` times.
        working: The fields of ``status`` that say that the trial's work has begun, for a kind whose
            work may have no pod of its own.
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
    lifetime: tuple[str, ...] = ()
    name_label: str = ""
    suffixes: tuple[Suffix, ...] = ()
    env: tuple[str, ...] = ()
    has_stages: bool = False
    job_replicas: tuple[str, ...] = ()
    working: Mapping[str, str] = field(default_factory=dict)

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


MASTER, LAUNCHER = ({"training.kubeflow.org/job-role": role} for role in ("master", "launcher"))


def _training_job(
    kind: str,
    key: str,
    *,
    version: str = "v1",
    has_defaults: bool = True,
    labels: Mapping[str, str] = MASTER,
    job_replicas: tuple[str, ...] = (),
) -> JobKind:
    return JobKind(
        f"kubeflow.org/{version}",
        kind,
        f"{kind.lower()}s",
        replica_specs=key,
        success_condition=condition("Succeeded") if has_defaults else None,
        failure_condition=condition("Failed") if has_defaults else None,
        primary_pod_labels=labels if has_defaults else None,
        stop={"runPolicy": {"suspend": True}},
        lifetime=("runPolicy", "ttlSecondsAfterFinished"),
        job_replicas=job_replicas,
    )


def _phase(*tests: str) -> str:
    """Returns a GJSON expression for a kind that has a word for its state and no conditions."""
    return "status.[@this].#(" + ")#|#(".join(tests) + ")#"


def _either(*expressions: str) -> str:
    """Returns a GJSON expression that matches where one of the expressions does."""
    return "[" + ",".join(expressions) + "]|@flatten"


KINDS: Mapping[tuple[str, str], JobKind] = {
    (kind.api_version, kind.kind): kind
    for kind in (
        JobKind(
            "batch/v1",
            "Job",
            "jobs",
            pod_template=("template",),
            success_condition=condition("Complete"),
            failure_condition=condition("Failed"),
            primary_pod_labels={},
            stop={"suspend": True},
            lifetime=("ttlSecondsAfterFinished",),
            suffixes=(Suffix("-{}", ("completions",), ("completions",)),),
        ),
        _training_job("PyTorchJob", "pytorchReplicaSpecs"),
        _training_job("TFJob", "tfReplicaSpecs"),
        _training_job("XGBoostJob", "xgbReplicaSpecs"),
        _training_job("MPIJob", "mpiReplicaSpecs"),
        _training_job(
            "MPIJob",
            "mpiReplicaSpecs",
            version="v2beta1",
            labels=LAUNCHER,
            job_replicas=("launcher",),
        ),
        _training_job("PaddleJob", "paddleReplicaSpecs", has_defaults=False),
        _training_job("JAXJob", "jaxReplicaSpecs", has_defaults=False),
        JobKind(
            "trainer.kubeflow.org/v1alpha1",
            "TrainJob",
            "trainjobs",
            success_condition=condition("Complete"),
            failure_condition=condition("Failed"),
            primary_pod_labels={
                "jobset.sigs.k8s.io/replicatedjob-name": "node",
                "batch.kubernetes.io/job-completion-index": "0",
            },
            stop={"suspend": True},
            name_label="jobset.sigs.k8s.io/jobset-name",
            suffixes=(
                Suffix("-node-0-{}-abcde", ("trainer", "numNodes")),
                Suffix("-launcher-0-0-abcde"),
                Suffix("-dataset-initializer-0-0-abcde", when=("initializer", "dataset")),
                Suffix("-model-initializer-0-0-abcde", when=("initializer", "model")),
            ),
            env=("trainer", "env"),
        ),
        JobKind(
            "ray.io/v1",
            "RayJob",
            "rayjobs",
            success_condition=_phase('jobStatus=="SUCCEEDED"', 'jobDeploymentStatus=="Complete"'),
            failure_condition=_either(
                _phase('jobDeploymentStatus=="Failed"'),
                _phase('jobDeploymentStatus=="ValidationFailed"'),
                _phase('jobDeploymentStatus=="Complete"', 'jobStatus!="SUCCEEDED"'),
            ),
            primary_pod_labels={},
            stop={"suspend": True},
            defaults={"shutdownAfterJobFinishes": True},
            name_label="batch.kubernetes.io/job-name",
            suffixes=(Suffix("-abcde-serve-svc"),),
            working={"jobStatus": "RUNNING"},
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
            lifetime=("ttlStrategy",),
            has_stages=True,
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
    plain = JobKind(api_version, kind, f"{kind.lower()}s", has_stages=True)
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
    spec = mapping(manifest.get("spec"))
    if kind.pod_template:
        template: Mapping[str, Any] = spec
        for key in kind.pod_template:
            template = mapping(template.get(key))
        path = ".".join(("spec", *kind.pod_template))
        return (PodTemplate(kind.kind, 1, path, template),) if template else ()
    if not kind.replica_specs:
        return ()
    replicas = mapping(spec.get(kind.replica_specs))
    ordered = sorted(
        replicas,
        key=lambda name: _RANK_ORDER.index(name) if name in _RANK_ORDER else len(_RANK_ORDER),
    )
    return tuple(
        PodTemplate(
            name,
            _count(mapping(replicas[name]).get("replicas", 1)),
            f"spec.{kind.replica_specs}.{name}.template",
            mapping(mapping(replicas[name]).get("template")),
        )
        for name in ordered
    )


NAME_LENGTH = 63
"""The longest name of a label's value, a Service or a pod's host, which are made from a job's."""


def name_limit(manifest: Mapping[str, Any]) -> int:
    """Returns the longest name that a job may have, given the names that are made from it.

    The manifest may be unchecked, as in `pod_templates`. A reference counts as a thousand pods.

    Source: ``MaxRayJobNameLength`` in KubeRay; ``jobset_webhook.go`` in JobSet, which checks the
    names of its pods; ``validateMPIJobName`` in the MPI operator; the Training Operator's Services,
    ``<job>-<replica>-<index>``; Kubernetes's check of an indexed Job's host names.
    """
    kind, spec = kind_of(manifest), mapping(manifest.get("spec"))
    made = [
        suffix.text.format(_highest(_at(spec, suffix.count)))
        for suffix in kind.suffixes
        if not suffix.when or _at(spec, suffix.when) is not None
    ]
    if kind.replica_specs:
        for pod in pod_templates(manifest):
            given = _at(spec, (kind.replica_specs, pod.replica_type, "replicas"))
            made.append(f"-{pod.replica_type.lower()}-{_highest(given)}")
    return NAME_LENGTH - max(map(len, made), default=0)


def _at(spec: Mapping[str, Any], keys: tuple[str, ...]) -> object:
    value: object = spec if keys else None
    for key in keys:
        value = mapping(value).get(key)
    return value


def _highest(count: object) -> int:
    """Returns the highest index among so many pods; one if nothing is given."""
    return 999 if is_reference(count) else max(0, _count(count) - 1)


def has_primary(manifest: Mapping[str, Any], primary: str) -> bool:
    """Returns whether the object describes a pod with this container, or may by a reference."""
    names = {container.get("name") for container in _containers(manifest)}
    return primary in names or any("${" in str(name) for name in names)


def _containers(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        listed = value.get("containers")
        if isinstance(listed, list):
            yield from (item for item in listed if isinstance(item, Mapping))
        for item in value.values():
            yield from _containers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _containers(item)


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 1


def is_reference(value: object) -> bool:
    """Returns whether a value of the template is a parameter of the trial, and nothing else."""
    return isinstance(value, str) and bool(re.fullmatch(r"\$\{trialParameters\..+\}", value))
