"""What `docs/search.md` shows is right, and its table says what each algorithm can do."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from katibflow.experiment.types import Algorithm
from katibflow.study.history import History
from katibflow.suggestion.algorithms import ALGORITHMS, algorithm_of
from katibflow.suggestion.algorithms.base import Ability
from katibflow.suggestion.suggester import suggest
from katibflow.validation.rules import check_document
from tests.paths import ROOT
from tests.samples import changed

TEXT = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
WHOLE = [
    fragment
    for block in re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    if "containers" not in (fragment := yaml.safe_load(block))
]
FRAGMENTS = [fragment for fragment in WHOLE if "metadata" not in fragment]


def test_the_trials_that_are_shown_to_come_first_do() -> None:
    (fragment,) = (each for each in WHOLE if "metadata" in each)
    parameters = [
        {"name": name, "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}
        for name in ("lr", "momentum")
    ]
    made = changed(
        {
            "spec.parameters": parameters,
            "spec.trialTemplate.trialParameters": [
                {"name": name, "reference": name} for name in ("lr", "momentum")
            ],
            "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.args": [
                "${trialParameters.lr} ${trialParameters.momentum}"
            ],
        }
    )
    made["metadata"] = {**made["metadata"], **fragment["metadata"]}
    of = check_document(made, "docs/search.md")
    assert [dict(each.assignments) for each in suggest(History(of, "r", 1), 2)] == [
        {"lr": "0.01", "momentum": "0.9"},
        {"lr": "0.03", "momentum": "0.5"},
    ]


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda each: " ".join(each))
def test_what_is_shown_of_an_experiment_is_right(fragment: dict[str, Any]) -> None:
    changes: dict[str, Any] = {
        f"spec.{key}": value for key, value in fragment.items() if key != "trialTemplate"
    }
    entries = fragment.get("trialTemplate", {}).get("trialParameters")
    if entries is not None:
        place = "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.args"
        changes["spec.trialTemplate.trialParameters"] = entries
        changes[place] = [f"${{trialParameters.{entry['name']}}}" for entry in entries]
    made = check_document(changed(changes), "docs/search.md")
    assert made.spec.objective.goals or made.spec.objective.constraints or entries


def test_the_table_of_abilities_is_what_the_algorithms_say() -> None:
    rows = re.findall(r"^\| (`.*?`) \| (yes|no).*? \| (yes|no).*? \| (yes|no).* \|$", TEXT, re.M)
    shown = {name: cells for names, *cells in rows for name in re.findall(r"`([^`]+)`", names)}
    assert {*ALGORITHMS} <= {*shown}
    for name, cells in shown.items():
        lacks = algorithm_of(Algorithm.model_validate({"algorithmName": name})).lacks
        asked = (Ability.OBJECTIVES, Ability.CONSTRAINTS, Ability.CONDITIONS)
        assert cells == ["no" if ability in lacks else "yes" for ability in asked], name


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
    titles = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert {*re.findall(r"\]\((?:search\.md)?#([^)]*)\)", TEXT)} <= anchors
