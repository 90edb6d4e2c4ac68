"""Tests that the search for cycles is put off, and goes on as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from katibflow.study.bulk import without_search_for_cycles


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    gc.enable()


def test_it_goes_on_after_the_block_and_after_an_error() -> None:
    with without_search_for_cycles():
        assert not gc.isenabled()
        with without_search_for_cycles():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="wrong"), without_search_for_cycles():
        raise ValueError("wrong")
    assert gc.isenabled()


def test_it_stays_off_where_the_user_has_turned_it_off() -> None:
    gc.disable()
    with without_search_for_cycles():
        pass
    assert not gc.isenabled()
