"""Tests reading lines from a growing log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from katibflow.runners.local.lines import MAX_LINE_BYTES, LineSplitter, LogTail, last_lines


def split(*pieces: bytes) -> list[str]:
    splitter = LineSplitter()
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return lines + splitter.flush()


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\n\nb", ["a", "", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"\r 10%\r 20%\r100%\ndone", [" 10%", " 20%", "100%", "done"]),
        (b"50%\r", ["50%"]),
        ("lo\xdfs".encode() + b"=\xff1\n", ["lo\xdfs=\N{REPLACEMENT CHARACTER}1"]),
        (b"", []),
    ],
)
def test_lines_end_at_newlines_and_carriage_returns(data: bytes, lines: list[str]) -> None:
    assert split(data) == lines


@given(st.lists(st.text("ab\r\n", max_size=5), max_size=8))
def test_where_the_pieces_are_cut_does_not_matter(pieces: list[str]) -> None:
    whole = "".join(pieces)
    parts = re.split(r"(\r\n|\n|\r)", whole)
    expected = [
        text
        for text, end in zip(parts[::2], [*parts[1::2], ""], strict=True)
        if text or "\n" in end
    ]
    assert split(*(piece.encode() for piece in pieces)) == expected


def test_a_huge_line_is_cut_and_the_next_one_whole() -> None:
    piece = b"x" * 50_000
    lines = split(piece, piece, piece, b"end\nnext\n")
    assert lines == ["x" * MAX_LINE_BYTES, "next"]


def test_a_tail_reads_a_log_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = LogTail(path)
    assert tail.read() == ([], False)
    with path.open("wb", buffering=0) as log:
        log.write(b"one\ntw")
        assert tail.read() == (["one"], False)
        log.write(b"o\nthree")
        assert list(tail.rest()) == ["two", "three"]
    tail.close()


def test_the_last_lines_come_from_the_end_of_a_large_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert last_lines(path, 2) == ["line 99998", "line 99999"]
    assert last_lines(tmp_path / "none", 2) == []
