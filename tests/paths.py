"""Where the project's files are, for tests."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

GOLDEN = ROOT / "tests" / "golden"
"""Files of earlier releases and of other programs, as they were written."""

RECORDED = ROOT / "tests" / "recorded"
"""Workflow objects, recorded on a real engine."""
