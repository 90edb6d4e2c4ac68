"""Makes an Experiment's document from a Python function, with the arguments of Katib's SDK."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from katibflow.api.function_source import BOOTSTRAP, Constant, program_of
from katibflow.collectors.text import filter_for, is_readable
from katibflow.errors import InputError
from katibflow.search import Space

__all__ = ["experiment_document"]

_CONTAINER = "training-container"
_RESOURCES = {"gpu": "nvidia.com/gpu"}


def experiment_document(
    objective: Callable[..., Any],
    parameters: Mapping[str, Space | Constant],
    *,
    name: str | None,
    algorithm_name: str,
    algorithm_settings: Mapping[str, Any] | None,
    early_stopping_name: str | None,
    early_stopping_settings: Mapping[str, Any] | None,
    objective_metric_name: str,
    additional_metric_names: Sequence[str],
    objective_type: str,
    objective_goal: float | None,
    max_trial_count: int | None,
    parallel_trial_count: int | None,
    max_failed_trial_count: int | None,
    base_image: str | None,
    packages_to_install: Sequence[str],
    pip_index_url: str | None,
    env_per_trial: Mapping[str, str] | None,
    resources_per_trial: Mapping[str, Any] | None,
    workers: int,
    retain_trials: bool,
    namespace: str | None,
    metrics_collector_config: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Returns the Experiment as plain data with the YAML's names; see ``katibflow.tune``.

    Raises:
        InputError: The function cannot be run by itself, or does not take the parameters.
    """
    searched = {key: space for key, space in parameters.items() if isinstance(space, Space)}
    program = program_of(
        objective, parameters, objective_metric_name, packages_to_install, pip_index_url
    )
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
    if env_per_trial:
        container["env"] = [{"name": key, "value": text} for key, text in env_per_trial.items()]
    if resources_per_trial:
        amounts = {_RESOURCES.get(key, key): value for key, value in resources_per_trial.items()}
        container["resources"] = {"requests": amounts, "limits": amounts}
    spec = {
        "objective": _without_none(
            type=objective_type,
            goal=objective_goal,
            objectiveMetricName=objective_metric_name,
            additionalMetricNames=list(additional_metric_names) or None,
        ),
        "algorithm": _without_none(
            algorithmName=algorithm_name, algorithmSettings=_settings(algorithm_settings)
        ),
        "earlyStopping": _without_none(
            algorithmName=early_stopping_name, algorithmSettings=_settings(early_stopping_settings)
        )
        or None,
        "maxTrialCount": max_trial_count,
        "parallelTrialCount": parallel_trial_count,
        "maxFailedTrialCount": max_failed_trial_count,
        "metricsCollectorSpec": _collector(
            metrics_collector_config, [objective_metric_name, *additional_metric_names]
        ),
        "parameters": [
            {"name": key, "parameterType": space.type, "feasibleSpace": dict(space.feasible)}
            for key, space in searched.items()
        ],
        "trialTemplate": {
            "primaryContainerName": _CONTAINER,
            "retain": retain_trials,
            "trialParameters": [{"name": key, "reference": key} for key in searched],
            "trialSpec": _job(container, workers),
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
        return {"collector": dict(config)}
    if all(map(is_readable, metrics)):
        return None
    return {
        "collector": {"kind": "StdOut"},
        "source": {"filter": {"metricsFormat": [filter_for(metrics)]}},
    }


def _job(container: Mapping[str, Any], workers: int) -> dict[str, Any]:
    if workers < 1:
        raise InputError(f"workers: found {workers}; allowed: 1 or more")
    if workers == 1:
        pod: dict[str, Any] = {"restartPolicy": "Never", "containers": [container]}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "spec": {"backoffLimit": 0, "template": {"spec": pod}},
        }
    template = {"spec": {"containers": [container]}}
    counts = {"Master": 1, "Worker": workers - 1}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "spec": {
            "pytorchReplicaSpecs": {
                role: {"replicas": count, "restartPolicy": "Never", "template": template}
                for role, count in counts.items()
            }
        },
    }


def _settings(settings: Mapping[str, Any] | None) -> list[dict[str, str]] | None:
    if not settings:
        return None
    return [{"name": key, "value": str(value)} for key, value in settings.items()]


def _name_of(objective: Callable[..., Any]) -> str:
    return re.sub("[^a-z0-9]+", "-", objective.__name__.lower()).strip("-")


def _without_none(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
