"""Tests feasible spaces: their exact values, and how values are distributed."""

from __future__ import annotations

import math
from decimal import Decimal
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from katibflow.experiment.parsing import parse
from katibflow.suggestion.space.dimensions import (
    EXACT,
    Dimension,
    Interval,
    Warped,
    decimal_of,
    plain,
)
from katibflow.suggestion.space.search_space import faults, space_of
from tests.samples import changed
from tests.searching import MIXED, SMALL, parameter

SHARES = st.floats(0.0, 1.0)
EDGES = (0.0, 1e-300, 0.25, 0.5, 0.75, 1.0 - 2**-53, 1.0)


def dimension(kind: str, **space: Any) -> Dimension:
    return space_of([parameter(kind, space)]).dimensions[0]


def fault_texts(kind: str, **space: Any) -> list[str]:
    document = changed(
        {"spec.parameters.0": {"name": "lr", "parameterType": kind, "feasibleSpace": space}}
    )
    return [str(fault) for fault in faults(parse(document)[1])]


def values(of: Dimension, shares: tuple[float, ...] = EDGES) -> list[str]:
    return [of.at(share) for share in shares]


@st.composite
def decimals(draw: st.DrawFn, digits: int = 20, exponent: int = 40) -> str:
    """Numbers as people and programs write them."""
    sign = draw(st.sampled_from(["", "-", "+"]))
    figures = draw(st.integers(0, 10**digits))
    power = draw(st.integers(-exponent, exponent))
    style = draw(st.sampled_from(["scientific", "plain"]))
    value = Decimal(f"{sign}{figures}e{power}")
    return f"{sign}{figures}e{power}" if style == "scientific" else f"{value:f}"


@st.composite
def ranges(draw: st.DrawFn, *, positive: bool = False) -> tuple[str, str]:
    low, high = sorted((draw(decimals()), draw(decimals())), key=Decimal)
    assume(Decimal(low) < Decimal(high))
    assume(not positive or Decimal(low) > 0)
    return low, high


@pytest.mark.slow
@given(ranges(), st.integers(1, 2**53 - 1), st.data())
def test_a_stepped_double_is_min_plus_whole_steps_and_never_above_max(
    bounds: tuple[str, str], count: int, data: st.DataObject
) -> None:
    low, high = map(Decimal, bounds)
    step = EXACT.divide(EXACT.subtract(high, low), Decimal(count))
    step = Decimal(f"{step:.12e}")
    assume(0 < step <= EXACT.subtract(high, low))
    assume(EXACT.divide_int(EXACT.subtract(high, low), step) < 2**53)
    found = dimension("double", min=bounds[0], max=bounds[1], step=str(step))
    for share in (0.0, 1.0, data.draw(SHARES)):
        value = Decimal(found.at(share))
        index, rest = EXACT.divmod(EXACT.subtract(value, low), step)
        assert rest == 0
        assert index >= 0
        assert value <= high
        assert found.text(found.number(found.at(share))) == found.at(share)


@given(st.integers(-(10**40), 10**40), st.integers(0, 2**53 - 1), st.integers(1, 10**6), SHARES)
def test_an_int_is_written_as_whole_digits(low: int, width: int, step: int, share: float) -> None:
    found = dimension("int", min=str(low), max=str(low + width), step=str(min(step, max(width, 1))))
    text = found.at(share)
    assert text == str(int(text))
    assert low <= int(text) <= low + width
    assert (int(text) - low) % min(step, max(width, 1)) == 0


@given(ranges(), SHARES)
def test_a_double_lies_in_its_range_as_a_decimal_number(
    bounds: tuple[str, str], share: float
) -> None:
    found = dimension("double", min=bounds[0], max=bounds[1])
    text = found.at(share)
    assert Decimal(bounds[0]) <= Decimal(text) <= Decimal(bounds[1])
    if isinstance(found, Interval):
        assert found.text(found.number(text)) == text


@pytest.mark.slow
@pytest.mark.parametrize("distribution", ["uniform", "logUniform", "normal", "logNormal"])
@given(bounds=ranges(positive=True), share=SHARES)
@example(bounds=("1e-300", "1e300"), share=0.5)
@example(bounds=("5e-324", "1.7e308"), share=0.5)
@example(bounds=("1", "1.0000000000000002"), share=0.5)
@example(bounds=("1", "1.00000000000000000000001"), share=0.5)
def test_every_distribution_stays_in_its_range(
    distribution: str, bounds: tuple[str, str], share: float
) -> None:
    found = dimension("double", min=bounds[0], max=bounds[1], distribution=distribution)
    for text in values(found, (*EDGES, share)):
        assert Decimal(bounds[0]) <= Decimal(text) <= Decimal(bounds[1])
        assert 0.0 <= found.share(text) <= 1.0
        found.distribution()._contains(float(found.number(text)))


