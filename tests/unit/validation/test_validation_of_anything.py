"""Whatever stands in a file, validation ends in an Experiment or in faults."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from katibflow.errors import InvalidExperiment
from katibflow.experiment.types import Experiment
from katibflow.validation.rules import check_document
from tests.samples import changed

SPACE = "spec.parameters.0.feasibleSpace"
TEMPLATE = "spec.trialTemplate"
POD = "spec.trialTemplate.trialSpec.spec.template.spec"

TRAPS = ["1e999999999", "-1e99999999999999999999", "9" * 5000, "1_0", "\uff11", "sNaN", "0x1", "-0"]
TEXTS = (
    st.text(max_size=8) | st.sampled_from(TRAPS) | st.floats().map(repr) | st.integers().map(str)
)


@given(
    st.sampled_from(["double", "int", "discrete", "categorical"]),
    st.dictionaries(st.sampled_from(["min", "max", "step"]), TEXTS)
    | st.builds(lambda items: {"list": items}, st.lists(TEXTS, max_size=3)),
    st.sampled_from(["uniform", "logUniform", "normal", "logNormal"]),
    st.sampled_from(["random", "grid", "tpe", "cmaes", "sobol", "x"]),
    st.lists(
        st.builds(
            lambda name, value: {"name": name, "value": value},
            st.sampled_from(["random_state", "sigma", "gamma", "x"]),
            TEXTS,
        ),
        max_size=2,
    ),
)
def test_any_texts_in_a_space_are_right_or_faults(
    kind: str, space: dict[str, Any], distribution: str, algorithm: str, settings: list[Any]
) -> None:
    document = changed(
        {
            "spec.parameters.0.parameterType": kind,
            SPACE: space | {"distribution": distribution},
            "spec.algorithm": {"algorithmName": algorithm, "algorithmSettings": settings},
        }
    )
    try:
        assert isinstance(check_document(document, "f"), Experiment)
    except InvalidExperiment as error:
        assert error.faults


NAMES = ["metadata", "labels", "annotations", "spec", "template", "containers", "name", "replicas"]
REFERENCES = ["${trialParameters.lr}", "${trialSpec.Labels[a]}", "${trialSpec.}", "${trialParame"]
OBJECTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(REFERENCES) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*NAMES, "pytorchReplicaSpecs", "Master"]), inner)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@given(
    st.sampled_from(
        [
            f"{TEMPLATE}.trialSpec.metadata",
            f"{TEMPLATE}.trialSpec.spec",
            f"{TEMPLATE}.trialSpec.spec.template",
            f"{POD}.containers",
            f"{POD}.containers.0.name",
            f"{TEMPLATE}.trialSpec.kind",
            f"{TEMPLATE}.trialParameters.0.reference",
            "spec.metricsCollectorSpec.source",
            "spec.nasConfig",
            "spec.objective.metricStrategies",
            "spec.earlyStopping",
        ]
    ),
    OBJECTS,
    st.booleans(),
)
def test_any_data_anywhere_is_right_or_faults(place: str, data: object, trains: bool) -> None:
    kind = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob"} if trains else {}
    document = changed(
        {f"{TEMPLATE}.trialSpec.{key}": value for key, value in kind.items()} | {place: data}
    )
    try:
        assert isinstance(check_document(document, "f"), Experiment)
    except InvalidExperiment as error:
        assert error.faults
