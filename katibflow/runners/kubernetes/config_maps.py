"""Reads a ConfigMap with a trialTemplate from the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from katibflow.errors import RunnerError
from katibflow.experiment.config_map import ReadConfigMap, TemplateSource
from katibflow.runners.kubernetes.api import Api, ApiError, connect

__all__ = ["map_in_cluster", "read_config_map"]


def map_in_cluster(context: str | None = None) -> ReadConfigMap:
    """Returns a function that reads a ConfigMap from the cluster.

    Args:
        context: The kubeconfig's context; by default the current one.
    """
    return lambda source: (
        read_config_map(connect(source.namespace, context), source),
        str(source),
    )


def read_config_map(api: Api, source: TemplateSource) -> Mapping[str, Any]:
    """Returns the ConfigMap, as the API server gives it.

    Args:
        api: The ConfigMap's namespace, from `connect`.
        source: The reference to the ConfigMap.

    Raises:
        RunnerError: It cannot be read; the message says how to fix this.
    """
    try:
        return {
            "kind": "ConfigMap",
            **api.request("GET", api.path("v1", "configmaps", source.name)),
        }
    except ApiError as error:
        what = f"spec.trialTemplate.configMap: {source} cannot be read: {error}"
        if error.status == 403:
            what += (
                "\nThe account needs a Role with this rule in that namespace:\n"
                "- apiGroups: ['']\n"
                "  resources: [configmaps]\n"
                f"  resourceNames: [{source.name}]\n"
                "  verbs: [get]"
            )
        raise RunnerError(what) from error
    finally:
        api.closed.set()