@pytest.mark.parametrize(
    ("kind", "space"),
    [
        ("double", {"min": "-1.7e308", "max": "1.7e308"}),
        ("double", {"min": "-1.7e308", "max": "1.7e308", "distribution": "normal"}),
        ("double", {"min": "-5e-324", "max": "5e-324"}),
        ("double", {"min": "-0.3", "max": "-0.1"}),
        ("double", {"min": "0.1", "max": "0.10000000000000002"}),
        ("double", {"min": "-3", "max": "7", "distribution": "normal"}),
        ("int", {"min": "-5", "max": "5"}),
        ("int", {"min": "1", "max": "1000", "distribution": "logUniform"}),
        ("discrete", {"list": ["0.1", "1e-3", "2"]}),
    ],
    ids=str,
)
def test_the_shares_0_and_1_are_the_ends_of_the_range(kind: str, space: dict[str, Any]) -> None:
    found = dimension(kind, **space)
    items = sorted(space.get("list", ()), key=float) or [space["min"], space["max"]]
    assert [Decimal(found.at(0.0)), Decimal(found.at(1.0))] == [
        Decimal(items[0]),
        Decimal(items[-1]),
    ]


@pytest.mark.parametrize(
    "text", ["0.1000000000000000055511151231257827", "1.23456789012345678901234567"]
)
def test_a_bound_with_more_digits_than_a_double_is_kept_to_the_letter(text: str) -> None:
    found = dimension("double", min=text, max="2")
    assert found.at(0.0) == text
    assert found.text(found.number(text)) == text


@pytest.mark.parametrize(
    ("kind", "space", "texts"),
    [
        ("int", {"min": "3", "max": "3"}, ["3"]),
        ("int", {"min": "3.0", "max": "3e0"}, ["3"]),
        ("double", {"min": "0.5", "max": "0.5"}, ["0.5"]),
        ("double", {"min": "0.5", "max": "0.50", "step": "0.1"}, ["0.5"]),
        ("double", {"min": "0.5", "max": "0.5", "distribution": "logNormal"}, ["0.5"]),
        ("categorical", {"list": ["only"]}, ["only"]),
        ("categorical", {"list": ["b", "a", "b", "a"]}, ["b", "a"]),
        ("discrete", {"list": ["10", "9", "10", "1e1"]}, ["9", "10", "1e1"]),
        ("double", {"list": ["0.1", "0.01"]}, ["0.01", "0.1"]),
        ("int", {"min": "1", "max": "10", "step": "4"}, ["1", "5", "9"]),
        ("int", {"min": "0", "max": "1e2", "step": "50"}, ["0", "50", "100"]),
        ("int", {"min": "1", "max": "4", "step": "0.8"}, ["1", "2", "3", "4"]),
        ("int", {"min": "0", "max": "3", "step": "0.01"}, ["0", "1", "2", "3"]),
        ("int", {"min": "-1", "max": "6", "step": "1.5"}, ["-1", "0", "2", "3", "5"]),
        ("discrete", {"list": ["relu", "tanh", "relu"]}, ["relu", "tanh"]),
        ("discrete", {"list": ["2", "1", "auto"]}, ["2", "1", "auto"]),
        ("double", {"min": "0.1", "max": "0.35", "step": "0.1"}, ["0.1", "0.2", "0.3"]),
        ("double", {"min": "0", "max": "3e-7", "step": "1e-7"}, ["0", "1e-7", "2e-7", "3e-7"]),
        ("double", {"min": "0", "max": "2.5e-8", "step": "1.25e-8"}, ["0", "1.25e-8", "2.5e-8"]),
        ("double", {"min": "-1", "max": "1", "step": "0.5"}, ["-1", "-0.5", "0", "0.5", "1"]),
        (
            "double",
            {"min": "1e30", "max": "3e30", "step": "1e30"},
            [f"{n}{'0' * 30}" for n in "123"],
        ),
    ],
    ids=str,
)
def test_a_finite_space_has_exactly_these_values(
    kind: str, space: dict[str, Any], texts: list[str]
) -> None:
    found = dimension(kind, **space)
    assert found.size == len(texts)
    assert [found.point(index) for index in range(len(texts))] == texts
    assert [found.at((index + 0.5) / len(texts)) for index in range(len(texts))] == texts
    for text in texts:
        assert found.text(found.number(text)) == text
        assert found.at(found.share(text)) == text


