"""Makes an Experiment's document from a Python function, with the arguments of Katib's SDK."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from katibflow.api.function_checks import check_objective
from katibflow.api.function_source import BOOTSTRAP, Constant, program_of
from katibflow.api.trial_pod import (
    environment,
    mapping,
    patched,
    plain_list,
    resources,
    settings,
    texts,
    wrong,
)
from katibflow.collectors.text import filter_for, is_readable
from katibflow.errors import InputError
from katibflow.search import Space

__all__ = ["experiment_document"]

_CONTAINER = "training-container"


def experiment_document(
    objective: Callable[..., Any],
    parameters: Mapping[str, Space | Constant],
    *,
    name: str | None,
    algorithm_name: str,
    algorithm_settings: Mapping[str, Any] | Sequence[Any] | None,
    early_stopping_name: str | None,
    early_stopping_settings: Mapping[str, Any] | Sequence[Any] | None,
    objective_metric_name: str,
    additional_metric_names: Sequence[str] | None,
    objective_type: str,
    objective_goal: float | None,
    max_trial_count: int | None,
    parallel_trial_count: int | None,
    max_failed_trial_count: int | None,
    base_image: str | None,
    packages_to_install: Sequence[str] | None,
    pip_index_url: str | None,
    pip_index_urls: Sequence[str] | None,
    env_per_trial: Mapping[str, str] | Sequence[Any] | None,
    resources_per_trial: Mapping[str, Any] | Any,
    trial_active_deadline_seconds: int | None,
    node_selector: Mapping[str, str] | None,
    tolerations: Sequence[Any] | None,
    volumes: Sequence[Any] | None,
    volume_mounts: Sequence[Any] | None,
    pod_template_patch: Mapping[str, Any] | None,
    workers: int,
    retain_trials: bool,
    namespace: str | None,
    metrics_collector_config: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Returns the Experiment as plain data with the YAML's names; see ``katibflow.tune``.

    Raises:
        InputError: The function cannot be run by itself, or does not take the parameters; or an
            argument is of a wrong kind.
    """
    if not isinstance(parameters, Mapping):
        raise wrong("parameters", parameters, "a mapping from names to spaces and constants")
    for argument, text in (
        ("name", name),
        ("objective_metric_name", objective_metric_name),
        ("base_image", base_image),
        ("namespace", namespace),
    ):
        if text is not None and not isinstance(text, str):
            raise wrong(argument, text, "a text")
    if pip_index_url is not None and pip_index_urls is not None:
        raise wrong("pip_index_urls", pip_index_urls, "nothing, next to pip_index_url")
    indices = texts("pip_index_urls", pip_index_urls)
    if pip_index_url is not None:
        indices = texts("pip_index_url", [pip_index_url])
    searched = {key: space for key, space in parameters.items() if isinstance(space, Space)}
    program = program_of(
        objective,
        parameters,
        objective_metric_name,
        texts("packages_to_install", packages_to_install),
        indices,
    )
    check_objective(objective, parameters, objective_metric_name)
    if "${trial" in program:
        raise InputError(
            f"objective {objective.__name__}: found ${{trial...}} in its source; allowed: other "
            "texts, as that is a reference of the trial's template"
        )
    container: dict[str, Any] = {
        "name": _CONTAINER,
        "image": base_image
        or f"docker.io/library/python:{sys.version_info[0]}.{sys.version_info[1]}",
        # Kubernetes replaces $(NAME) by a variable, even inside a program's text.
        "command": ["python3", "-u", "-c", BOOTSTRAP, program.replace("$(", "$$(")],
        "args": [f"{key}=${{trialParameters.{key}}}" for key in searched],
    }
    container |= environment("env_per_trial", env_per_trial)
    container |= _without_empty(
        resources=resources("resources_per_trial", resources_per_trial),
        volumeMounts=plain_list("volume_mounts", volume_mounts),
    )
    pod = _without_empty(
        nodeSelector=mapping("node_selector", node_selector),
        tolerations=plain_list("tolerations", tolerations),
        volumes=plain_list("volumes", volumes),
    )
    template = {"spec": {**pod, "containers": [container]}}
    patch = mapping("pod_template_patch", pod_template_patch)
    seconds = trial_active_deadline_seconds
    if seconds is not None and (
        isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 1
    ):
        raise wrong("trial_active_deadline_seconds", seconds, "a whole number of seconds above 0")
    spec = {
        "objective": _without_none(
            type=objective_type,
            goal=objective_goal,
            objectiveMetricName=objective_metric_name,
            additionalMetricNames=texts("additional_metric_names", additional_metric_names) or None,
        ),
        "algorithm": _without_none(
            algorithmName=algorithm_name,
            algorithmSettings=settings("algorithm_settings", algorithm_settings),
        ),
        "earlyStopping": _without_none(
            algorithmName=early_stopping_name,
            algorithmSettings=settings("early_stopping_settings", early_stopping_settings),
        )
        or None,
        "maxTrialCount": max_trial_count,
        "parallelTrialCount": parallel_trial_count,
        "maxFailedTrialCount": max_failed_trial_count,
        "metricsCollectorSpec": _collector(
            metrics_collector_config,
            [objective_metric_name, *texts("additional_metric_names", additional_metric_names)],
        ),
        "parameters": [
            {"name": key, "parameterType": space.type, "feasibleSpace": dict(space.feasible)}
            for key, space in searched.items()
        ],
        "trialTemplate": {
            "primaryContainerName": _CONTAINER,
            "retain": retain_trials,
            "trialParameters": [{"name": key, "reference": key} for key in searched],
            "trialSpec": _job(template, patch, workers, seconds),
        },
    }
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": _without_none(name=name or _name_of(objective), namespace=namespace),
        "spec": _without_none(**spec),
    }


def _collector(config: Mapping[str, Any] | None, metrics: Sequence[str]) -> dict[str, Any] | None:
    """Returns the metrics collector; with a filter of its own for names that need one."""
    if config is not None:
        return {"collector": mapping("metrics_collector_config", config)}
    if all(map(is_readable, metrics)):
        return None
    return {
        "collector": {"kind": "StdOut"},
        "source": {"filter": {"metricsFormat": [filter_for(metrics)]}},
    }


def _job(
    template: dict[str, Any], patch: Mapping[str, Any], workers: int, seconds: int | None
) -> dict[str, Any]:
    """Returns the trial's job: of its pod template, a patch of that, and its limit in seconds."""
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise wrong("workers", workers, "1 or more")
    limit = _without_none(activeDeadlineSeconds=seconds)
    if workers == 1:
        pod = patched({"spec": {"restartPolicy": "Never", **template["spec"]}}, patch)
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "spec": {"backoffLimit": 0, **limit, "template": pod},
        }
    counts = {"Master": 1, "Worker": workers - 1}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "spec": {
            **({"runPolicy": limit} if limit else {}),
            "pytorchReplicaSpecs": {
                role: {
                    "replicas": count,
                    "restartPolicy": "Never",
                    "template": patched(template, patch),
                }
                for role, count in counts.items()
            },
        },
    }


def _name_of(objective: Callable[..., Any]) -> str:
    return re.sub("[^a-z0-9]+", "-", objective.__name__.lower()).strip("-")


def _without_none(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _without_empty(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}
