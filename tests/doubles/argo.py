"""Runs a compiled Workflow as Argo does: steps, withParam, when, recursion, retries, onExit.

Each pod is a process, or the same program in this process where a test is to be quick. The Workflow
object is in the double of the Kubernetes API, where the steps read it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from kubernetes import config

from tests.doubles.kubernetes.server import NAMESPACE, ApiServer

Scope = Mapping[str, str]
Execute = Callable[[list[str], dict[str, str]], int]
"""Runs a command with an environment; returns its exit status."""

_TAG = re.compile(r"\{\{([^{}]+)\}\}")


def in_this_process(command: list[str], environment: dict[str, str]) -> int:
    """Runs the Python program of a pod's command here."""
    program, *given = command[3:]
    shown = io.StringIO()
    with (
        patch.dict(os.environ, environment),
        patch.object(sys, "argv", ["-c", *given]),
        patch.object(sys, "path", [*sys.path]),
        # The client reads the variable when it is imported, which is once here.
        patch.object(config, "KUBE_CONFIG_DEFAULT_LOCATION", os.environ["KUBECONFIG"]),
        patch.object(config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", os.environ["KUBECONFIG"]),
        contextlib.redirect_stdout(shown),
    ):
        try:
            exec(compile(program, "step", "exec"), {"__name__": "step"})
        except SystemExit as ended:
            print(ended.code, file=sys.stderr)
            return 1
    return 0


def started(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Starts a pod's command as a process; its `python3` is the Python that runs the tests."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.Popen(command, env={**os.environ, "PATH": path, **environment})


def in_processes(command: list[str], environment: dict[str, str]) -> int:
    """Runs a pod's command as a process."""
    return started(command, environment).wait()


class NodeFailed(Exception):
    """A node failed, as often as it may be tried."""


@dataclass
class Engine:
    """One Workflow, and what became of its nodes.

    Attributes:
        server: Has the Workflow object and the trials.
        text: A compiled file with a Workflow or a WorkflowTemplate.
        folder: A folder of which each pod gets its own part.
        execute: Runs a pod's command.
        outputs: The outputs of each pod that succeeded, by the node's path.
        pods: The paths of all pods that were started, each time.
    """

    server: ApiServer
    text: str
    folder: Path
    execute: Execute = in_this_process
    parameters: Mapping[str, str] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    pods: list[str] = field(default_factory=list)
    name: str = ""

    def __post_init__(self) -> None:
        made = yaml.safe_load(self.text)
        self.spec: dict[str, Any] = made["spec"]
        self.name = f"{made['metadata'].get('name') or made['metadata']['generateName']}x"
        body: dict[str, Any] = {"metadata": {"name": self.name}, "spec": self.spec}
        if made["kind"] == "WorkflowTemplate":
            body["spec"] = {"workflowTemplateRef": {"name": made["metadata"]["name"]}}
            body["status"] = {"storedWorkflowTemplateSpec": self.spec}
        self.uid = self.server.create("workflows", body)["metadata"]["uid"]
        given = {each["name"]: each["value"] for each in self.spec["arguments"]["parameters"]}
        values = given | dict(self.parameters)
        listed = [{"name": name, "value": value} for name, value in values.items()]
        self._templates = {each["name"]: each for each in self.spec["templates"]}
        self._globals = {
            "workflow.name": self.name,
            "workflow.uid": self.uid,
            "workflow.namespace": NAMESPACE,
            "workflow.parameters.json": json.dumps(listed),
        }

    def run(self) -> bool:
        """Runs the Workflow to its end; called again it does what Argo's "Retry" does."""
        try:
            self._node(self.spec["entrypoint"], "experiment", {})
            succeeded = True
        except NodeFailed:
            succeeded = False
        if self._shutdown != "Terminate":
            self.outputs.pop("onExit", None)
            self._node(self.spec["onExit"], "onExit", {})
        return succeeded

    def result(self) -> dict[str, Any]:
        """Returns the result that the exit handler has as its output."""
        found: dict[str, Any] = json.loads(self.outputs["onExit"]["result"])
        return found

    def shut_down(self, strategy: str) -> None:
        """Does what "Stop" and "Terminate" write."""
        self.server.patch("workflows", self.name, {"spec": {"shutdown": strategy}})

    def revive(self) -> None:
        """Takes the shutdown away, as "Retry" does."""
        self.server.patch("workflows", self.name, {"spec": {"shutdown": None}})

    @property
    def _shutdown(self) -> str:
        found: str = self.server.objects["workflows"][self.name]["spec"].get("shutdown", "")
        return found

    def _node(self, template: str, path: str, inputs: Scope) -> dict[str, str]:
        made = self._templates[template]
        assert [each["name"] for each in made.get("inputs", {}).get("parameters", ())] == [*inputs]
        scope = {f"inputs.parameters.{name}": value for name, value in inputs.items()}
        if "steps" in made:
            self._steps(made["steps"], path, scope)
            return {}
        if path not in self.outputs:
            self.outputs[path] = self._pod(made, path, scope)
        return self.outputs[path]

    def _steps(self, groups: list[list[dict[str, Any]]], path: str, scope: dict[str, str]) -> None:
        for index, group in enumerate(groups):
            failures = []
            for step in group:
                if "when" in step:
                    left, right = replaced(step["when"], scope).split(" == ")
                    if left != right:
                        continue
                at = f"{path}[{index}].{step['name']}"
                items = [None]
                if "withParam" in step:
                    items = json.loads(replaced(step["withParam"], scope))
                for number, item in enumerate(items):
                    known = scope if item is None else {**scope, "item": item}
                    given = {
                        each["name"]: replaced(each["value"], known)
                        for each in step["arguments"]["parameters"]
                    }
                    try:
                        outputs = self._node(
                            step["template"], at if item is None else f"{at}({number})", given
                        )
                    except NodeFailed as failure:
                        failures.append(failure)
                    else:
                        for name, value in outputs.items():
                            scope[f"steps.{step['name']}.outputs.parameters.{name}"] = value
            if failures:
                raise failures[0]

    def _pod(self, template: Mapping[str, Any], path: str, scope: Scope) -> dict[str, str]:
        known = {**scope, **self._globals}
        container = json.loads(replaced(json.dumps(template["container"]), known, is_json=True))
        environment = {each["name"]: each["value"] for each in container["env"]}
        for _ in range(1 + int(template["retryStrategy"]["limit"])):
            if self._shutdown and path != "onExit":
                break
            folder = self.folder / f"pod-{len(self.pods)}"
            self.pods.append(path)
            environment |= {"KATIBFLOW_FOLDER": str(folder), "HOME": str(self.folder)}
            if self.execute(container["command"] + container["args"], environment) == 0:
                return {
                    each["name"]: (folder / Path(each["valueFrom"]["path"]).name).read_text()
                    for each in template["outputs"]["parameters"]
                }
        raise NodeFailed(path)


def replaced(text: str, scope: Scope, is_json: bool = False) -> str:
    """Returns a text with its tags replaced; inside JSON, as JSON's strings are written."""

    def value(match: re.Match[str]) -> str:
        return json.dumps(scope[match[1]])[1:-1] if is_json else scope[match[1]]

    return _TAG.sub(value, text)
