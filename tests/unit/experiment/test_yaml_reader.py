from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from katibflow.errors import Fault, InputError
from katibflow.experiment.yaml_reader import found, in_file_order, read_document, read_file


def value(text: str) -> Any:
    return read_document(f"a: {text}", "f.yaml")["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:30", "1:30"),
        ("12:30:45", "12:30:45"),
        ("1:30.5", "1:30.5"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z"),
        (".inf", ".inf"),
        ("-.Inf", "-.Inf"),
        (".nan", ".nan"),
        ("1.0e+999", "1.0e+999"),
        ("010", 8),
        ("0x10", 16),
        ("1_000", 1000),
        ("3.10", 3.1),
        ("on", True),
        ("no", False),
        ('"on"', "on"),
        ("~", None),
        ("0.5", 0.5),
        ("12345678901234567890123", 12345678901234567890123),
    ],
)
def test_scalars_are_read_as_kubernetes_reads_them(text: str, expected: object) -> None:
    read = value(text)
    assert read == expected
    assert type(read) is type(expected)


def test_keys_are_text() -> None:
    text = "a: {1: x, true: y, null: z, 2024-01-01: d, 1.5: f}"
    assert list(read_document(text, "f")["a"]) == ["1", "true", "null", "2024-01-01", "1.5"]


SPACE = """
spec:
  algorithm: {{algorithmSettings: [{{name: s, value: {0}}}]}}
  earlyStopping: {{algorithmSettings: [{{name: s, value: {0}}}]}}
  parameters:
    - feasibleSpace: {{min: {0}, max: {0}, step: {0}, list: [{0}]}}
  trialTemplate: {{trialSpec: {{x: {0}}}}}
"""


@pytest.mark.parametrize(
    ("written", "text", "number"),
    [
        ("0.30", "0.30", 0.3),
        ("3.10", "3.10", 3.1),
        ("0.010", "0.010", 0.01),
        ("16", "16", 16),
        ("1e-05", "1e-05", "1e-05"),
        ("1.0e-05", "1.0e-05", 1e-5),
        ("0.00001", "0.00001", 1e-5),
        ("1e5", "1e5", "1e5"),
        ("+5", "+5", 5),
        (".5", ".5", 0.5),
        ("1_000", "1000", 1000),
        ("1_0.5", "10.5", 10.5),
        ("010", "8", 8),
        ("0x10", "16", 16),
        ("9007199254740993", "9007199254740993", 9007199254740993),
        ("1" + "0" * 400, "1" + "0" * 400, 10**400),
        ("'0.30'", "0.30", "0.30"),
        (".inf", ".inf", ".inf"),
    ],
)
def test_numbers_stay_as_written_where_katib_wants_text(
    written: str, text: str, number: object
) -> None:
    spec = read_document(SPACE.format(written), "f.yaml")["spec"]
    assert spec["parameters"][0]["feasibleSpace"] == {
        "min": text,
        "max": text,
        "step": text,
        "list": [text],
    }
    assert spec["algorithm"]["algorithmSettings"][0]["value"] == text
    assert spec["earlyStopping"]["algorithmSettings"][0]["value"] == text
    other = spec["trialTemplate"]["trialSpec"]["x"]
    assert other == number
    assert type(other) is type(number)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_any_number_means_the_same_as_text(number: float) -> None:
    text = f"spec: {{parameters: [{{feasibleSpace: {{min: {number!r}}}}}]}}"
    read = read_document(text, "f")["spec"]["parameters"][0]["feasibleSpace"]["min"]
    assert isinstance(read, str)
    assert type(number)(read) == number


def test_merge_keys_and_aliases_work() -> None:
    text = "base: &b {x: 1, y: 2}\nmid: &m {<<: *b, x: 3}\ntop: {<<: *m, y: 4}\nsame: *m"
    assert read_document(text, "f") == {
        "base": {"x": 1, "y": 2},
        "mid": {"x": 3, "y": 2},
        "top": {"x": 3, "y": 4},
        "same": {"x": 3, "y": 2},
    }


