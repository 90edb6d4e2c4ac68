"""Each row of the conformance table has a test, and docs/katib.md has the table."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.paths import ROOT

ROWS: list[dict[str, str]] = yaml.safe_load(
    (ROOT / "tests" / "katib_conformance.yaml").read_text(encoding="utf-8")
)


def table() -> str:
    lines = ["| what | Katib | here | why |", "| --- | --- | --- | --- |"]
    lines += ["| {what} | {katib} | {here} | {why} |".format(**row) for row in ROWS]
    return "\n".join(lines)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["what"])
def test_a_row_has_a_test(row: dict[str, str]) -> None:
    assert set(row) == {"what", "katib", "here", "why", "test"}
    file, name = row["test"].split("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^ *def {name}\(", text, re.MULTILINE)


def test_each_row_is_there_once() -> None:
    assert len({row["what"] for row in ROWS}) == len(ROWS)


def test_the_guide_has_the_table() -> None:
    text = (ROOT / "docs" / "katib.md").read_text(encoding="utf-8")
    assert table() in text, f"docs/katib.md needs this table:\n{table()}"
