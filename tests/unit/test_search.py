"""Search spaces in Python: a wrong one is an error where it is written."""

from __future__ import annotations

from typing import Any

import pytest

from katibflow import search
from katibflow.errors import InputError


@pytest.mark.parametrize(
    ("space", "given", "message"),
    [
        (search.double, {"min": 1, "max": 0}, "search.double: max: found 0; allowed: at least min"),
        (search.int, {"min": 1.5, "max": 2}, "search.int: min: found 1.5; allowed: a whole number"),
        (search.double, {"min": None, "max": 0}, "search.double: min: found None; allowed: a fini"),
        (search.int, {"min": 0, "max": 2, "step": 0}, "search.int: step: found 0; allowed: a numb"),
        (
            search.double,
            {"min": 0, "max": 1, "distribution": "log"},
            "search.double: distribution: found 'log'; allowed: uniform, logUniform",
        ),
    ],
)
def test_a_wrong_range_is_refused(space: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as told:
        space(**given)
    assert str(told.value).startswith(message)


def test_a_range_of_one_value_is_one() -> None:
    assert search.int(2, 2).feasible["max"] == "2"
