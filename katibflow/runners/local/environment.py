"""Builds a replica's environment as Kubernetes and the Training Operator set it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = [
    "container_environment",
    "expand",
    "pytorch_environment",
    "reference_of",
]

ADDRESS = "127.0.0.1"

_REFERENCES = {
    "secretKeyRef": "Secret",
    "configMapKeyRef": "ConfigMap",
    "secretRef": "Secret",
    "configMapRef": "ConfigMap",
}

_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replaces ``$(NAME)`` as Kubernetes does in command, args and env values.

    ``$$`` is an escaped ``$``; a name that is not defined stays as it stands.

    Source: third_party/forked/golang/expansion/expand.go in kubernetes/kubernetes.
    """

    def resolve(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else values.get(match[1], match[0])

    return _REFERENCE.sub(resolve, text)


def container_environment(
    entries: Iterable[Mapping[str, Any]],
    given: Mapping[str, str],
    fields: Mapping[str, str],
    known: Callable[[str], str | None] = lambda name: None,
) -> dict[str, str]:
    """Returns the values of a container's ``env``; each may refer to the ones before it.

    A value from a Secret or a ConfigMap is the one that the variable has here; without one the
    variable is left out, as the check lets pass only those that are optional.

    Args:
        entries: The list as in the manifest.
        given: Variables that are defined before the list.
        fields: Pod field (``metadata.name``) to its value, for ``fieldRef``.
        known: Returns the value that a variable has on this machine, or None.
    """
    values = dict(given)
    for entry in entries:
        source = entry.get("valueFrom")
        if source and reference_of(source) is not None:
            value = known(entry["name"])
            if value is not None:
                values[entry["name"]] = value
        elif source:
            values[entry["name"]] = fields[source["fieldRef"]["fieldPath"]]
        else:
            values[entry["name"]] = expand(str(entry.get("value") or ""), values)
    return values


def reference_of(source: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """Returns the kind and the reference of a value from a Secret or a ConfigMap; None for others.

    Args:
        source: ``valueFrom`` of a variable, or an item of ``envFrom``.
    """
    for key, kind in _REFERENCES.items():
        reference = source.get(key)
        if isinstance(reference, Mapping):
            return kind, reference
    return None


def pytorch_environment(
    spec: Mapping[str, Any], counts: Mapping[str, int], rank: int, port: int
) -> dict[str, str]:
    """Returns the variables that the Training Operator 1.9 sets in a PyTorchJob's pods.

    The address is this machine's own. The operator gives no ranks to a job that has only workers;
    here they get ranks, unless the job is elastic (torchrun gives the ranks then).

    Args:
        spec: The PyTorchJob's ``spec``.
        counts: Replica type to number of replicas.
        rank: Rank of the replica.
        port: Port on which rank 0 listens.

    Source: setPodEnv, pkg/controller.v1/pytorch/envvar.go, master.go and elastic.go.
    """
    total = sum(counts.values())
    per_node = str(spec.get("nprocPerNode") or "auto")
    elastic = spec.get("elasticPolicy")
    values: dict[str, str] = {}
    if "Master" in counts or not elastic:
        world = total * int(per_node) if per_node.isdigit() else total
        values.update(
            MASTER_PORT=str(port),
            PET_MASTER_PORT=str(port),
            MASTER_ADDR=ADDRESS,
            PET_MASTER_ADDR=ADDRESS,
            WORLD_SIZE=str(world),
            RANK=str(rank),
            PET_NPROC_PER_NODE=per_node,
            PET_NODE_RANK=str(rank),
        )
    if elastic:
        values.update(_elastic_environment(elastic, counts, port))
    else:
        values["PET_NNODES"] = str(total)
    return values


def _elastic_environment(
    policy: Mapping[str, Any], counts: Mapping[str, int], port: int
) -> dict[str, str]:
    workers = counts.get("Worker", 0)
    least, most = policy.get("minReplicas"), policy.get("maxReplicas")
    nodes = (
        str(workers)
        if least is None and most is None
        else f"{workers if least is None else least}:{workers if most is None else most}"
    )
    values = {
        "PET_RDZV_ENDPOINT": f"{ADDRESS}:{port}",
        "PET_RDZV_BACKEND": str(policy.get("rdzvBackend") or "c10d"),
        "PET_NNODES": nodes,
    }
    for name, key in (
        ("PET_MAX_RESTARTS", "maxRestarts"),
        ("PET_NPROC_PER_NODE", "nProcPerNode"),
        ("PET_RDZV_ID", "rdzvId"),
    ):
        if policy.get(key) is not None:
            values[name] = str(policy[key])
    pairs = policy.get("rdzvConf")
    if pairs:
        values["PET_RDZV_CONF"] = ",".join(f"{pair['key']}={pair['value']}" for pair in pairs)
    if policy.get("standalone"):
        values["PET_STANDALONE"] = ""
    return values
