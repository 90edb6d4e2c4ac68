from __future__ import annotations

import copy
import string
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from katibflow.errors import InputError
from katibflow.experiment.parsing import parse
from katibflow.experiment.trial_template import faults, render
from katibflow.experiment.types import TrialTemplate
from katibflow.validation.rules import load_experiment
from tests.samples import SEED_FILE, changed


def template(spec: Mapping[str, Any], **references: str) -> TrialTemplate:
    parameters = [{"name": name, "reference": to} for name, to in references.items()]
    return TrialTemplate.model_validate({"trialSpec": spec, "trialParameters": parameters})


def rendered(spec: Mapping[str, Any], **values: str) -> Any:
    whole = {"apiVersion": "batch/v1", "kind": "Job"} | dict(spec)
    given = template(whole, **{name: name for name in values})
    result = render(given, values, name="sample-run-7", namespace="team")
    return {key: value for key, value in result.items() if key not in ("apiVersion", "kind")}


def test_the_seeds_template_is_rendered() -> None:
    seed = load_experiment(SEED_FILE).spec.trial_template
    result = render(seed, {"lr": "0.02", "momentum": "0.5"}, name="n", namespace="s")
    for replica in result["spec"]["pytorchReplicaSpecs"].values():
        assert replica["template"]["spec"]["containers"][0]["command"] == [
            "python3",
            "/opt/pytorch-mnist/mnist.py",
            "--epochs=1",
            "--batch-size=16",
            "--lr=0.02",
            "--momentum=0.5",
        ]


def test_references_are_replaced_in_texts_keys_and_lists() -> None:
    spec = {
        "whole": "${trialParameters.a}",
        "inside": "x${trialParameters.a}y${trialParameters.b}${trialParameters.a}",
        "key-${trialParameters.a}": [["${trialParameters.b}"], {"k": "$${trialSpec.Name}"}],
        "same": [1, 2.5, True, None, "text"],
    }
    assert rendered(spec, a="1", b="two") == {
        "whole": "1",
        "inside": "x1ytwo1",
        "key-1": [["two"], {"k": "$sample-run-7"}],
        "same": [1, 2.5, True, None, "text"],
    }


@pytest.mark.parametrize(
    "text",
    [
        "${trialParameters}",
        "${trialparameters.a}",
        "$trialParameters.a",
        "{trialParameters.a}",
        "${ trialParameters.a}",
        "${trialParameters.a",
        "$(trialParameters.a)",
        "${HOME}",
        "${trialSpecs.Name}",
        "$",
    ],
)
def test_what_is_no_reference_is_left_alone(text: str) -> None:
    assert rendered({"x": text, "y": "${trialParameters.a}"}, a="1") == {"x": text, "y": "1"}


def test_values_are_never_rendered_again() -> None:
    values = {"a": "${trialParameters.b}", "b": "${trialSpec.Name}\\1\\g<0>"}
    assert rendered({"x": "${trialParameters.a} ${trialParameters.b}"}, **values) == {
        "x": "${trialParameters.b} ${trialSpec.Name}\\1\\g<0>"
    }


def test_a_trial_parameter_goes_by_its_name_and_takes_its_references_value() -> None:
    given = template({"x": "${trialParameters.learningRate}"}, learningRate="lr")
    assert render(given, {"lr": "0.1"}, name="n", namespace="s") == {"x": "0.1"}


META = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"annotations": {"a.b/c": "note"}, "labels": {"app": "mine", "n": 1}},
}


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("Name", "trial-1"),
        ("Namespace", "team"),
        ("Kind", "Job"),
        ("APIVersion", "batch/v1"),
        ("Annotations[a.b/c]", "note"),
        ("Labels[app]", "mine"),
        ("Labels[n]", "1"),
    ],
)
def test_meta_references_directly_and_through_a_trial_parameter(reference: str, value: str) -> None:
    spec = META | {"x": f"<${{trialSpec.{reference}}}>", "y": "${trialParameters.meta}"}
    given = template(spec, meta=f"${{trialSpec.{reference}}}")
    result = render(given, {}, name="trial-1", namespace="team")
    assert (result["x"], result["y"]) == (f"<{value}>", value)


