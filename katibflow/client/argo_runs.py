"""Has the runs of Experiments in a namespace with Argo Workflows alone; implements `base.Runs`.

A run is a Workflow, which is read and changed through the Kubernetes API: Argo's own server is not
needed. The Workflow has the Experiment, its layout and the run's parameters, and its uid is the
run's id.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from katibflow.client.base import Engine, NotFound, Run, Unreachable
from katibflow.client.reading import FIRST_LETTERS, ExperimentRun, experiment_run_of
from katibflow.client.workflow import WORKFLOW, StepPod, Workflow, read_pod, read_workflow
from katibflow.compiler.argo.objects import API, LAYOUT_LABEL
from katibflow.errors import InputError, RunnerError
from katibflow.experiment.types import Experiment
from katibflow.runners.kubernetes.api import Api, ApiError
from katibflow.steps.run_parameters import parameters_of

__all__ = ["ARGO", "ArgoRuns", "NoArgo", "NoRight"]

ARGO = Engine(
    "Argo Workflows", ("katibflow", "submit", "EXPERIMENT.yaml", "--to", "argo"), namespace="argo"
)

_SERVER = "ARGO_SERVER"
_SECURE = "ARGO_SECURE"
"""Variables by which Argo's own command finds its server, which has the web pages too."""

