"""Follows every path of GJSON's documentation, and what gjson 1.18 was seen to do beside it."""

from __future__ import annotations

from typing import Any

import pytest

from katibflow.experiment.gjson_path import path_of
from katibflow.runners.kubernetes.gjson_values import Absent, value_at

ABSENT = Absent.ABSENT

DALE = {"first": "Dale", "last": "Murphy", "age": 44, "nets": ["ig", "fb", "tw"]}
ROGER = {"first": "Roger", "last": "Craig", "age": 68, "nets": ["fb", "tw"]}
JANE = {"first": "Jane", "last": "Murphy", "age": 47, "nets": ["ig", "tw"]}
PEOPLE = {
    "name": {"first": "Tom", "last": "Anderson"},
    "age": 37,
    "children": ["Sara", "Alex", "Jack"],
    "fav.movie": "Deer Hunter",
    "friends": [DALE, ROGER, JANE],
}

DOCUMENTED: dict[str, Any] = {
    "name.last": "Anderson",
    "name.first": "Tom",
    "age": 37,
    "children": ["Sara", "Alex", "Jack"],
    "children.0": "Sara",
    "children.1": "Alex",
    "friends.1": ROGER,
    "friends.1.first": "Roger",
    "child*.2": "Jack",
    "c?ildren.0": "Sara",
    r"fav\.movie": "Deer Hunter",
    "friends.#": 3,
    "friends.#.age": [44, 68, 47],
    'friends.#(last=="Murphy").first': "Dale",
    'friends.#(last=="Murphy")#.first': ["Dale", "Jane"],
    "friends.#(age>45)#.last": ["Craig", "Murphy"],
    'friends.#(first%"D*").last': "Murphy",
    'friends.#(first!%"D*").last': "Craig",
    'children.#(!%"*a*")': "Alex",
    'children.#(%"*a*")#': ["Sara", "Jack"],
    'friends.#(nets.#(=="fb"))#.first': ["Dale", "Roger"],
    "friends.0.first": "Dale",
    "friends|0.first": "Dale",
    "friends.0|first": "Dale",
    "friends|0|first": "Dale",
    "friends|#": 3,
    'friends.#(last="Murphy")#': [DALE, JANE],
    'friends.#(last="Murphy")#|first': ABSENT,
    'friends.#(last="Murphy")#.0': [],
    'friends.#(last="Murphy")#|0': DALE,
    'friends.#(last="Murphy")#.#': [],
    'friends.#(last="Murphy")#|#': 2,
    "children.@reverse": ["Jack", "Alex", "Sara"],
    "children.@reverse.0": "Jack",
    "name.@keys": ["first", "last"],
    "name.@values": ["Tom", "Anderson"],
    '{name.first,age,"the_murphys":friends.#(last="Murphy")#.first}': {
        "first": "Tom",
        "age": 37,
        "the_murphys": ["Dale", "Jane"],
    },
    '{name.first,age,"here":!"yes"}': {"first": "Tom", "age": 37, "here": "yes"},
}

SEEN: list[tuple[Any, str, Any]] = [
    ({"a": [1, [2, [3]], 4]}, "a.@flatten", [1, 2, [3], 4]),
    ({"a": [1, [2, [3]], 4]}, 'a.@flatten:{"deep":true}', [1, 2, 3, 4]),
    ([{"a": 1, "b": 2}, {"b": 3}, "x"], "@join", {"a": 1, "b": 3}),
    ({"a": [1, 2], "b": [3]}, "@group", [{"a": 1, "b": 3}, {"a": 2}]),
    ({"a": '{"b":1}'}, "a.@fromstr.b", 1),
    ({"a": {"b": 1}}, "a.@tostr", '{"b":1}'),
    ({"a": 1}, "b.[@this]", []),
    ({"a": 1}, "b.@this", ABSENT),
    ({"b1": {"x": 1}, "b2": {"y": 2}}, "b*.y", 2),
    ({"a": [{"b": None}, {"c": 1}]}, "a.#(b)#", [{"b": None}]),
    ({"a": [None, "x", 1, True]}, "a.#(=x)#", ["x"]),
    ({"a": [None, "x", 1, True]}, "a.#(!=x)#", [1, True]),
    ({"a": [0, 1, 2]}, "a.#(==1)", 1),
    ({"a": [{"n": 1}, {"n": 10}]}, "a.#(n>=2)#.n", [10]),
    ({"a": [{"n": 1}]}, 'a.#(n=="1").n', 1),
    ({"a": [{"b": True}, {"b": False}, {}]}, "a.#(b==~false)#", [{"b": False}, {}]),
    ({"a": [{"b": {"c": "x"}}, {"b": {"c": "y"}}]}, 'a.#(b.c=="y")#', [{"b": {"c": "y"}}]),
    ({"a": ["a*b", "axb"]}, r'a.#(%"a\*b")#', ["a*b"]),
    ({"a": 'say "x"'}, r'[a].#(=="say \"x\"")', 'say "x"'),
    ({"a": "text"}, "a.0", ABSENT),
    ({"kind": "Job"}, "..0.kind", "Job"),
]


@pytest.mark.parametrize(("path", "value"), DOCUMENTED.items())
def test_what_the_documentation_says(path: str, value: object) -> None:
    assert value_at(path_of(path), PEOPLE) == value


@pytest.mark.parametrize(("document", "path", "value"), SEEN)
def test_what_the_library_does(document: object, path: str, value: object) -> None:
    found = value_at(path_of(path), document)
    assert found == value and type(found) is type(value)


def test_a_pattern_takes_no_longer_than_the_text_is() -> None:
    document = {"a": ["a" * 5_000]}
    assert value_at(path_of(f'a.#(%"{"*a" * 50}*b")'), document) is ABSENT
