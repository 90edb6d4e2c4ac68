"""Runs the runner contract for the Kubernetes runner."""

from __future__ import annotations

from tests.behaviour.runner_contract import RunnerContract


class TestKubernetesRunner(RunnerContract):
    """The Kubernetes runner keeps the contract, against an API server that plays the jobs."""
