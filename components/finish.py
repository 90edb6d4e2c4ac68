"""The component `finish`, the exit handler: stops the run's jobs that have not ended.

An exit handler has no study as input, so on Kubernetes it runs without the library: it finds the
jobs by label, and stops each by its kind's merge patch, or deletes it where the kind has none. It
leaves jobs alone that have ended, by a condition, or by a state as Workflows and RayJobs have.
Elsewhere the library is installed and does this.
"""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp.dsl import PipelineTaskFinalStatus

__all__ = ["finish"]


def finish(
    run: str,
    name: str,
    group: str,
    version: str,
    plural: str,
    stop: str,
    status: PipelineTaskFinalStatus,
) -> None:
    """Stops the jobs that have not ended."""
    import hashlib
    import json
    import os

    short = hashlib.sha256(run.encode()).hexdigest()[:8]
    runner = os.environ.get("KATIBFLOW_RUNNER", "")
    if runner != "kubernetes" and (runner or "KUBERNETES_SERVICE_HOST" not in os.environ):
        from katibflow import steps

        steps.finish(name, short)
        return
    from kubernetes import client, config

    config.load_config()
    try:
        with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace") as file:
            namespace = file.read().strip()
    except OSError:
        namespace = config.list_kube_config_contexts()[1]["context"]["namespace"]
    api = client.CustomObjectsApi()
    resource = (group, version, namespace, plural)
    own = f"katibflow/experiment={name},katibflow/run={short},!katibflow/state"
    ends = {"Complete", "Succeeded", "Failed", "Error", "SUCCEEDED", "FAILED", "STOPPED"}
    ends |= {"ValidationFailed"}
    for job in api.list_namespaced_custom_object(*resource, label_selector=own)["items"]:
        status_fields = job.get("status") or {}
        words = {v for v in status_fields.values() if isinstance(v, str)}
        words |= {c["type"] for c in status_fields.get("conditions") or () if c["status"] == "True"}
        if words & ends:
            continue
        which = (*resource, job["metadata"]["name"])
        print("stops", *which)
        if stop:
            api.api_client.set_default_header("Content-Type", "application/merge-patch+json")
            api.patch_namespaced_custom_object(*which, json.loads(stop))
        else:
            api.delete_namespaced_custom_object(*which, propagation_policy="Background")
