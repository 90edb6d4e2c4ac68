"""Whatever YAML stands in a field of an Experiment, validate ends in faults, and soon."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from katibflow.errors import InputError, InvalidExperiment
from katibflow.experiment.yaml_reader import read_document
from katibflow.validation.katib_differences import katib_differences_of
from katibflow.validation.rules import check_document
from tests.paths import ROOT
from tests.samples import DOCUMENT

MOST_SECONDS = 2.0
MOST_RULERS = 12
"""On a machine that is slow at the moment: times of summing five million numbers, here and now."""


def at_once(seconds: float) -> None:
    """Fails if this took long, beside what takes a sixth of a second on an idle machine."""
    if seconds >= MOST_SECONDS:
        start = time.thread_time()
        sum(range(5_000_000))
        assert seconds < MOST_RULERS * (time.thread_time() - start)


Place = tuple[str | int, ...]

EXAMPLES: dict[str, Any] = {
    path.name: document
    for path in sorted((ROOT / "examples").glob("*.yaml"))
    if isinstance(document := yaml.safe_load(path.read_text(encoding="utf-8")), dict)
    and document.get("kind") == "Experiment"
} | {"sample": DOCUMENT}


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Yields the place of each field and of each item of a list."""
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, item in items:
        yield (*place, key)
        yield from places(item, (*place, key))


PLACES = [(name, place) for name, document in EXAMPLES.items() for place in places(document)]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**31, 2**63, 10**40])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.dates()
    | st.binary(max_size=3)
    | st.text(max_size=8)
    | st.sampled_from(["", " ", "${trialParameters.lr}", "${trialSpec.Name}", "1e999", "a" * 5_000])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.just("name"), inner, max_size=4)
    ),
    max_leaves=8,
)
MANY = st.builds(
    lambda count, item: [item] * count, st.sampled_from([200, 4_000]), st.text(max_size=2)
) | st.builds(
    lambda count, item: {f"k{index}": item for index in range(count)},
    st.sampled_from([200, 4_000]),
    SCALARS,
)


def put(document: Any, place: Place, value: object) -> Any:
    document = copy.deepcopy(document)
    at = document
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    return document


def ends_in_faults(name: str, place: Place, value: object) -> None:
    text = yaml.safe_dump(put(EXAMPLES[name], place, value), allow_unicode=True)
    start = time.thread_time()
    try:
        experiment = check_document(read_document(text, "f.yaml"), "f.yaml", needs_template=False)
        katib_differences_of(experiment)
    except InvalidExperiment as error:
        assert error.faults and str(error)
    except InputError as error:
        assert str(error)
    at_once(time.thread_time() - start)


CASES = given(st.sampled_from(PLACES), st.one_of(*[VALUES] * 18, MANY))
PROFILE = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.slow
@settings(max_examples=60, **PROFILE)  # type: ignore[arg-type]
@CASES
def test_any_value_in_any_field_ends_in_faults(at: tuple[str, Place], value: object) -> None:
    ends_in_faults(*at, value)


@pytest.mark.long
@settings(max_examples=20_000, **PROFILE)  # type: ignore[arg-type]
@CASES
def test_very_many_values_in_any_field_end_in_faults(at: tuple[str, Place], value: object) -> None:
    ends_in_faults(*at, value)


@pytest.mark.parametrize("value", [[], {}, ["kubeflow.org/v1alpha1"], {"a": 1}, None, 1, True])
@pytest.mark.parametrize("key", ["apiVersion", "kind", "metadata", "spec"])
def test_a_field_at_the_top_may_be_anything(key: str, value: object) -> None:
    ends_in_faults("sample", (key,), value)


def lists(count: int) -> list[dict[str, Any]]:
    return [
        {
            "name": f"p{index}",
            "parameterType": "categorical",
            "feasibleSpace": {"list": ["a", "b"]},
        }
        for index in range(count)
    ]


def test_conditions_on_thousands_of_names_are_refused_at_once() -> None:
    parameters = lists(5_001)
    parameters[0]["when"] = {f"p{index}": "a" for index in range(1, 5_001)}
    start = time.thread_time()
    with pytest.raises(InvalidExperiment) as caught:
        check_document(put(DOCUMENT, ("spec", "parameters"), parameters), "f.yaml")
    at_once(time.thread_time() - start)
    assert (
        "spec.parameters[0].when: found 5000 names up to here; allowed: at most 1000 names in all "
        "conditions together" in str(caught.value)
    )


def test_conditions_with_thousands_of_values_are_refused_at_once() -> None:
    parameters = lists(2)
    parameters[1]["when"] = {"p0": ["a"] * 10_001}
    start = time.thread_time()
    with pytest.raises(InvalidExperiment, match="at most 10000 values in all conditions"):
        check_document(put(DOCUMENT, ("spec", "parameters"), parameters), "f.yaml")
    at_once(time.thread_time() - start)


def test_a_long_chain_of_conditions_is_checked_in_time() -> None:
    parameters = lists(900)
    for index in range(1, 900):
        parameters[index]["when"] = {f"p{index - 1}": "a"}
    start = time.thread_time()
    with pytest.raises(InvalidExperiment) as caught:
        check_document(put(DOCUMENT, ("spec", "parameters"), parameters), "f.yaml")
    assert ".when" not in str(caught.value)
    at_once(time.thread_time() - start)
