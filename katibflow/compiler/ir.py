"""Changes a compiled pipeline's spec in ways that KFP's backend accepts and its DSL cannot express.

The changes: a DAG that calls itself, outputs of an exit handler's group, one component for several
tasks, and less text. The DSL has no loops; the backend runs a recursive DAG.

A pipeline's IR names a component for every task, and nothing forbids a task inside a component's
DAG to name that same component. Three details decide whether the backend runs it:

1. The reference is direct: the task inside the DAG carries both the reference and the
   ``triggerPolicy.condition``. Through a ``dsl.If`` around it the backend refuses to start.
2. The condition reads a BOOLEAN input of the component. The input has the name of the channel from
   the deciding task (``pipelinechannel--loop-Output``); with another name `kfp.local` evaluates the
   enclosing round's value and runs one round too many.
3. The stand-in component, which took the place of the next round while the DSL was traced, is
   removed with its executor.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

from katibflow.errors import KatibflowError

__all__ = [
    "dag_tasks",
    "for_executors",
    "hand_on",
    "make_recursive",
    "merge_twins",
    "without_versions",
]

_COMPONENT = "comp-"


def make_recursive(
    spec: Mapping[str, Any], *, component: str, task: str, proceed: str
) -> dict[str, Any]:
    """Returns the pipeline spec in which a DAG's stand-in task calls the DAG itself.

    Args:
        spec: A pipeline spec as KFP's compiler writes it; it is not changed.
        component: Name of the DAG's component, without ``comp-``.
        task: Key of the stand-in task inside the DAG; its inputs are those of the DAG.
        proceed: The BOOLEAN input, of both, that says whether to go on. Inside the DAG it comes
            from another task's output.

    Raises:
        KatibflowError: The spec has no such DAG, task or input.
    """
    result = copy.deepcopy(dict(spec))
    name = f"{_COMPONENT}{component}"
    try:
        dag = result["components"][name]
        recursive = dag["dag"]["tasks"][task]
        source = recursive["inputs"]["parameters"][proceed]["taskOutputParameter"]
        stand_in = recursive["componentRef"]["name"]
        executor = result["components"][stand_in]["executorLabel"]
        inputs = dag["inputDefinitions"]["parameters"]
        channel = f"pipelinechannel--{source['producerTask']}-{source['outputParameterKey']}"
        inputs[channel] = inputs.pop(proceed)
    except KeyError as error:
        raise KatibflowError(f"the compiled pipeline has no {error} for {name}/{task}") from error
    recursive["componentRef"]["name"] = name
    recursive["triggerPolicy"] = {"condition": f"inputs.parameter_values['{channel}'] == true"}
    for _, caller in dag_tasks(result):
        if caller["componentRef"]["name"] == name:
            parameters = caller["inputs"]["parameters"]
            parameters[channel] = parameters.pop(proceed)
    del result["components"][stand_in]
    del result["deploymentSpec"]["executors"][executor]
    return result


def hand_on(spec: Mapping[str, Any], *, group: str, task: str) -> dict[str, Any]:
    """Returns the pipeline spec whose outputs are those of a task in a group of the root.

    The DSL allows no outputs of an exit handler's group; for the backend the group is a DAG as any
    other.

    Args:
        spec: A pipeline spec as KFP's compiler writes it; it is not changed.
        group: Key of the group's task in the root.
        task: Key of the task in the group.

    Raises:
        KatibflowError: The spec has no such group or task.
    """
    result = copy.deepcopy(dict(spec))
    components = result["components"]
    try:
        inside = components[result["root"]["dag"]["tasks"][group]["componentRef"]["name"]]
        producer = inside["dag"]["tasks"][task]["componentRef"]["name"]
    except KeyError as error:
        raise KatibflowError(f"the compiled pipeline has no {error} for {group}/{task}") from error
    outputs = components[producer]["outputDefinitions"]["parameters"]
    for component, source in ((inside, task), (result["root"], group)):
        component["outputDefinitions"] = {"parameters": copy.deepcopy(outputs)}
        component["dag"]["outputs"] = {
            "parameters": {
                name: {
                    "valueFromParameter": {"outputParameterKey": name, "producerSubtask": source}
                }
                for name in outputs
            }
        }
    return result


def merge_twins(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the pipeline spec in which equal components are one component with one executor.

    KFP's compiler writes a component again for each DAG that uses it.
    """
    result = copy.deepcopy(dict(spec))
    components, executors = result["components"], result["deploymentSpec"]["executors"]
    first: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in sorted(components):
        label = components[name].get("executorLabel")
        if label is None:
            continue
        what = json.dumps([{**components[name], "executorLabel": ""}, executors[label]])
        if what in first:
            taken[name] = first[what]
            del components[name], executors[label]
        else:
            first[what] = name
    for _, task in dag_tasks(result):
        reference = task["componentRef"]
        reference["name"] = taken.get(reference["name"], reference["name"])
    return result


def for_executors(platform: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the platform spec with what it says of executors that the pipeline spec still has."""
    result = copy.deepcopy(dict(platform))
    for each in result["platforms"].values():
        deployment = each["deploymentSpec"]
        known = spec["deploymentSpec"]["executors"]
        deployment["executors"] = {
            label: body for label, body in deployment["executors"].items() if label in known
        }
    return result


def without_versions(spec: Any) -> Any:
    """Returns the pipeline spec without the versions of KFP's artifact types, which nothing reads.

    The Workflow object repeats them for every input and output of every step.
    """
    if isinstance(spec, Mapping):
        left = spec.keys() - {"schemaVersion"} if "schemaTitle" in spec else spec.keys()
        return {key: without_versions(value) for key, value in spec.items() if key in left}
    return [without_versions(each) for each in spec] if isinstance(spec, list) else spec


def dag_tasks(spec: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields key and task of every task of every DAG of a pipeline spec."""
    for component in (spec["root"], *spec["components"].values()):
        yield from component.get("dag", {}).get("tasks", {}).items()