_STATES = {"": "PENDING", "Error": "FAILED"}
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""What Kubernetes makes the ends of generated names from."""

_CONFLICT = 409
_ABSENT = 404
_REFUSED = (401, 403)
_NAMESPACES = "namespaces"
"""What a 404 is about whose namespace is not there."""

Answer = TypeVar("Answer")


class NoArgo(NotFound):
    """The cluster has no Argo Workflows."""


class NoRight(RunnerError):
    """The account may not do this with Workflows."""


class ArgoRuns:
    """Reads, starts and stops the runs of one namespace; implements `base.Runs`.

    It is also their `workflow_reader.Workflows`, of what was read last.

    Args:
        api: The API for the namespace of the runs.
    """

    def __init__(self, api: Api) -> None:
        self.api = api
        self._path = api.path(API, "workflows")
        self._names: dict[str, str] = {}
        self._read: dict[str, Workflow] = {}

    @property
    def namespace(self) -> str:
        """The namespace of the runs."""
        return self.api.namespace

    def run(self, run_id: str) -> Run:
        """Returns a run as it is now, with its steps.

        Raises:
            NotFound: Its Workflow was deleted.
        """
        return self._run_of(self._body(self._name_of(run_id), run_id))

    def experiment_run(self, name: str) -> ExperimentRun:
        """Returns the Experiment of the Workflow of a name, as it is now.

        Raises:
            NotFound: There is no such Workflow.
            InputError: The Workflow is none of katibflow's.
        """
        return self._experiment_run_of(self._body(name))

    def find(self, wanted: str) -> list[ExperimentRun]:
        """Returns the runs of a name, an id or the first letters of an id.

        Raises:
            NoArgo: The cluster has no Argo Workflows.
        """
        listed = self._listed()
        found = [each for each in listed if each["name"] == wanted]
        found = found or [each for each in listed if each["uid"].startswith(wanted)]
        return [self.experiment_run(each["name"]) for each in found[:_MANY]]

    def latest(self, limit: int) -> Iterator[ExperimentRun]:
        """Yields the latest runs, the newest first; leaves out what cannot be read.

        Args:
            limit: The greatest number of runs that are looked at, from 1.

        Raises:
            NoArgo: The cluster has no Argo Workflows.
        """
        for each in self._listed()[:limit]:
            try:
                yield self.experiment_run(each["name"])
            except (NotFound, InputError):  # deleted meanwhile, or another release's
                continue

    def full_run_id(self, text: str) -> str:
        """Returns the whole id of the one run whose id begins with a text, or else the text."""
        if not FIRST_LETTERS.fullmatch(text):
            return text
        found = [each["uid"] for each in self._listed() if each["uid"].startswith(text)]
        return found[0] if len(found) == 1 else text

    def create(self, body: Mapping[str, Any]) -> ExperimentRun:
        """Creates a Workflow, under a name with random letters, as Kubernetes generates names.

        The name is made here, so that the request can be repeated after a lost answer.
        """
        metadata = dict(body["metadata"])
        end = "".join(random.choices(_LETTERS, k=5))
        metadata["name"] = name = f"{metadata.pop('generateName')}{end}"
        try:
            made = self._ask("POST", self._path, body={**body, "metadata": metadata})
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
            made = self._body(name)  # an earlier request of this call
        return self._experiment_run_of(made)

    def schedule(self, body: Mapping[str, Any]) -> str:
        """Creates a CronWorkflow, and returns its uid.

        Raises:
            InputError: There is one of that name.
        """
        name = body["metadata"]["name"]
        try:
            made = self._ask("POST", self.api.path(API, "cronworkflows"), body=body)
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
            raise InputError(
                f'--name: found "{name}", which recurs already in namespace {self.namespace}; '
                f"allowed: another --name, or delete that one first: kubectl delete cronworkflow "
                f"{name} -n {self.namespace}"
            ) from error
        return str(made["metadata"]["uid"])

    def stop(self, run_id: str) -> None:
        """Does what "Stop" of Argo's UI does: ends the steps, and lets the exit handler run."""
        path = self.api.path(API, "workflows", self._name_of(run_id))
        self._ask("PATCH", path, body={"spec": {"shutdown": "Stop"}})

    def link(self, name: str) -> str:
        """Returns the address of a Workflow's page, or its namespace and name without a server."""
        server = os.environ.get(_SERVER)
        place = f"{self.namespace}/{name}"
        if not server:
            return place
        scheme = "http" if os.environ.get(_SECURE, "").lower() == "false" else "https"
        return f"{scheme}://{server}/workflows/{place}"

    # What `workflow_reader.Workflows` asks

    def workflow(self, run_id: str, expected: bool = True) -> Workflow | None:
        """Returns a run's Workflow as `run` read it last."""
        return self._read.get(run_id)

    def is_missing(self, run_id: str) -> bool:
        """Returns False: `run` raises an error for a Workflow that was deleted."""
        return False

    def pods(self, run_id: str) -> tuple[StepPod, ...] | None:
        """Returns the pods of a run's steps that have not ended, or None if they are not known."""
        query = {
            "labelSelector": _pods_of(self._name_of(run_id)),
            "fieldSelector": "status.phase!=Succeeded,status.phase!=Failed",
        }
        try:
            pages = list(self.api.pages(self.api.path("v1", "pods"), query))
        except RunnerError:
            return None
        return tuple(read_pod(body) for page in pages for body in page.get("items") or ())

    def new_problems(self) -> tuple[str, ...]:
        """Returns nothing: what cannot be read raises an error."""
        return ()

    def _listed(self) -> list[dict[str, Any]]:
        """Returns the metadata of the Workflows of Experiments, the newest first."""

        def ask() -> list[dict[str, Any]]:
            pages = self.api.pages(self._path, {"labelSelector": LAYOUT_LABEL}, metadata_only=True)
            return [item["metadata"] for page in pages for item in page.get("items") or ()]

        found = self._translated(ask, is_list=True)
        found.sort(key=lambda each: each.get("creationTimestamp") or "", reverse=True)
        self._names.update((each["uid"], each["name"]) for each in found)
        return found

    def _name_of(self, run_id: str) -> str:
        if run_id not in self._names:
            self._listed()
        if run_id not in self._names:
            raise NotFound(f"no Workflow of {run_id} is in namespace {self.namespace}")
        return self._names[run_id]

    def _body(self, name: str, run_id: str | None = None) -> dict[str, Any]:
        gone = f"the Workflow {name} is not, or no longer, in namespace {self.namespace}"
        try:
            body = self._ask("GET", self.api.path(API, "workflows", name))
        except ApiError as error:
            if error.status != _ABSENT:
                raise
            raise NotFound(gone) from error
        if run_id not in (None, body["metadata"]["uid"]):
            raise NotFound(gone)
        return body

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        is_list = method == "POST"
        return self._translated(lambda: self.api.request(method, path, body=body), is_list=is_list)

    def _translated(self, ask: Callable[[], Answer], *, is_list: bool) -> Answer:
        """Makes a request; returns the answer.

        Args:
            ask: Makes the request.
            is_list: Whether the request names no object, so that 404 is about the kind itself.

        Raises:
            NoArgo: The API server does not know Argo's kinds.
            NoRight: The account may not do this.
            Unreachable: The server does not answer.
            RunnerError: The server refuses.
        """
        try:
            return ask()
        except ApiError as error:
            if error.status == _ABSENT and is_list and error.details.get("kind") != _NAMESPACES:
                raise NoArgo(
                    "the cluster has no Argo Workflows: its API knows no workflows.argoproj.io; "
                    "allowed: a cluster where Argo is installed (--context), or katibflow run "
                    "--on kubernetes, which needs nothing there"
                ) from error
            if error.status in _REFUSED:
                raise NoRight(str(error)) from error
            raise
        except RunnerError as error:
            raise Unreachable(str(error)) from error

    def _run_of(self, body: Mapping[str, Any]) -> Run:
        metadata, status, spec = body["metadata"], body.get("status") or {}, body["spec"]
        read = read_workflow(body)
        self._read[metadata["uid"]] = read
        self._names[metadata["uid"]] = metadata["name"]
        is_stopped = bool(spec.get("shutdown"))
        return Run(
            run_id=metadata["uid"],
            name=metadata["name"],
            state=_state(status.get("phase") or "", is_stopped, bool(spec.get("suspend"))),
            created=datetime.fromisoformat(metadata["creationTimestamp"]),
            steps=read.steps,
            error=read.message,
            changed=read.changed,
            is_stopped=is_stopped,
            engine=ARGO,
            pods=_pods_of(metadata["name"]),
        )

    def _experiment_run_of(self, body: Mapping[str, Any]) -> ExperimentRun:
        run, given = self._run_of(body), _given(body)
        made = None
        if "experiment" in given:
            made = experiment_run_of(replace(run, parameters=_changed(given)), given)
        if made is None:
            raise InputError(f"RUN: {run.name} ({run.run_id}) is no run of katibflow's")
        return made


