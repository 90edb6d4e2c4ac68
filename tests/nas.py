"""Katib's four examples of an architecture search as data, and one that is small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from katibflow.experiment.types import Experiment

Operations = Sequence[Mapping[str, Any]]


def listed(kind: str, **lists: Sequence[str]) -> dict[str, Any]:
    """An operation whose parameters are categorical."""
    return {
        "operationType": kind,
        "parameters": [
            {
                "name": name,
                "parameterType": "categorical",
                "feasibleSpace": {"list": list(values)},
            }
            for name, values in lists.items()
        ],
    }


_FILTERS = ["32", "48", "64", "96", "128"]
_SIZES, _TWO = ["3", "5", "7"], ["1", "2"]
_REDUCTION: dict[str, Any] = {
    "operationType": "reduction",
    "parameters": [
        *listed("", reduction_type=["max_pooling", "avg_pooling"])["parameters"],
        {
            "name": "pool_size",
            "parameterType": "int",
            "feasibleSpace": {"min": "2", "max": "3", "step": "1"},
        },
    ],
}
_OF_ENAS: Operations = [
    listed("convolution", filter_size=_SIZES, num_filter=_FILTERS, stride=_TWO),
    listed(
        "separable_convolution",
        filter_size=_SIZES,
        num_filter=_FILTERS,
        stride=_TWO,
        depth_multiplier=_TWO,
    ),
    listed("depthwise_convolution", filter_size=_SIZES, stride=_TWO, depth_multiplier=_TWO),
    _REDUCTION,
]
_OF_DARTS: Operations = [
    listed("separable_convolution", filter_size=["3"]),
    listed("dilated_convolution", filter_size=["3", "5"]),
    listed("avg_pooling", filter_size=["3"]),
    listed("max_pooling", filter_size=["3"]),
    {"operationType": "skip_connection"},
]
_ONE: Operations = [listed("max_pooling", filter_size=["3"])]
_GPU = {"resources": {"limits": {"nvidia.com/gpu": 1}}}


def _job(command: Sequence[str], more: Mapping[str, Any]) -> dict[str, Any]:
    container = {"name": "training-container", "image": "i", "command": list(command), **more}
    pod = {"containers": [container], "restartPolicy": "Never"}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": pod}}}


def _document(
    name: str,
    counts: tuple[int, int, int],
    given: Mapping[str, Any],
    references: Mapping[str, str],
    job: dict[str, Any],
) -> dict[str, Any]:
    parallel, most, failed = counts
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"namespace": "kubeflow", "name": name},
        "spec": {
            "parallelTrialCount": parallel,
            "maxTrialCount": most,
            "maxFailedTrialCount": failed,
            **given,
            "trialTemplate": {
                "primaryContainerName": "training-container",
                "trialParameters": [
                    {"name": key, "reference": reference} for key, reference in references.items()
                ],
                "trialSpec": job,
            },
        },
    }


def enas(
    name: str = "enas-cpu",
    layers: int = 1,
    operations: Operations = _OF_ENAS,
    settings: Mapping[str, str] | None = None,
    counts: tuple[int, int, int] = (2, 3, 2),
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Katib's example of ENAS, or another one with its template."""
    spec = {
        "objective": {
            "type": "maximize",
            "goal": 0.99,
            "objectiveMetricName": "Validation-Accuracy",
        },
        "algorithm": {"algorithmName": "enas", "algorithmSettings": _pairs(settings)},
        "nasConfig": {
            "graphConfig": {
                "numLayers": layers,
                "inputSizes": [32, 32, 3],
                "outputSizes": [10],
            },
            "operations": list(operations),
        },
    }
    command = [
        *("python3", "-u", "RunTrial.py", "--num_epochs=1"),
        '--architecture="${trialParameters.neuralNetworkArchitecture}"',
        '--nn_config="${trialParameters.neuralNetworkConfig}"',
    ]
    names = {"neuralNetworkArchitecture": "architecture", "neuralNetworkConfig": "nn_config"}
    return _document(name, counts, spec, names, _job(command, more or {}))


def darts(
    name: str = "darts-cpu",
    layers: int = 1,
    operations: Operations = _ONE,
    settings: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Katib's example of DARTS, or another one with its template."""
    spec = {
        "objective": {"type": "maximize", "objectiveMetricName": "Best-Genotype"},
        "metricsCollectorSpec": {
            "collector": {"kind": "StdOut"},
            "source": {"filter": {"metricsFormat": [r"([\w-]+)=(Genotype.*)"]}},
        },
        "algorithm": {"algorithmName": "darts", "algorithmSettings": _pairs(settings)},
        "nasConfig": {"graphConfig": {"numLayers": layers}, "operations": list(operations)},
    }
    command = [
        *("python3", "run_trial.py"),
        '--algorithm-settings="${trialParameters.algorithmSettings}"',
        '--search-space="${trialParameters.searchSpace}"',
        '--num-layers="${trialParameters.numberLayers}"',
    ]
    names = {
        "algorithmSettings": "algorithm-settings",
        "searchSpace": "search-space",
        "numberLayers": "num-layers",
    }
    return _document(name, (1, 1, 1), spec, names, _job(command, more or {}))


def _pairs(settings: Mapping[str, str] | None) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in (settings or {}).items()]


_LEAST = {"num_epochs": "1", "num_nodes": "1", "init_channels": "1", "stem_multiplier": "1"}

KATIBS: Mapping[str, dict[str, Any]] = {
    "enas-cpu": enas(),
    "enas-gpu": enas("enas-gpu", 8, counts=(3, 12, 3), more=_GPU),
    "darts-cpu": darts(settings=_LEAST),
    "darts-gpu": darts("darts-gpu", 3, _OF_DARTS, {"num_epochs": "3"}, _GPU),
}
"""The examples by name (``examples/v1beta1/nas`` in kubeflow/katib)."""

FEW: Operations = [
    listed("convolution", filter_size=["3", "5"]),
    listed("pooling", pool_size=["2", "3"]),
    listed("plain", filter_size=["1", "7"]),
]
"""Six choices."""

QUICK = {
    "controller_hidden_size": "8",
    "controller_learning_rate": "0.03",
    "controller_train_steps": "6",
}


def model(document: Mapping[str, Any]) -> Experiment:
    """The Experiment of a document, unchecked."""
    return Experiment.model_validate(document)
