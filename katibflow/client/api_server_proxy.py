"""Says why the proxy of a kubeconfig's API server does not lead to Kubeflow Pipelines."""

from __future__ import annotations

from katibflow.client.access import SERVICE_PATH, Access, is_by_kubeconfig
from katibflow.client.base import NotFound
from katibflow.client.records import cluster_of
from katibflow.errors import KatibflowError, RunnerError
from katibflow.steps.kfp_service import ENDPOINT

__all__ = ["unreached"]


def unreached(access: Access, error: NotFound) -> RunnerError:
    """Returns the error for an installation that is not found at its address.

    The proxy answers 404 both where the cluster has no Kubeflow Pipelines, which is a `NotFound`,
    and where it cannot lead to the service that is there, as only to endpoints that are pods.

    Args:
        access: How the installation is reached.
        error: The installation's answer.
    """
    if not is_by_kubeconfig(access):
        return error
    try:
        api = cluster_of(access.namespace or "", access.context)
        api.request("GET", f"/{SERVICE_PATH}")
    except KatibflowError:
        return NotFound(
            f"{error}; allowed: a kubeconfig whose cluster has Kubeflow Pipelines, or its address, "
            f"as --host or {ENDPOINT}"
        )
    return RunnerError(
        f"{error}; the cluster has that service, and the proxy of its API server does not lead to "
        "it, as it leads to pods alone; allowed: the address of Kubeflow Pipelines, as --host or "
        f"{ENDPOINT}; kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80 opens "
        "http://localhost:8080"
    )