@pytest.mark.parametrize(
    ("kind", "space", "first"),
    [
        ("double", {"min": "0", "max": "1"}, "1e-10"),
        ("double", {"min": "-3", "max": "1"}, "1e-10"),
        ("double", {"min": "1e-20", "max": "1"}, "1e-20"),
        ("double", {"min": "0", "max": "1", "step": "0.25"}, "0.25"),
        ("int", {"min": "0", "max": "100"}, "1"),
        ("int", {"min": "-7", "max": "100", "step": "5"}, "3"),
    ],
)
def test_log_uniform_begins_above_0_as_in_katibs_optuna_service(
    kind: str, space: dict[str, Any], first: str
) -> None:
    found = dimension(kind, **space, distribution="logUniform")
    assert (found.at(0.0), found.at(1.0)) == (first, space["max"]) or kind == "int"
    assert found.at(0.0) == first
    assert float(found.at(0.5)) > 0


@pytest.mark.parametrize(
    ("kind", "space", "text"),
    [
        ("int", {"min": "1", "max": "9", "step": "2"}, "2"),
        ("int", {"min": "-1", "max": "6", "step": "1.5"}, "1"),
        ("int", {"min": "1", "max": "9", "step": "2"}, "11"),
        ("int", {"min": "1", "max": "9"}, "0"),
        ("double", {"min": "0.1", "max": "0.3", "step": "0.1"}, "0.15"),
        ("double", {"min": "0.1", "max": "0.3"}, "0.31"),
        ("double", {"min": "0.1", "max": "0.3", "distribution": "normal"}, "0.31"),
        ("double", {"min": "0.1", "max": "0.3", "distribution": "normal"}, "nan"),
        ("double", {"min": "0.1", "max": "0.3"}, "nan"),
        ("double", {"min": "0.1", "max": "0.3"}, "x"),
        ("int", {"min": "1", "max": "9", "distribution": "logUniform"}, "1.5"),
        ("discrete", {"list": ["1", "2"]}, "1.0"),
        ("categorical", {"list": ["a"]}, "b"),
    ],
    ids=str,
)
def test_a_value_that_is_not_feasible_has_no_number(
    kind: str, space: dict[str, Any], text: str
) -> None:
    found = dimension(kind, **space)
    with pytest.raises(ValueError):
        found.number(text)
    assert space_of([parameter(kind, space)]).numbers({"x": text}) is None


def test_an_infinite_space_has_no_points() -> None:
    for space in ({"min": "0", "max": "1"}, {"min": "0", "max": "1", "distribution": "normal"}):
        found = dimension("double", **space)
        assert found.size is None
        with pytest.raises(ValueError, match="cannot be counted"):
            found.point(0)


# --------------------------------------------------------------------------- distributions


def spread(of: Dimension, count: int = 2000) -> list[float]:
    return [float(of.at((index + 0.5) / count)) for index in range(count)]


def test_normal_has_its_mean_in_the_middle_and_three_deviations_to_each_side() -> None:
    found = spread(dimension("double", min="-2", max="10", distribution="normal"))
    cut = NormalDist(4, 2)
    mass = cut.cdf(10) - cut.cdf(-2)
    for value, share in zip(
        found, ((i + 0.5) / len(found) for i in range(len(found))), strict=True
    ):
        assert math.isclose((cut.cdf(value) - cut.cdf(-2)) / mass, share, abs_tol=1e-9)


def test_log_normal_is_normal_over_the_logarithm() -> None:
    plain_values = spread(dimension("double", min="-3", max="3", distribution="normal"))
    logs = spread(
        dimension("double", min=repr(math.exp(-3)), max=repr(math.exp(3)), distribution="logNormal")
    )
    assert all(
        math.isclose(math.log(log), value, abs_tol=1e-9)
        for log, value in zip(logs, plain_values, strict=True)
    )


def test_log_uniform_gives_every_decade_the_same_share() -> None:
    found = spread(dimension("double", min="1e-4", max="1", distribution="logUniform"))
    for decade in range(4):
        low, high = 10.0 ** (decade - 4), 10.0 ** (decade - 3)
        assert sum(low <= value < high for value in found) == pytest.approx(500, abs=1)


def test_log_uniform_on_a_grid_gives_each_point_the_mass_around_it() -> None:
    found = spread(dimension("int", min="1", max="4", distribution="logUniform"), 10_000)
    whole = math.log(4.5) - math.log(0.5)
    for value in range(1, 5):
        mass = (math.log(value + 0.5) - math.log(value - 0.5)) / whole
        assert found.count(value) / 10_000 == pytest.approx(mass, abs=1e-3)


@pytest.mark.slow
def test_normal_on_a_grid_gives_both_ends_the_same_mass() -> None:
    found = spread(dimension("int", min="0", max="10", distribution="normal"), 100_000)
    counts = [found.count(value) for value in range(11)]
    assert counts == pytest.approx(counts[::-1], abs=2)
    assert counts[:6] == sorted(counts[:6])
    assert min(counts) > 0


