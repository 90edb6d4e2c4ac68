"""A file may hold other objects beside its Experiment, as `kubectl apply -f` takes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from katibflow.errors import InputError, InvalidExperiment
from katibflow.experiment.manifests import experiment_in, named
from katibflow.validation.reading import experiment_of, read_experiment
from katibflow.validation.rules import check_document, load_experiment
from tests.samples import ABSENT, DOCUMENT, JOB, changed

SOURCE = {"configMapName": "templates", "configMapNamespace": "team", "templatePath": "job.yaml"}
REFERRING = changed(
    {"spec.trialTemplate.trialSpec": ABSENT, "spec.trialTemplate.configMap": SOURCE}
)
MAP: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "templates"},
    "data": {"job.yaml": yaml.safe_dump(JOB)},
}
OTHER = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}


def listed(*objects: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


def text_of(*documents: Any) -> str:
    return yaml.safe_dump_all(documents)


@pytest.mark.parametrize(
    "documents",
    [
        (REFERRING, MAP),
        (OTHER, MAP, REFERRING),
        (listed(MAP, REFERRING),),
        (
            listed(OTHER, {**MAP, "metadata": {"name": "templates", "namespace": "x"}}, MAP),
            REFERRING,
        ),
    ],
)
def test_a_config_map_in_the_same_file_is_used(documents: Any, tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(text_of(*documents), encoding="utf-8")
    for experiment in (
        load_experiment(path),
        read_experiment(path),
        experiment_of(path),
        experiment_of(text_of(*documents)),
    ):
        assert experiment.spec.trial_template.trial_spec == JOB


def test_numbers_stay_as_written_wherever_the_experiment_is() -> None:
    text = text_of(OTHER, listed(DOCUMENT)).replace("'0.1'", "1e-1")
    assert experiment_in(text, "f")["spec"]["parameters"][0]["feasibleSpace"]["min"] == "1e-1"


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ((DOCUMENT, DOCUMENT), "f: found 2 documents, 2 of them Experiments; allowed: one Experi"),
        ((OTHER, MAP), "f: found 2 documents, 0 of them Experiments"),
        ((listed(DOCUMENT, 3),), "f: found 3; allowed: one Experiment (a YAML mapping)"),
        ((), "f: found 0 documents; allowed: one Experiment"),
    ],
)
def test_anything_but_one_experiment_is_refused(documents: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        experiment_in(text_of(*documents), "f")


def test_generate_name_makes_a_name_that_is_the_same_for_the_same_search() -> None:
    document = changed({"metadata": {"generateName": "tune-"}})
    name = check_document(document, "f").name
    assert re.fullmatch("tune-[a-z0-9]{5}", name)
    assert check_document(document, "f").name == name
    for key, value in {
        "spec.trialTemplate.primaryContainerName": "x",
        "spec.maxTrialCount": 9,
        "spec.objective.goal": 0.125,
        "spec.algorithm.algorithmName": "tpe",
    }.items():
        assert named(changed({key: value}, document))["metadata"]["name"] == name, key
    other = changed({"spec.parameters.0.name": "other"}, document)
    assert named(other)["metadata"]["name"] != name
    other = changed({"spec.objective.objectiveMetricName": "other"}, document)
    assert named(other)["metadata"]["name"] != name


def test_a_prefix_that_makes_no_name_is_told_as_it_is_in_the_file() -> None:
    with pytest.raises(InvalidExperiment) as caught:
        check_document(changed({"metadata": {"generateName": "Tune_"}}), "f")
    assert str(caught.value) == (
        'f: metadata.generateName: found "Tune_"; allowed: at most 40 of a-z, 0-9 and -, first a '
        "letter"
    )


def test_a_name_wins_over_generate_name_and_a_long_one_is_cut() -> None:
    assert check_document(changed({"metadata.generateName": "x-"}), "f").name == "sample"
    long = changed({"metadata": {"generateName": "a" * 60, "name": ""}})
    assert re.fullmatch("a{35}[a-z0-9]{5}", check_document(long, "f").name)


@pytest.mark.parametrize("prefix", ["", None, 3, ["a"], {}])
def test_what_is_no_prefix_makes_no_name(prefix: object) -> None:
    document = changed({"metadata": {"generateName": prefix}})
    assert named(document) is document