@pytest.mark.parametrize("key", ["k", "key"])
def test_of_several_merged_mappings_the_first_that_has_a_key_wins(key: str) -> None:
    text = f"a: &a {{{key}: 1}}\nb: &b {{{key}: 2, z: 3}}\nc: {{<<: [*a, *b]}}"
    assert read_document(text, "f")["c"] == {key: 1, "z": 3}


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "found 0 documents; allowed: one Experiment"),
        ("# only a comment", "found 0 documents"),
        ("- 1", "found a list of 1; allowed: one Experiment (a YAML mapping)"),
        ("just text", 'found "just text"; allowed'),
        ("a: 1\n---\nb: 2", "found 2 documents"),
        ("a: 1\nb: [", "line 3, column 1: not YAML: "),
        ("a: 1\n a: 2", "line 2, column 3: not YAML"),
        ("x:\n  a: 1\n  b: 2\n  a: 3", "line 4, column 3: not YAML: found the key 'a' twice"),
        ("1: a\n'1': b", "found the key '1' twice"),
        ("{[a]: b}", "found a key that is a mapping or a list"),
        ("? {a: 1}\n: b", "found a key that is a mapping or a list"),
        ("a: &a [*a]", "recursive"),
        ("a: &a {b: *a}", "recursive"),
        ("a: *b", "undefined alias"),
        ("a: !!python/object:os.x {}", "could not determine a constructor"),
        ("s: {a: !!set {x}}", "s.a: found a YAML set; allowed: a mapping, a list"),
        ("a: !!binary aGk=", "a: found a YAML bytes"),
        ("a: !!int ''", "not YAML"),
        ("a: !!float x", "not YAML"),
        ("a: !!bool x", "not YAML"),
        ("a: " + "9" * 5000, "not YAML: Exceeds the limit"),
        ("a: \x00", "not YAML"),
        ("[" * 101, "line 1: found values nested deeper than 100"),
        ("{a: " * 101, "line 1: found values nested deeper than 100"),
        ("[" * 100_000, "nest"),  # the scanner of PyYAML 6.0.4 is the first to see this one
        ("{a: " * 100_000, "nest"),
        ("a: {<<: 1}", "line 1, column 9: not YAML: found a merge (<<) of what is no mapping"),
        ("a: {<<: [{b: 1}, x]}", "not YAML: found a merge"),
        (BOMB, "found more than 30000 values"),
    ],
)
def test_what_is_no_experiments_yaml_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        read_document(text, "f.yaml")
    assert str(caught.value).startswith("f.yaml")
    assert says in str(caught.value)


@given(st.text(alphabet="ab:[]{}-&*!?|>'\"#% \n0.", max_size=30))
def test_any_text_is_a_document_or_an_input_error(text: str) -> None:
    with contextlib.suppress(InputError):
        assert isinstance(read_document(text, "f"), dict)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    big = tmp_path / "big"
    big.write_bytes(b"#" * 2_000_001)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00a")
    for path, says in (
        (tmp_path / "absent.yaml", "no such file"),
        (tmp_path, "a folder"),
        (pipe, "no regular file"),
        (big, "found 2000001 bytes; allowed: at most 2000000"),
        (binary, "not UTF-8 text"),
        (tmp_path / ("x" * 300), "cannot be read: File name too long"),
    ):
        with pytest.raises(InputError) as caught:
            read_file(path)
        assert str(caught.value).startswith(f"{path}: {says}"), path


def test_the_limits_themselves_are_within(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"#" * 2_000_000)
    assert len(read_file(path)) == 2_000_000
    assert value("[" * 99 + "]" * 99)
    with pytest.raises(InputError, match="nested deeper than 100"):
        value("[" * 100 + "]" * 100)
    # The document, its mapping, three keys, a list of 99 items 299 times, and two more lists.
    text = f"a: &a [{','.join('x' * 99)}]\nb: [{','.join(['*a'] * 298)}]\nc: [{{}}]"
    assert len(read_document(text.format(",".join("x" * 93)), "f")["b"]) == 298
    with pytest.raises(InputError, match="line 3: found more than 30000 values"):
        read_document(text.format(",".join("x" * 94)), "f")
    long = f"a: &a {'x' * 100_000}\nb: [{','.join(['*a'] * 39)}{{}}]"
    with pytest.raises(InputError, match="line 2: found more than 4000000 characters"):
        read_document(long.format(""), "f")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xef\xbb\xbfa: \xc3\xa4")
    assert read_document(read_file(path), "x") == {"a": "ä"}


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        ("a", '"a"'),
        (True, "true"),
        (1.5, "1.5"),
        (None, "nothing (null)"),
        ([1, 2], "a list of 2"),
        ({}, "an empty mapping"),
        ({"a": 1, "b": 2}, "a mapping with the keys a, b"),
        ("x" * 58, '"' + "x" * 58 + '"'),
        ("x" * 59, '"' + "x" * 56 + "..."),
    ],
)
def test_found_is_short(thing: object, text: str) -> None:
    assert found(thing) == text


def test_faults_come_in_the_files_order() -> None:
    document = {
        "z": {"b": 1, "a.b/c": {"x": 1}, "a": {"b/c": 2}},
        "list": [{"q": 1, "p": 2}, {"q": 3}],
        "a": 5,
    }
    paths = [
        "z",
        "z.b",
        "z.a.b/c.x",
        "z.a.b/c.missing",
        "z.a",
        "z.missing",
        "list[0].q",
        "list[0].p",
        "list[1].q",
        "list[1].missing.deeper[3]",
        "list[7].q",
        "a",
        "missing",
    ]
    faults = [Fault(path, "", "") for path in paths]
    assert in_file_order([*reversed(faults), *faults], document) == tuple(faults)
