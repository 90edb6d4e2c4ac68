"""The fixture ``lab`` for local jobs, which leaves no process behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from katibflow.runners.local.ending import end_all
from katibflow.runners.local.members import marked
from tests.doubles.local_lab import LocalLab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LocalLab]:
    """Yields a lab for local jobs; checks afterwards that no process of theirs is left."""
    yield LocalLab(tmp_path)
    left = marked(tmp_path)
    end_all(tmp_path, 0)
    assert not left
