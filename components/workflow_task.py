"""The program of each pod of an Argo Workflow: gets what the run carries, and runs one step.

The compiler puts this function's source, and that of `in_cluster` and `unpacking`, into each pod's
command, so the function imports all else that it needs. What the run carries are raw artifacts
among the Workflow's own arguments, which no template takes: so they stand in the object once, while
a template's inputs stand in each of its nodes, and every template of a WorkflowTemplate a second
time in the status.
"""

from katibflow.components.in_cluster import read_workflows
from katibflow.components.unpacking import unpack_library

__all__ = ["workflow_task"]


def workflow_task(step: str, *given: str) -> None:
    """Reads the run's own Workflow, puts its library on ``sys.path``, and runs a step.

    Args:
        step: The step's name, as `katibflow.steps.workflow_tasks` knows it.
        given: The step's inputs.
    """
    import os

    workflow = read_workflows(
        f"/{os.environ['KATIBFLOW_WORKFLOW']}",
        "let the service account of the Workflow's pods get workflows.argoproj.io "
        "(deploy/role.yaml)",
    )
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
        from katibflow.steps.installing import install

        install(os.environ["KATIBFLOW_PACKAGES"].split())
    from katibflow.steps.workflow_tasks import run_task

    run_task(step, given, carried["experiment"], carried["settings"], folder)