_MANY = 5
"""The greatest number of runs that are read when one name means several."""


def _pods_of(name: str) -> str:
    return f"{WORKFLOW}={name}"


def _state(phase: str, is_stopped: bool, is_suspended: bool) -> str:
    """Returns KFP's RuntimeState for Argo's phase; what was stopped is Failed to Argo."""
    state = _STATES.get(phase, phase.upper())
    if is_stopped and state != "SUCCEEDED":
        return "CANCELED" if state == "FAILED" else "CANCELING"
    return "PAUSED" if is_suspended and state in ("PENDING", "RUNNING") else state


def _changed(given: Mapping[str, str]) -> dict[str, str]:
    """Returns the run's parameters whose values are not the Experiment's own."""
    try:
        own = parameters_of(Experiment.model_validate(json.loads(given["experiment"])))
    except (ValidationError, ValueError):
        return {}
    return {name: given[name] for name in own if given.get(name, own[name]) != own[name]}


def _given(body: Mapping[str, Any]) -> dict[str, str]:
    """Returns the Experiment, its layout and the parameters of a Workflow, for `reading`.

    In a Workflow of a WorkflowTemplate the Experiment is in the template, which Argo copies into
    the status; the Workflow itself has only the parameters that were given.
    """
    stored = (body.get("status") or {}).get("storedWorkflowTemplateSpec") or {}
    given: dict[str, str] = {}
    for spec in (stored, body["spec"]):
        arguments = spec.get("arguments") or {}
        for artifact in arguments.get("artifacts") or ():
            if artifact["name"] == "experiment" and "raw" in artifact:
                given["experiment"] = artifact["raw"]["data"]
        for parameter in arguments.get("parameters") or ():
            given[parameter["name"]] = str(parameter.get("value", ""))
    labels = body["metadata"].get("labels") or {}
    return {**given, "layout": labels.get(LAYOUT_LABEL, "")}
