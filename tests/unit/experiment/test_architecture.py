"""How a template of an architecture search takes the texts that a trial is given."""

from __future__ import annotations

from typing import Any

from katibflow.experiment.architecture import assigned_names, template_of
from katibflow.experiment.trial_template import render
from tests.nas import enas, model
from tests.samples import experiment


def command_of(document: dict[str, Any]) -> list[str]:
    rendered = render(
        template_of(model(document).spec),
        {"architecture": "[[1]]", "nn_config": "{'a': 'b'}"},
        name="n",
        namespace="d",
    )
    command: list[str] = rendered["spec"]["template"]["spec"]["containers"][0]["command"]
    return command


def test_quotation_marks_of_a_shell_are_taken_off() -> None:
    assert command_of(enas())[-2:] == ["--architecture=[[1]]", "--nn_config={'a': 'b'}"]


def test_quotation_marks_within_an_argument_stay() -> None:
    document = enas()
    container = document["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    reference = "${trialParameters.neuralNetworkConfig}"
    container["containers"][0]["command"] = ["sh", "-c", f'run "{reference}" now', f'"{reference}"']
    assert command_of(document)[2:] == ["run \"{'a': 'b'}\" now", "{'a': 'b'}"]


def test_a_search_of_parameters_keeps_its_template() -> None:
    of = experiment()
    assert template_of(of.spec) is of.spec.trial_template
    assert assigned_names(of.spec) == ("lr",)
