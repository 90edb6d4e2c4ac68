"""Runs the runner contract for the local runner."""

from __future__ import annotations

from tests.behaviour.runner_contract import RunnerContract


class TestLocalRunner(RunnerContract):
    """The local runner keeps the contract."""
