"""Every input that once broke a reader of foreign files, and usual ones beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS
from tests.paths import ROOT

CORPUS = sorted((ROOT / "tests" / "fuzz" / "corpus").glob("*/*"))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_reader_stands_its_corpus(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())
