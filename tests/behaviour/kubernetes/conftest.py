"""The fixture ``lab``: a Kubernetes cluster behind an HTTP server, and a runner for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.kubernetes.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A cluster behind an HTTP server, and a runner for it; threads end with it."""
    made = Lab(tmp_path)
    yield made
    made.close()
