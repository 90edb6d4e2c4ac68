"""Each of Katib's own rules has the verdict and the words that `katib_verdicts.yaml` states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from katibflow.errors import InvalidExperiment
from katibflow.validation.rules import check_document
from tests.samples import ABSENT, changed

ROWS: list[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("katib_verdicts.yaml").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["rule"])
def test_each_of_katibs_rules(row: dict[str, Any]) -> None:
    given = {path: ABSENT if value == "ABSENT" else value for path, value in row["changes"].items()}
    said: list[str] = []
    try:
        check_document(changed(given), "f.yaml", needs_template=False)
    except InvalidExperiment as error:
        said = [str(fault) for fault in error.faults]
    wanted = row.get("ours", [])
    assert len(said) == len(wanted), said
    for line, text in zip(said, wanted, strict=True):
        shown = f"{line[: len(text) - 3]}..." if text.endswith("...") else line
        assert shown == text


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["rule"])
def test_a_verdict_differs_from_katibs_only_for_a_reason(row: dict[str, Any]) -> None:
    ours = "refuse" if row.get("ours") else "accept"
    assert row["katib"] in ("refuse", "accept")
    assert (ours != row["katib"]) == bool(row.get("why"))


def test_every_rule_is_there_once() -> None:
    names = [row["rule"] for row in ROWS]
    assert len({*names}) == len(names) >= 90
