"""Files of an architecture search: what is right in them, and the texts that trials are given.

What Katib's services answered was recorded from the services themselves, run with Katib's examples.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import pytest

from katibflow.errors import InvalidExperiment
from katibflow.experiment.types import NasConfig
from katibflow.steps.capacity import Capacity
from katibflow.study.history import History
from katibflow.suggestion.space.operations import choices_of
from katibflow.suggestion.suggester import suggest
from katibflow.validation.katib_differences import katib_differences_of
from katibflow.validation.rules import check_document
from tests.nas import FEW, KATIBS, darts, enas, listed, model
from tests.samples import ABSENT, changed

DARTS_SETTINGS = (
    "{'num_epochs': %s, 'w_lr': 0.025, 'w_lr_min': 0.001, 'w_momentum': 0.9, 'w_weight_decay': "
    "0.0003, 'w_grad_clip': 5.0, 'alpha_lr': 0.0003, 'alpha_weight_decay': 0.001, 'batch_size': "
    "%s, 'num_workers': 4, 'init_channels': %s, 'print_step': 50, 'num_nodes': %s, "
    "'stem_multiplier': %s}"
)
GIVEN_BY_KATIB: Mapping[str, Mapping[str, str]] = {
    "darts-cpu": {
        "algorithm-settings": DARTS_SETTINGS % ("'1'", "128", "'1'", "'1'", "'1'"),
        "search-space": "['max_pooling_3x3']",
        "num-layers": "1",
    },
    "darts-gpu": {
        "algorithm-settings": DARTS_SETTINGS % ("'3'", "128", "16", "4", "3"),
        "search-space": (
            "['separable_convolution_3x3', 'dilated_convolution_3x3', 'dilated_convolution_5x5', "
            "'avg_pooling_3x3', 'max_pooling_3x3', 'skip_connection']"
        ),
        "num-layers": "3",
    },
}
KATIBS_OPERATIONS = {
    15: "{'opt_id': 15, 'opt_type': 'convolution', 'opt_params': {'filter_size': '5', "
    "'num_filter': '64', 'stride': '2'}}",
    24: "{'opt_id': 24, 'opt_type': 'convolution', 'opt_params': {'filter_size': '7', "
    "'num_filter': '64', 'stride': '1'}}",
    60: "{'opt_id': 60, 'opt_type': 'separable_convolution', 'opt_params': {'filter_size': '5', "
    "'num_filter': '64', 'stride': '2', 'depth_multiplier': '1'}}",
    87: "{'opt_id': 87, 'opt_type': 'separable_convolution', 'opt_params': {'filter_size': '7', "
    "'num_filter': '128', 'stride': '1', 'depth_multiplier': '2'}}",
    98: "{'opt_id': 98, 'opt_type': 'depthwise_convolution', 'opt_params': {'filter_size': '7', "
    "'stride': '1', 'depth_multiplier': '1'}}",
    104: "{'opt_id': 104, 'opt_type': 'reduction', 'opt_params': {'reduction_type': "
    "'avg_pooling', 'pool_size': 2}}",
}


def faults(document: Mapping[str, Any]) -> list[str]:
    with pytest.raises(InvalidExperiment) as caught:
        check_document(document, "f.yaml")
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize("name", GIVEN_BY_KATIB)
def test_katibs_examples_give_what_katibs_service_gave(name: str) -> None:
    of = check_document(KATIBS[name], name)
    (suggestion,) = suggest(History(of, "0" * 8, 1), 1)
    assert suggestion.assignments == GIVEN_BY_KATIB[name]


def test_the_operations_of_enas_have_katibs_numbers_and_texts() -> None:
    config = check_document(KATIBS["enas-cpu"], "f").spec.nas_config
    assert config is not None
    choices = choices_of(config)
    assert len(choices) == 106
    assert {number: str(choices[number].data()) for number in KATIBS_OPERATIONS} == (
        KATIBS_OPERATIONS
    )


@pytest.mark.parametrize("name", ["enas-cpu", "enas-gpu"])
def test_a_trial_of_enas_is_given_a_network_in_katibs_form(name: str) -> None:
    pytest.importorskip("torch")
    of = check_document(KATIBS[name], name)
    layers = KATIBS[name]["spec"]["nasConfig"]["graphConfig"]["numLayers"]
    for suggestion in suggest(History(of, "0" * 8, 1), 2):
        architecture = ast.literal_eval(suggestion.assignments["architecture"])
        network = ast.literal_eval(suggestion.assignments["nn_config"])
        assert [len(layer) for layer in architecture] == list(range(1, layers + 1))
        assert list(network) == ["num_layers", "input_sizes", "output_sizes", "embedding"]
        assert (network["num_layers"], network["input_sizes"]) == (layers, [32, 32, 3])
        used = dict.fromkeys(str(layer[0]) for layer in architecture)
        assert list(network["embedding"]) == list(used)
        assert {str(each["opt_id"]) for each in network["embedding"].values()} == {*used}


def test_settings_of_darts_are_handed_on_as_katib_hands_them_on() -> None:
    of = check_document(darts(settings={"batch_size": "None", "own": "7"}), "f")
    (suggestion,) = suggest(History(of, "0" * 8, 1), 1)
    text = DARTS_SETTINGS % ("50", "null", "16", "4", "3")
    assert suggestion.assignments["algorithm-settings"] == text.replace("}", ", 'own': '7'}")
    assert "algorithm darts: hands on to the trial own, as in Katib" in katib_differences_of(of)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("num_epochs", ["1"], ["0", "1.5", "None"]),
        ("w_lr", ["0", "0.5"], ["-0.1", "nan", "x"]),
        ("w_grad_clip", ["0"], ["None"]),
        ("batch_size", ["1", "None"], ["0"]),
        ("num_workers", ["0"], ["-1"]),
        ("init_channels", ["1"], ["0"]),
        ("print_step", ["1"], ["0"]),
        ("num_nodes", ["1"], ["x"]),
        ("stem_multiplier", ["1"], ["0"]),
    ],
)
def test_settings_of_darts_have_katibs_verdicts(
    name: str, right: list[str], wrong: list[str]
) -> None:
    for value in right:
        check_document(darts(settings={name: value}), "f")
    for value in wrong:
        (fault,) = faults(darts(settings={name: value}))
        assert fault.startswith(f'spec.algorithm.algorithmSettings[0].value: found "{value}"')


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("controller_hidden_size", ["1"], ["0", "0.5", "None"]),
        ("controller_temperature", ["0.5", "None"], ["0", "-1", "x", "nan", "inf"]),
        ("random_state", ["7"], ["None"]),
        ("controller_tanh_const", ["2", "None"], ["0"]),
        ("controller_entropy_weight", ["1.5", "None"], ["0"]),
        ("controller_baseline_decay", ["1"], ["0", "1.5", "None"]),
        ("controller_learning_rate", ["0.5"], ["0", "1.5"]),
        ("controller_skip_target", ["1"], ["0", "1.5", "None"]),
        ("controller_skip_weight", ["1.5", "None"], ["0"]),
        ("controller_train_steps", ["1"], ["0"]),
        ("controller_log_every_steps", ["1"], ["0", "None"]),
    ],
)
def test_settings_of_enas_have_katibs_verdicts(
    name: str, right: list[str], wrong: list[str]
) -> None:
    for value in right:
        check_document(enas(settings={name: value}), "f")
    for value in wrong:
        (fault,) = faults(enas(settings={name: value}))
        assert fault.startswith(f'spec.algorithm.algorithmSettings[0].value: found "{value}"')


NAS = "spec.nasConfig"
FIRST = f"{NAS}.operations.0.parameters.0"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({NAS: ABSENT}, "spec.nasConfig: missing; allowed: graphConfig and operations"),
        ({f"{NAS}.graphConfig": {}}, "spec.nasConfig.graphConfig.numLayers: missing"),
        ({f"{NAS}.graphConfig.numLayers": 0}, "numLayers: found 0; allowed: 1 to 128 layers"),
        ({f"{NAS}.graphConfig.inputSizes": []}, "graphConfig.inputSizes: missing"),
        ({f"{NAS}.graphConfig.outputSizes": [0]}, "outputSizes[0]: found 0; allowed: a whole"),
        ({f"{NAS}.operations": []}, "spec.nasConfig.operations: missing"),
        (
            {f"{NAS}.operations.0.operationType": ABSENT},
            "operations[0].operationType: mis",
        ),
        ({f"{NAS}.operations.0.parameters": []}, "operations[0].parameters: missing"),
        ({f"{FIRST}.feasibleSpace.list": []}, "operations[0].parameters[0].feasibleSpace.list"),
        ({f"{FIRST}.feasibleSpace.list": ["it's"]}, "list[0]: found it's; allowed: a text without"),
        ({f"{FIRST}.when": {"a": "b"}}, "parameters[0].when: found a condition; allowed: none"),
        ({f"{NAS}.operations.0.typ": "x"}, "operations[0].typ: found an unknown key"),
        ({"spec.algorithm.algorithmName": "tpe"}, "algorithm tpe; allowed: algorithm darts or"),
    ],
)
def test_a_fault_of_a_nas_config_is_told_with_its_place(
    changes: Mapping[str, Any], words: str
) -> None:
    told = faults(changed(changes, KATIBS["enas-cpu"]))
    assert any(words in fault for fault in told), told


def test_a_reference_to_what_the_algorithm_does_not_give_is_a_fault() -> None:
    path = "spec.trialTemplate.trialParameters.0.reference"
    (fault,) = faults(changed({path: "arch"}, KATIBS["enas-cpu"]))
    assert "architecture, nn_config" in fault


def test_every_combination_of_an_operations_parameters_is_one_choice() -> None:
    number = {"min": "1", "max": "6", "step": "2"}
    parts = [
        {"name": "i", "parameterType": "int", "feasibleSpace": number},
        {"name": "d", "parameterType": "double", "feasibleSpace": {**number, "step": "2.5"}},
        {"name": "c", "parameterType": "discrete", "feasibleSpace": {"list": ["7"]}},
    ]
    given = {"operations": [{"operationType": "a", "parameters": parts}, listed("b", x=["y"])]}
    choices = choices_of(NasConfig.model_validate(given))
    assert [dict(each.parameters) for each in choices[:4]] == [
        {"i": 1, "d": 1.0, "c": "7"},
        {"i": 1, "d": 3.5, "c": "7"},
        {"i": 1, "d": 6.0, "c": "7"},
        {"i": 3, "d": 1.0, "c": "7"},
    ]
    assert [(each.index, each.type) for each in choices][-1] == (9, "b")


def test_a_run_counts_the_length_of_the_texts() -> None:
    few, many = (model(enas(layers=layers, operations=FEW)) for layers in (1, 8))
    assert Capacity.of(many).trial - Capacity.of(few).trial > 500
