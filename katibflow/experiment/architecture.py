"""What the trials of an architecture search are given, and how their template takes it.

Source: ``pkg/suggestion/v1beta1/nas`` in kubeflow/katib for the names, and
``pkg/webhook/v1beta1/pod/inject_webhook.go`` for the shell that reads the arguments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from katibflow.experiment.types import ExperimentSpec, TrialTemplate

__all__ = ["ASSIGNED", "assigned_names", "template_of"]

ASSIGNED: Mapping[str, tuple[str, ...]] = {
    "darts": ("algorithm-settings", "search-space", "num-layers"),
    "enas": ("architecture", "nn_config"),
}
"""The algorithms that search architectures, each with the names of a trial's assignments."""

_QUOTED = re.compile(r'(--?[\w.-]+=)?"(\$\{trialParameters\.[^}"]*\})"')


def assigned_names(spec: ExperimentSpec) -> tuple[str, ...]:
    """Returns the names of the values that each trial is given, or may be given."""
    if spec.nas_config is not None:
        return ASSIGNED.get(spec.algorithm.algorithm_name, ())
    return tuple(parameter.name for parameter in spec.parameters)


def template_of(spec: ExperimentSpec) -> TrialTemplate:
    """Returns the trial template, with arguments of an architecture search as a shell reads them.

    Katib joins a container's command to a line for a shell, and its examples put the texts of
    architectures into quotation marks for that. Here no shell is between, so the marks around a
    whole argument, or around a whole option's value, are taken off.
    """
    template = spec.trial_template
    if spec.nas_config is None or template.trial_spec is None:
        return template
    return template.model_copy(update={"trial_spec": _unquoted(template.trial_spec)})


def _unquoted(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {inner: _unquoted(item, inner) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [
            _argument(item) if key in ("args", "command") else _unquoted(item) for item in value
        ]
    return value


def _argument(value: Any) -> Any:
    match = _QUOTED.fullmatch(value) if isinstance(value, str) else None
    return f"{match[1] or ''}{match[2]}" if match else value
