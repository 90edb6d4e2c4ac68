"""The exit handler: stops what is unfinished of this run. It stands alone, without the library.

On Kubernetes it finds the run's jobs by label and stops each as its kind can be stopped (the body
of a merge patch), or deletes it where there is no such way. For trials on this machine it goes by
the run folder, in which the launcher has put the library.
"""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp import dsl

__all__ = ["finish"]


def finish(
    run: str,
    name: str,
    group: str,
    version: str,
    plural: str,
    stop: str,
    status: dsl.PipelineTaskFinalStatus,
) -> None:
    """Stops the jobs of this run that still go on."""
    import hashlib
    import json
    import os
    import sys

    short = hashlib.sha256(run.encode()).hexdigest()[:8]
    inside = "KUBERNETES_SERVICE_HOST" in os.environ
    runner = os.environ.get("KATIBFLOW_RUNNER") or ("kubernetes" if inside else "local")
    if runner == "local":
        folder = f"{os.environ.get('KATIBFLOW_RUNS') or 'runs'}/{name}-{short}"
        if os.path.isdir(folder):
            sys.path.insert(0, f"{folder}/library.zip")
            from katibflow import steps

            steps.finish(folder)
        return
    from kubernetes import client, config

    config.load_config()
    try:
        with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace") as file:
            namespace = file.read().strip()
    except FileNotFoundError:
        namespace = config.list_kube_config_contexts()[1]["context"]["namespace"]
    api = client.CustomObjectsApi()
    place = (group, version, namespace, plural)
    own = f"katibflow/run={short},!katibflow/state"
    for job in api.list_namespaced_custom_object(*place, label_selector=own)["items"]:
        conditions = job.get("status", {}).get("conditions") or []
        ended = {item["type"] for item in conditions if item["status"] == "True"}
        if ended & {"Complete", "Succeeded", "Failed"}:
            continue
        job_name = job["metadata"]["name"]
        print("stops", job_name)
        if stop:
            api.api_client.set_default_header("Content-Type", "application/merge-patch+json")
            api.patch_namespaced_custom_object(*place, job_name, json.loads(stop))
        else:
            api.delete_namespaced_custom_object(*place, job_name, propagation_policy="Background")
