"""Tests the table of reasons, and the reference in the docs that is made from it."""

from __future__ import annotations

import pytest

from katibflow.runners.kubernetes.causes import CAUSES, Prospect, Reason, cause_of, reference
from tests.paths import ROOT


def test_the_reference_in_the_docs_is_the_table() -> None:
    """After a change: python -m katibflow.runners.kubernetes.causes prints the rows."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    assert page.endswith(reference())


@pytest.mark.parametrize("reason", [*CAUSES, *Reason])
def test_each_reason_says_who_says_it_and_what_to_do(reason: str) -> None:
    cause = CAUSES[reason]
    assert cause.who and cause.seen and cause.do
    assert "|" not in cause.who + cause.seen + cause.do


def test_a_reason_that_is_not_in_the_table_has_no_peculiarity() -> None:
    assert cause_of("SomethingNew").prospect is Prospect.SLOW
    assert cause_of("SomethingNew").heals and not cause_of("SomethingNew").is_silent
