"""The program of each pod of an Argo Workflow: gets what the run carries, and runs one step.

The compiler puts this function's source, and that of `unpacking`, into each pod's command, so the
function imports all else that it needs. What the run carries are raw artifacts among the Workflow's
own arguments, which no template takes: so they stand in the object once, while a template's inputs
stand in each of its nodes, and every template of a WorkflowTemplate a second time in the status.
"""
# mypy: disable-error-code="import-untyped"

from katibflow.components.unpacking import unpack_library

__all__ = ["workflow_task"]


def workflow_task(step: str, *given: str) -> None:
    """Reads the run's own Workflow, puts its library on ``sys.path``, and runs a step.

    Args:
        step: The step's name, as `katibflow.steps.workflow_tasks` knows it.
        given: The step's inputs.
    """
    import os

    from kubernetes import client, config

    namespace, name = os.environ["KATIBFLOW_NAMESPACE"], os.environ["KATIBFLOW_WORKFLOW"]
    config.load_config()
    try:
        workflow = client.CustomObjectsApi().get_namespaced_custom_object(
            "argoproj.io", "v1alpha1", namespace, "workflows", name
        )
    except client.ApiException as error:
        advice = (
            "let the service account of the Workflow's pods get workflows.argoproj.io "
            "(deploy/role.yaml)"
        )
        raise SystemExit(
            f"katibflow: the run's own Workflow {name} in namespace {namespace}, which has the "
            f"Experiment and the code of the steps, cannot be read: {error.status} "
            f"{error.reason}; " + (advice if error.status == 403 else "this step is tried again")
        ) from error
    stored = workflow.get("status", {}).get("storedWorkflowTemplateSpec")
    carried = {
        artifact["name"]: artifact["raw"]["data"]
        for artifact in (stored or workflow["spec"])["arguments"]["artifacts"]
        if "raw" in artifact
    }
    folder = os.environ.get("KATIBFLOW_FOLDER", "/tmp/katibflow")
    os.makedirs(folder, exist_ok=True)
    if "library" in carried:
        unpack_library(carried["library"], f"{folder}/library.zip")
    from katibflow.steps.workflow_tasks import run_task

    run_task(step, given, carried["experiment"], carried["settings"], folder)
