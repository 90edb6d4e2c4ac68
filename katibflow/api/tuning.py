"""The function `tune`: an Experiment of a Python function, with the arguments of Katib's SDK."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from katibflow.api.experiment import Experiment
from katibflow.api.function_checks import check_objective
from katibflow.api.function_source import BOOTSTRAP, Constant, program_of
from katibflow.api.pod_checks import check_items, check_pod, check_resources, check_texts
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

__all__ = ["experiment_document", "tune"]

_CONTAINER = "training-container"


def tune(
    objective: Callable[..., Any],
    parameters: Mapping[str, Space | Constant],
    *,
    name: str | None = None,
    algorithm_name: str = "tpe",
    algorithm_settings: Mapping[str, Any] | Sequence[Any] | None = None,
    early_stopping_name: str | None = None,
    early_stopping_settings: Mapping[str, Any] | Sequence[Any] | None = None,
    objective_metric_name: str = "objective",
    additional_metric_names: Sequence[str] | None = (),
    objective_type: str = "maximize",
    objective_goal: float | None = None,
    max_trial_count: int | None = None,
    parallel_trial_count: int | None = None,
    max_failed_trial_count: int | None = None,
    base_image: str | None = None,
    packages_to_install: Sequence[str] | None = (),
    pip_index_url: str | None = None,
    pip_index_urls: Sequence[str] | None = None,
    env_per_trial: Mapping[str, str] | Sequence[Any] | None = None,
    resources_per_trial: Mapping[str, Any] | Any = None,
    trial_active_deadline_seconds: int | None = None,
    node_selector: Mapping[str, str] | None = None,
    tolerations: Sequence[Any] | None = None,
    volumes: Sequence[Any] | None = None,
    volume_mounts: Sequence[Any] | None = None,
    pod_template_patch: Mapping[str, Any] | None = None,
    workers: int = 1,
    retain_trials: bool = False,
    namespace: str | None = None,
    metrics_collector_config: Mapping[str, Any] | None = None,
) -> Experiment:
    """Makes an Experiment from a Python function, with the arguments of Katib's SDK.

    The trials run the function's source, as processes here and in containers in a cluster, so the
    function must import or define inside itself all that it uses. Here it may import the project's
    modules and read its files.

    Args:
        objective: The function to tune. It takes one mapping of parameters, or the parameters by
            their names, and gets numbers as numbers. It returns the objective's value, or a
            mapping of metrics to values, or prints ``name=value`` lines itself.
        parameters: Each parameter's search space (``katibflow.search``) or constant, by name.
        name: The Experiment's name; by default the function's name.
        algorithm_name: ``tpe``, ``random``, ``grid`` ...: see docs/search.md.
        algorithm_settings: The algorithm's settings by name, or a list of names and values, as
            V1beta1AlgorithmSetting.
        early_stopping_name: ``medianstop``, or a pruner of Optuna's as ``optuna:<class>``.
        early_stopping_settings: The early stopping rule's settings, in either form.
        objective_metric_name: The objective metric's name.
        additional_metric_names: Names of other metrics to record.
        objective_type: ``maximize`` (as in Katib's SDK) or ``minimize``.
        objective_goal: The objective's value at which the experiment ends; no goal by default.
        max_trial_count: The greatest number of trials, from 1; no limit by default.
        parallel_trial_count: The number of trials at a time, from 1; 3 by default.
        max_failed_trial_count: The number of failed trials with which the experiment fails; no
            limit by default.
        base_image: The trials' image in a cluster; Python of this version by default.
        packages_to_install: Requirements that pip installs before a trial: in a cluster into its
            container, on this machine once, into an environment of their own in the cache.
        pip_index_url: The package index for pip; PyPI by default.
        pip_index_urls: Several of them, the first as pip's main one.
        env_per_trial: Environment variables of each trial by name; or a list of V1EnvVar and
            V1EnvFromSource, or of mappings like them, also from Secrets and ConfigMaps.
        resources_per_trial: Resources of each worker, as ``{"cpu": 2, "memory": "4Gi", "gpu": 1}``,
            or a V1ResourceRequirements.
        trial_active_deadline_seconds: Seconds that a trial's job may take, from 1; no limit by
            default.
        node_selector: Labels of the nodes for the trials' pods.
        tolerations: Tolerations of the pods: mappings, or V1Toleration.
        volumes: Volumes of the pods: mappings, or V1Volume.
        volume_mounts: Where the volumes are in the container: mappings, or V1VolumeMount.
        pod_template_patch: What to change in the pods' template, as ``{"spec": {...}}``: mappings
            are merged, and lists whose items have names; null takes a key out.
        workers: The number of processes of a trial, from 1, each of which calls the function; with
            more than one a trial is a PyTorchJob, with the environment for ``torch.distributed``.
        retain_trials: Whether the cluster keeps the pods of finished trials.
        namespace: The jobs' namespace.
        metrics_collector_config: The metrics collector, as ``{"kind": "Push"}``; by default metrics
            are read from the trials' output.

    Raises:
        InputError: The function cannot be run by itself, or an argument is wrong; the error lists
            all faults.
    """
    document = experiment_document(**locals())
    return Experiment(document, f"tune({objective.__name__})")


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
    amounts = resources("resources_per_trial", resources_per_trial)
    check_resources("resources_per_trial", mapping("resources_per_trial", resources_per_trial))
    mounts = plain_list("volume_mounts", volume_mounts)
    check_items("volume_mounts", "volumeMounts", mounts)
    container |= _without_empty(
        resources=amounts,
        volumeMounts=mounts,
    )
    pod = _without_empty(
        nodeSelector=mapping("node_selector", node_selector),
        tolerations=plain_list("tolerations", tolerations),
        volumes=plain_list("volumes", volumes),
    )
    check_texts("node_selector", pod.get("nodeSelector", {}))
    check_items("volumes", "volumes", pod.get("volumes", []))
    template = {"spec": {**pod, "containers": [container]}}
    patch = mapping("pod_template_patch", pod_template_patch)
    blamed = "pod_template_patch" if patch else "volume_mounts"
    check_pod(blamed, patched(template, patch), _CONTAINER)
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
