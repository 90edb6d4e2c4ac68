from __future__ import annotations

import re

import pytest

from katibflow import errors
from katibflow.errors import Fault, InvalidExperiment, KatibflowError, MissingPackage


def test_a_fault_says_where_what_and_what_would_be_right() -> None:
    assert str(Fault("spec.x", '"a"', "a number")) == 'spec.x: found "a"; allowed: a number'
    assert str(Fault("spec.x", "", "a number")) == "spec.x: missing; allowed: a number"


def test_a_fault_is_one_printable_line() -> None:
    text = str(Fault("spec.x", '"a\nb\x1b[31m\u202ec"', "ä number"))
    assert text == r'spec.x: found "a\nb\x1b[31m\u202ec"; allowed: ä number'


def test_a_text_of_others_in_an_error_does_nothing_to_a_terminal() -> None:
    assert str(KatibflowError("boom \x1b]0;evil\x07\nat line 3")) == r"boom \x1b]0;evil\x07" + (
        "\nat line 3"
    )


def test_an_invalid_experiment_lists_every_fault_with_its_file() -> None:
    error = InvalidExperiment("x.yaml", [Fault("a", "1", "2"), Fault("b", "", "3")])
    assert str(error).splitlines() == [
        "x.yaml: a: found 1; allowed: 2",
        "x.yaml: b: missing; allowed: 3",
    ]
    assert error.source == "x.yaml"
    assert [fault.path for fault in error.faults] == ["a", "b"]


def test_a_missing_package_names_its_user_and_the_cure() -> None:
    error = MissingPackage("cmaes", "algorithm cmaes")
    assert str(error) == "algorithm cmaes needs the package 'cmaes': pip install cmaes"
    assert (error.package, error.extra) == ("cmaes", None)


def test_a_missing_package_of_an_extra_names_the_extra() -> None:
    error = MissingPackage("torch", "algorithm bayesianoptimization", "torch")
    assert str(error) == (
        "algorithm bayesianoptimization needs katibflow[torch]: pip install 'katibflow[torch]'"
    )
    assert (error.package, error.extra) == ("torch", "torch")


def test_the_tree_in_the_text_is_the_tree_in_the_code() -> None:
    drawn = set(re.findall(r"(?:[├└]─|^    )\s*([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE))
    classes = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, KatibflowError)
    }
    assert drawn == classes


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        ("InputError", "KatibflowError"),
        ("InvalidExperiment", "InputError"),
        ("MissingPackage", "InputError"),
        ("HistoryError", "KatibflowError"),
        ("SuggestionError", "KatibflowError"),
        ("RunnerError", "KatibflowError"),
        ("RunBusy", "RunnerError"),
    ],
)
def test_parents(child: str, parent: str) -> None:
    assert getattr(errors, child).__bases__ == (getattr(errors, parent),)


def test_a_long_value_and_many_faults_are_cut_and_counted() -> None:
    error = InvalidExperiment("x", [Fault("a" * 600, "1" * 4000, "2")])
    assert str(error) == f"x: {'a' * 500}...: found {'1' * 500}...; allowed: 2"
    faults = [Fault(f"a{n}", "", "b") for n in range(2000)]
    few = InvalidExperiment("x", faults[:60])
    assert str(few).splitlines()[49:] == ["x: a49: missing; allowed: b", "x: 10 more faults"]
    many = InvalidExperiment("x", faults)
    assert str(many).splitlines()[-1] == "x: more than 950 more faults"
    assert len(many.faults) == 1000
