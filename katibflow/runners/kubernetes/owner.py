"""Finds a run's Workflow, whose deletion deletes the run's jobs, from within the run.

A job belongs to its run's Workflow while its trial runs, so ``kubectl delete workflow`` ends it.
Once the trial is on record the job belongs to nobody: Kubeflow Pipelines deletes the Workflows of
runs that are over after a day, and a later run may resume from the record.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from katibflow.errors import RunnerError
from katibflow.runners.kubernetes.api import Api, ApiError
from katibflow.study.history import Trial

__all__ = [
    "KFP_RUN",
    "POD",
    "check_owner",
    "experiments_in",
    "is_gone",
    "is_shut_down",
    "released",
    "run_of_pod",
    "workflow_of_pod",
    "workflows_of",
]

POD = "KFP_POD_NAME"
"""Environment variable with the name of a step's pod, which Kubeflow Pipelines sets."""

KFP_RUN = "pipeline/runid"
"""Label with KFP's id of a run, on its Workflow and on its steps' pods."""

WORKFLOW = "KATIBFLOW_WORKFLOW"
RUN = "KATIBFLOW_RUN"
"""Environment variables with name and uid of a pod's own Workflow, in Workflows of ours."""

_GROUP = "argoproj.io/"
_KIND = "Workflow"


def workflow_of_pod(api: Api) -> dict[str, Any] | None:
    """Returns apiVersion, kind, name and uid of the Workflow that made this process's pod.

    Returns None outside of a run, and where pods cannot be listed.

    Raises:
        RunnerError: The server does not answer.
    """
    name, uid = os.environ.get(WORKFLOW), os.environ.get(RUN)
    if name and uid:
        return {"apiVersion": f"{_GROUP}v1alpha1", "kind": _KIND, "name": name, "uid": uid}
    for body in _own_pod(api):
        for owner in body["metadata"].get("ownerReferences") or ():
            if owner.get("kind") == _KIND and owner.get("apiVersion", "").startswith(_GROUP):
                return {key: owner[key] for key in ("apiVersion", "kind", "name", "uid")}
    return None


def run_of_pod(api: Api) -> str | None:
    """Returns KFP's id of the run that made this process's pod, or None where it is not known.

    Raises:
        RunnerError: The server does not answer.
    """
    labels = (body["metadata"].get("labels") or {} for body in _own_pod(api))
    return next((each[KFP_RUN] for each in labels if KFP_RUN in each), None)


def _own_pod(api: Api) -> list[dict[str, Any]]:
    """Returns the pod of this step; none outside of a run, or where pods cannot be listed."""
    pod = os.environ.get(POD)
    if not pod:
        return []
    query = {"fieldSelector": f"metadata.name={pod}"}
    try:
        return list(api.request("GET", api.path("v1", "pods"), query=query).get("items") or ())
    except ApiError:
        return []


def is_gone(api: Api, owner: Mapping[str, Any]) -> bool:
    """Returns whether a Workflow was deleted; False if it cannot be read.

    Raises:
        RunnerError: The server does not answer.
    """
    try:
        return _is_another(_read(api, owner), owner)
    except ApiError as error:
        return error.status == 404


def is_shut_down(api: Api, owner: Mapping[str, Any]) -> bool:
    """Returns whether a Workflow was stopped, terminated or deleted; False if it cannot be read.

    Argo writes ``spec.shutdown`` before it ends the pods; a retry of the Workflow takes it away.

    Raises:
        RunnerError: The server does not answer.
    """
    try:
        body = _read(api, owner)
    except ApiError as error:
        return error.status == 404
    return _is_another(body, owner) or bool(body["spec"].get("shutdown"))


def _read(api: Api, owner: Mapping[str, Any]) -> dict[str, Any]:
    return api.request("GET", api.path(owner["apiVersion"], "workflows", owner["name"]))


def _is_another(body: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    metadata = body["metadata"]
    return "deletionTimestamp" in metadata or metadata.get("uid") != owner["uid"]


def released(
    patch: dict[str, Any], trial: Trial, owner: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Returns the patch with a trial's record; after it a finished trial's job has no owner."""
    if owner is None or not trial.state.is_finished:
        return patch
    return {**patch, "metadata": {**patch["metadata"], "ownerReferences": None}}


def check_owner(api: Api, owner: Mapping[str, Any] | None) -> None:
    """Checks that the owner of a job that is gone was not deleted.

    A record that is made anew then, and the trials that would follow, are nobody's wish.

    Raises:
        RunnerError: The owner was deleted, or the server does not answer.
    """
    if owner is not None and is_gone(api, owner):
        raise RunnerError(f"{owner['kind']} {owner['name']} was deleted, and its jobs with it")


def workflows_of(api: Api, run: str) -> Iterator[dict[str, Any]]:
    """Yields the Workflows of a run, which is one, or none once it is deleted.

    Args:
        api: Requests in the run's namespace.
        run: KFP's id of the run.

    Raises:
        RunnerError: They cannot be read.
    """
    path = api.path("argoproj.io/v1alpha1", "workflows")
    for page in api.pages(path, {"labelSelector": f"{KFP_RUN}={run}"}):
        yield from page.get("items") or ()


def experiments_in(workflow: Mapping[str, Any]) -> Iterator[str]:
    """Yields the texts that tasks of a Workflow have as their input ``experiment``.

    Kubeflow Pipelines keeps each DAG of a run as the JSON text of an argument of its Workflow.
    """
    for argument in workflow["spec"]["arguments"]["parameters"]:
        try:
            component = json.loads(argument.get("value") or "null")
        except ValueError:
            continue
        dag = component.get("dag") if isinstance(component, Mapping) else None
        for task in (dag or {}).get("tasks", {}).values():
            given = task.get("inputs", {}).get("parameters", {}).get("experiment", {})
            constant = given.get("runtimeValue", {}).get("constant")
            if isinstance(constant, str):
                yield constant
