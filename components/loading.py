"""Gets the packed library from the run's own Workflow, for the steps that come without it.

The compiler puts this function's source, and that of `unpacking`, before that of each component
that calls it, so the function imports all else that it needs.
"""
# mypy: disable-error-code="import-untyped"

from katibflow.components.unpacking import unpack_library

__all__ = ["load_library"]


def load_library(library: str, run: str, archive: str) -> None:
    """Writes the library to a ZIP archive, and puts that on ``sys.path``.

    The library is in the source of the component `library`. Outside of a cluster, as in
    `kfp.local`, or if the image has the library, this does nothing.

    Args:
        library: The mark of the library in the pipeline; "" without one.
        run: KFP's id of the run.
        archive: The archive's path; its folder is created if needed.
    """
    import os
    import re

    os.makedirs(os.path.dirname(archive), exist_ok=True)
    if not library or "KUBERNETES_SERVICE_HOST" not in os.environ:
        return
    from kubernetes import client, config

    config.load_config()
    try:
        with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace") as file:
            namespace = file.read().strip()
    except OSError:
        namespace = config.list_kube_config_contexts()[1]["context"]["namespace"]
    resource = ("argoproj.io", "v1alpha1", namespace, "workflows")
    try:
        workflows = client.CustomObjectsApi().list_namespaced_custom_object(
            *resource, label_selector=f"pipeline/runid={run}"
        )["items"]
    except client.ApiException as error:
        advice = (
            "let the run's service account list workflows.argoproj.io (Kubeflow's own Role "
            "pipeline-runner does), or compile with --image or --package, which carry no code"
        )
        raise SystemExit(
            "katibflow: the code of the steps is in the run's own Workflow, and the Workflows "
            f"in namespace {namespace} cannot be listed: {error.status} {error.reason}; "
            + (advice if error.status == 403 else "this step is tried again")
        ) from error
    texts = [
        each.get("value", "")
        for workflow in workflows
        for each in workflow["spec"]["arguments"]["parameters"]
    ]
    found = re.search(re.escape(library) + r':([^"\\]+)', "\n".join(texts))
    if found is None:
        raise SystemExit(
            f"katibflow: found {len(workflows)} Workflows of run {run} in namespace "
            f"{namespace} and in none of them {library}, the code of the steps; compile with "
            "--image or --package, which carry no code"
        )
    unpack_library(found[1], archive)
