"""A Python function as a trial's program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from katibflow import search
from katibflow.api.function_source import BOOTSTRAP, program_of
from katibflow.errors import InputError
from katibflow.search import Space

X = {"x": search.double(min=0.0, max=1.0)}
LIMIT = 5


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-u", "-c", BOOTSTRAP, program, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def of_mapping(parameters: dict[str, Any]) -> float:
    x: float = parameters["x"]
    return x / 2


def of_names(x: float, constant: int, scale: float = 2.0) -> dict[str, float]:
    import math

    def inner(value: float) -> float:
        return math.sqrt(value) * scale

    return {"score": inner(x), "other": constant}


def prints(x: float) -> None:
    print(f"score={x}")


@pytest.mark.parametrize(
    ("function", "parameters", "printed"),
    [
        (of_mapping, X, "score=0.125\n"),
        (of_names, {**X, "constant": 3}, "score=1.0\nother=3.0\n"),
        (prints, X, "score=0.25\n"),
    ],
)
def test_a_function_is_called_with_numbers_and_its_metrics_are_printed(
    function: Callable[..., Any], parameters: Mapping[str, Any], printed: str
) -> None:
    done = run(program_of(function, parameters, "score"), "x=0.25")
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


scalars = st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False)


@given(st.lists(scalars, min_size=1, unique_by=str), scalars, st.data())
def test_a_listed_value_and_a_constant_arrive_as_they_were(
    items: list[Any], constant: Any, data: st.DataObject
) -> None:
    def echo(item: Any, fixed: Any) -> None:
        import sys

        sys.seen = (item, fixed)  # type: ignore[attr-defined]

    space = search.categorical(items)
    chosen = data.draw(st.sampled_from(items))
    program = program_of(echo, {"item": space, "fixed": constant}, "score")
    kept = sys.argv
    sys.argv = ["objective.py", f"item={chosen}"]
    try:
        exec(compile(program, "objective.py", "exec"), {"__name__": "__main__"})
        seen = sys.__dict__.pop("seen")
    finally:
        sys.argv = kept
    assert seen == (chosen, constant)
    assert list(map(type, seen)) == [type(chosen), type(constant)]


def test_a_traceback_shows_the_functions_lines() -> None:
    def fails(x: float) -> None:
        raise ValueError("of this line")

    done = run(program_of(fails, X, "score"), "x=1")
    assert done.returncode == 1
    assert 'raise ValueError("of this line")' in done.stderr
    assert "objective.py" in done.stderr


def test_worker_processes_can_import_the_program() -> None:
    def spawns(x: float) -> float:
        import multiprocessing

        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return float(pool.map(abs, [-x])[0])

    done = run(program_of(spawns, X, "score"), "x=0.5")
    assert (done.returncode, done.stdout) == (0, "score=0.5\n"), done.stderr


@pytest.mark.long
def test_packages_are_installed_before_the_function_runs() -> None:
    program = program_of(of_mapping, X, "score", ["absent-package==1"], "http://127.0.0.1:9/simple")
    done = run(program, "x=1")
    assert done.returncode == 1
    assert "absent-package==1" in done.stderr
    assert "score" not in done.stdout
    program = program_of(of_mapping, X, "score", ["pip"])
    assert run(program, "x=1").stdout == "score=0.5\n"


def uses_module(x: float) -> float:
    return x * LIMIT


def uses_default(x: float, limit: int = LIMIT) -> float:
    return x * limit


def uses_inside(x: float) -> float:
    return sum(LIMIT for _ in range(3)) + x


def annotated(x: Space) -> Mapping[str, float]:
    y: Space = x
    return {"score": float(y)}  # type: ignore[arg-type]


def closure() -> Callable[..., Any]:
    factor = 2

    def uses_closure(x: float) -> float:
        return x * factor

    return uses_closure


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: x, "found a lambda; allowed: a function made with def"),
        (print, "found <built-in function print>; allowed: a function made with def"),
        (uses_module, "objective uses_module: found LIMIT of its surroundings"),
        (uses_default, "objective uses_default: found LIMIT of its surroundings"),
        (uses_inside, "objective uses_inside: found LIMIT of its surroundings"),
        (closure(), "objective uses_closure: found factor of its surroundings"),
        (of_names, "objective of_names(x: 'float', constant: 'int'"),
        (of_names, "missing a required argument: 'constant'"),
    ],
)
def test_a_function_that_cannot_run_by_itself_is_refused(
    function: Callable[..., Any], says: str
) -> None:
    with pytest.raises(InputError) as caught:
        program_of(function, X, "score")
    assert says in str(caught.value)


def test_a_decorated_function_is_refused() -> None:
    def keep(function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    @keep
    def function(x: float) -> float:
        return x

    with pytest.raises(InputError, match='found "@keep"; allowed: def without a decorator'):
        program_of(function, X, "score")


def test_annotations_need_not_be_known_to_trials() -> None:
    assert run(program_of(annotated, X, "score"), "x=0.5").stdout == "score=0.5\n"


def test_a_function_without_a_source_is_refused() -> None:
    space: dict[str, Any] = {}
    exec("def function(x):\n    return x", space)
    with pytest.raises(InputError, match="its source cannot be read"):
        program_of(space["function"], X, "score")


def test_a_program_too_long_for_an_argument_is_refused(tmp_path: Any) -> None:
    (tmp_path / "long_objective.py").write_text(
        f"def function(x):\n    text = {'a' * 100_000!r}\n    return x\n"
    )
    space: dict[str, Any] = {}
    path = str(tmp_path / "long_objective.py")
    exec(compile((tmp_path / "long_objective.py").read_text(), path, "exec"), space)
    with pytest.raises(InputError, match="allowed: 100000; put the code into a package"):
        program_of(space["function"], X, "score")