@given(
    st.integers(1, 200), st.integers(2, 50), st.sampled_from(["logUniform", "normal", "logNormal"])
)
def test_every_point_of_an_uneven_grid_can_come(low: int, size: int, distribution: str) -> None:
    found = dimension("int", min=str(low), max=str(low + size - 1), distribution=distribution)
    assert isinstance(found, Warped)
    for index in range(size):
        assert found.text(found.number(found.point(index))) == found.point(index)


# ------------------------------------------------------------------------------ whole space


def test_the_points_of_a_space_are_all_its_combinations_last_parameter_fastest() -> None:
    space = space_of([parameter(p["parameterType"], p["feasibleSpace"], p["name"]) for p in SMALL])
    assert space.size == 9
    points = [space.point(index) for index in range(9)]
    assert points[:4] == [
        {"a": "1", "b": "0.1"},
        {"a": "1", "b": "0.2"},
        {"a": "1", "b": "0.3"},
        {"a": "2", "b": "0.1"},
    ]
    assert len({tuple(point.items()) for point in points}) == 9


def test_a_space_with_one_range_cannot_be_counted() -> None:
    space = space_of([parameter(p["parameterType"], p["feasibleSpace"], p["name"]) for p in MIXED])
    assert space.size is None


def test_a_missing_parameter_has_no_numbers() -> None:
    space = space_of([parameter("int", {"min": "1", "max": "2"})])
    assert space.numbers({}) is None


# ----------------------------------------------------------------------------------- texts


@given(decimals(exponent=250))
def test_plain_text_is_the_same_number(text: str) -> None:
    assert Decimal(plain(Decimal(text))) == Decimal(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("3E+1", "30"), ("-0", "0"), ("0.50", "0.5"), ("1.5e-7", "1.5e-7"), ("-2E-9", "-2e-9"),
     ("100", "100"), ("0.000001", "0.000001"), ("12.300e3", "12300")],
)  # fmt: skip
def test_plain_text_is_short(text: str, shown: str) -> None:
    assert plain(Decimal(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "nan",
        "inf",
        "-Infinity",
        "1_000",
        "١٢",
        "1e400",
        "1e-400",
        "0x10",
        "1e99999999",
        "--1",
    ],
)
def test_what_is_no_number_for_a_double_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        decimal_of(text)


# ---------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("kind", "space", "words"),
    [
        ("double", {"min": "1e-999999999", "max": "1"}, 'min: found "1e-999999999"'),
        ("int", {"min": "1", "max": "1e999999999"}, 'max: found "1e999999999"'),
        ("int", {"min": "1", "max": "1e300"}, "fewer than 2**53 values"),
        ("double", {"min": "0", "max": "1", "step": "1e-300"}, "fewer than 2**53 values"),
        ("double", {"min": "0", "max": "1", "step": "2"}, "at most max - min, 1"),
        ("double", {"min": "0", "max": "1", "step": "0"}, "above 0"),
        ("int", {"min": "0.5", "max": "2"}, "a whole number"),
        ("double", {"min": "2", "max": "1"}, "at least min, 2"),
        ("double", {"min": "0", "max": "1", "distribution": "logNormal"}, "above 0, for log"),
        ("double", {"min": "-2", "max": "-1", "distribution": "logUniform"}, "at least 1e-10, for"),
        ("int", {"min": "-2", "max": "0", "distribution": "logUniform"}, "at least 1, for logUnif"),
        ("int", {"min": "0", "max": "9", "step": "x"}, 'step: found "x"; allowed: a finite number'),
        ("int", {"min": "0", "max": "9", "step": "-0.5"}, "above 0"),
        ("double", {"list": ["1", "two"]}, 'list[1]: found "two"'),
        ("discrete", {"min": "1", "max": "2"}, "the values of the discrete parameter"),
    ],
    ids=str,
)  # fmt: skip
def test_a_space_that_makes_no_sense_is_a_fault(
    kind: str, space: dict[str, Any], words: str
) -> None:
    assert any(words in text for text in fault_texts(kind, **space))


@given(ranges(), st.one_of(st.none(), decimals()), st.sampled_from(["double", "int"]))
def test_a_space_without_faults_can_be_searched(
    bounds: tuple[str, str], step: str | None, kind: str
) -> None:
    space = {"min": bounds[0], "max": bounds[1]} | ({"step": step} if step is not None else {})
    if not fault_texts(kind, **space):
        found = dimension(kind, **space)
        for text in values(found):
            assert Decimal(bounds[0]) <= Decimal(text) <= Decimal(bounds[1])
            found.number(text)
