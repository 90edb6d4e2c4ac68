"""The component `start`, the first step: unpacks the library and checks the Experiment.

The library is in the run's own Workflow object, in the source of the component `library`. Outside
of a cluster, as in `kfp.local`, or if the image has the library, `start` uses the installed one.

KFP needs each input's name, so the compiler replaces ``**given`` by the run's parameters
(`katibflow.compiler.run_inputs`).
"""
# mypy: disable-error-code="valid-type,no-untyped-call,misc,import-untyped"

from kfp.dsl import Artifact, Output

__all__ = ["start"]


def start(
    study: Output[Artifact],
    experiment: str,
    layout: str,
    run: str,
    library: str,
    room: int,
    **given: str,
) -> None:
    """Checks the Experiment with this run's parameters, and writes the first study."""
    import base64
    import bz2
    import os
    import re
    import sys
    import zipfile

    os.makedirs(study.path, exist_ok=True)
    archive = f"{study.path}/library.zip"
    if library and "KUBERNETES_SERVICE_HOST" in os.environ:
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
        text = found[1].translate(str.maketrans(",.:/[]'", "{}$`&<>"))
        parts = bz2.decompress(base64.b85decode(text)).decode().split("\0")
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
            for path, source in zip(parts[::2], parts[1::2], strict=True):
                files.writestr(path, source)
    sys.path.insert(0, archive)
    from katibflow import steps

    steps.start(experiment, given, layout, run, library, room, study)