@pytest.mark.parametrize(
    "reference",
    [
        "${trialParameters.b}",
        "${trialParameters.}",
        "${trialParameters.A}",
        "${trialSpec.name}",
        "${trialSpec.}",
        "${trialSpec.Labels[other]}",
        "${trialSpec.Labels}",
        "${trialSpec.Annotations[]}",
        "${trialSpec.Labels[itself]}",
    ],
)
def test_a_reference_that_resolves_to_nothing_is_named(reference: str) -> None:
    metadata = {"labels": {"app": "x", "itself": "${trialSpec.Name}"}}
    with pytest.raises(InputError) as caught:
        rendered({"metadata": metadata, "x": ["a " + reference]}, a="1")
    assert str(caught.value).startswith(f"{reference} resolves to nothing; allowed: ")


@pytest.mark.parametrize("metadata", [None, [], "text", {"labels": "text"}, {"labels": None}])
def test_odd_metadata_resolves_to_nothing(metadata: object) -> None:
    with pytest.raises(InputError, match="resolves to nothing"):
        rendered({"metadata": metadata, "x": "${trialSpec.Labels[a]}"})


def test_counts_become_numbers_and_all_else_stays_text() -> None:
    spec = {
        "replicas": "${trialParameters.n}",
        "labels": {"replicas": "${trialParameters.n}"},
        "env": [{"name": "N", "value": "${trialParameters.n}"}],
        "spec": {"parallelism": "${trialParameters.n}", "completions": "1${trialParameters.n}"},
        "backoffLimit": "3",
        "numNodes": "${trialParameters.x}",
    }
    assert rendered(spec, n="2", x="2.5") == {
        "replicas": 2,
        "labels": {"replicas": "2"},
        "env": [{"name": "N", "value": "2"}],
        "spec": {"parallelism": 2, "completions": "12"},
        "backoffLimit": "3",
        "numNodes": "2.5",
    }


def test_keys_that_become_the_same_are_an_error() -> None:
    with pytest.raises(InputError, match=r"\$\{trialParameters.b\} becomes 'x', a key that stands"):
        rendered({"m": {"${trialParameters.a}": 1, "${trialParameters.b}": 2}}, a="x", b="x")


def test_the_template_stays_as_it_is() -> None:
    given = template({"x": ["${trialParameters.a}", {"k": "${trialParameters.a}"}]}, a="a")
    before = copy.deepcopy(given)
    result = render(given, {"a": "1"}, name="n", namespace="s")
    result["x"][1]["k"] = "changed"
    assert given == before


NAMES = st.sampled_from(["a", "b", "learning-rate", "x.y"])
# The pieces between references: no text that forms a reference with its neighbours.
PLAIN = st.text(alphabet=string.ascii_letters + string.digits + ' -_./"\\{}ä\n', max_size=6)
PIECES = st.lists(
    st.tuples(st.just(""), PLAIN) | st.tuples(NAMES, st.just("")), min_size=0, max_size=5
)
LEAVES = PIECES | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
TREES = st.recursive(
    LEAVES.map(lambda leaf: ("leaf", leaf)),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: ("list", items))
        | st.lists(inner, max_size=3).map(lambda items: ("mapping", items))
    ),
    max_leaves=12,
)


def built(tree: tuple[str, Any], piece: Callable[[str], str]) -> Any:
    kind, inner = tree
    if kind == "leaf":
        if isinstance(inner, list):
            return "".join(piece(name) if name else text for name, text in inner)
        return inner
    items = [built(item, piece) for item in inner]
    return items if kind == "list" else {f"k{index}": item for index, item in enumerate(items)}


@given(TREES, st.fixed_dictionaries({n: st.text() for n in ("a", "b", "learning-rate", "x.y")}))
def test_rendering_replaces_exactly_the_references(
    tree: tuple[str, Any], values: dict[str, str]
) -> None:
    spec = built(tree, lambda name: f"${{trialParameters.{name}}}")
    assert rendered({"spec": spec}, **values) == {"spec": built(tree, lambda name: values[name])}


@pytest.mark.parametrize("begin", ["${trialParameters.", "{trialParameters.", "${trialSpec.x["])
def test_references_that_nothing_closes_cost_no_time(begin: str) -> None:
    text = f"${{trialParameters.lr}} {begin * 100_000}"
    begun = time.process_time()
    parts = parse(changed({"spec.trialTemplate.trialSpec.spec.note": text}))[1]
    assert list(faults(parts)) == []
    result = rendered({"note": text}, lr="0.1")
    assert result["note"].startswith(f"0.1 {begin}")
    assert time.process_time() - begun < 2
