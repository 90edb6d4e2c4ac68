from __future__ import annotations

from tests.runners.contract import RunnerContract


class TestLocalRunner(RunnerContract):
    """The local runner keeps the contract."""
