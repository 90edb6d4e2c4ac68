"""The component `finish`, the exit handler: stops the run's jobs that have not ended.

An exit handler has no study as input, so on Kubernetes it runs without the library: it finds the
jobs by label, and stops each by its kind's merge patch, or deletes it where the kind has none. A
job that waits in a queue of Kueue's, or left it, would be let run again: its Workload is
deactivated first, and the job is deleted where that is not possible. It leaves jobs alone that have
ended, by a condition, or by a state as Workflows and RayJobs have.
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
    queue = "kueue.x-k8s.io"

    def is_held(job):  # type: ignore[no-untyped-def]
        spec = job.get("spec") or {}
        return True in (spec.get("suspend"), (spec.get("runPolicy") or {}).get("suspend"))

    def leaves_queue(job):  # type: ignore[no-untyped-def]
        left = False
        for version in ("v1beta2", "v1beta1"):
            workloads = (queue, version, namespace, "workloads")
            own = f"{queue}/job-uid={job['metadata'].get('uid')}"
            try:
                found = api.list_namespaced_custom_object(*workloads, label_selector=own)["items"]
                for each in () if left else found:
                    api.api_client.default_headers.update(patches)
                    which = (*workloads, each["metadata"]["name"])
                    api.patch_namespaced_custom_object(*which, {"spec": {"active": False}})
                    left = True
            except client.ApiException as error:
                if error.status not in (403, 404):
                    raise
        return left

    patches = {"Content-Type": "application/merge-patch+json"}
    own = f"katibflow/experiment={name},katibflow/run={short},!katibflow/state"
    ends = {"Complete", "Succeeded", "Failed", "Error", "SUCCEEDED", "FAILED", "STOPPED"}
    jobs = api.list_namespaced_custom_object(*resource, label_selector=own)["items"]
    for job in sorted(jobs, key=lambda job: not is_held(job)):  # the others' places are for these
        status_fields = job.get("status") or {}
        words = {v for v in status_fields.values() if isinstance(v, str)}
        words |= {c["type"] for c in status_fields.get("conditions") or () if c["status"] == "True"}
        if words & ends:
            continue
        which = (*resource, job["metadata"]["name"])
        print("stops", *which)
        held = is_held(job) and "katibflow/stopped" not in job["metadata"].get("annotations", {})
        queued = held or f"{queue}/queue-name" in job["metadata"]["labels"]
        if stop and (not queued or leaves_queue(job)):
            api.api_client.default_headers.update(patches)
            api.patch_namespaced_custom_object(*which, json.loads(stop))
        else:
            api.api_client.default_headers.pop("Content-Type", None)
            api.delete_namespaced_custom_object(*which, propagation_policy="Background")
