"""Values of other libraries become values that trials have, too, or an error that names them."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import katibflow
from katibflow import search
from katibflow.api.function_source import program_of
from katibflow.errors import InputError


class Colour(enum.StrEnum):
    RED = "red"


class Plain(enum.Enum):
    RED = "red"


def train(parameters: dict[str, Any]) -> float:
    return float(len(parameters))


def tuned(parameters: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    made = katibflow.tune(train, parameters, **arguments)
    document: dict[str, Any] = yaml.safe_load(made.to_yaml())
    return document["spec"]


def values_in_a_trial(parameters: dict[str, Any], assigned: dict[str, str]) -> dict[str, Any]:
    """Returns the parameters with which a trial calls its function; it has no import of ours."""
    names: dict[str, Any] = {"__name__": "__main__"}
    program = program_of(train, parameters, "objective").replace("sys.argv[1:]", "WORDS")
    names["WORDS"] = [f"{key}={text}" for key, text in assigned.items()]
    exec(program, names)
    found: dict[str, Any] = names["parameters"]
    return found


def test_a_range_may_be_of_numbers_of_numpy() -> None:
    spec = tuned(
        {
            "lr": search.double(np.float64(0.1), np.float32(1), step=np.float64(0.1)),
            "layers": search.int(np.int64(1), np.int32(3)),  # type: ignore[arg-type]
        },
        max_trial_count=np.int64(4),
        objective_goal=np.float64(0.5),
    )
    spaces = [parameter["feasibleSpace"] for parameter in spec["parameters"]]
    assert (spaces[0]["min"], spaces[0]["max"], spaces[0]["step"]) == ("0.1", "1.0", "0.1")
    assert (spaces[1]["min"], spaces[1]["max"], spaces[1]["step"]) == ("1", "3", "1")
    assert (spec["maxTrialCount"], spec["objective"]["goal"]) == (4, 0.5)


@pytest.mark.parametrize(
    ("items", "text", "value"),
    [
        ([np.int64(3), np.int64(4)], "3", 3),
        (np.linspace(0, 1, 3), "0.5", 0.5),
        ([np.str_("a")], "a", "a"),
        ([np.True_, np.False_], "True", True),
        ([Colour.RED], "red", "red"),
        ((letter for letter in "ab"), "b", "b"),
    ],
)
def test_an_item_of_a_list_is_a_plain_value_in_a_trial(items: Any, text: str, value: Any) -> None:
    found = values_in_a_trial({"item": search.categorical(items)}, {"item": text})["item"]
    assert (found, type(found)) == (value, type(value))


def test_a_constant_is_a_plain_value_in_a_trial() -> None:
    constant = {
        "a": [np.float64(2), float("inf"), None],
        Colour.RED: (1,),
        "b": np.arange(3),
        "c": {"y", "x"},
        "d": (b"x", frozenset({1}), range(3), True),
    }
    found = values_in_a_trial({"x": search.int(1, 2), "constant": constant}, {"x": "1"})
    assert found["constant"] == {
        "a": [2.0, float("inf"), None],
        "red": (1,),
        "b": [0, 1, 2],
        "c": {"x", "y"},
        "d": (b"x", frozenset({1}), range(3), True),
    }
    assert json.dumps(found["constant"]["b"]) == "[0, 1, 2]"


@pytest.mark.parametrize(
    ("value", "kind"),
    [(Plain.RED, "Plain"), (Path("x"), "PosixPath"), ([object()], "object"), (float, "type")],
)
def test_a_value_that_a_trial_cannot_have_is_refused(value: Any, kind: str) -> None:
    with pytest.raises(InputError, match=rf"^parameters: other: found a {kind}; allowed: a text, "):
        tuned({"x": search.int(1, 2), "other": value})


@pytest.mark.parametrize("items", ["relu", b"ab", 5, None, {"a": 1}, {"a", "b"}])
@pytest.mark.parametrize("kind", [search.categorical, search.discrete])
def test_a_list_is_a_list(kind: Any, items: Any) -> None:
    with pytest.raises(InputError, match=rf"^search\.{kind.__name__}: list: found .*; allowed: "):
        kind(items)
