"""What the pods of steps ask of the cluster, for Kubeflow Pipelines and for Argo alone."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["REQUESTS", "USER"]

USER = 65532
"""The user of the steps: the stock image's own is root, which "restricted" forbids."""

REQUESTS: Mapping[str, str] = {"cpu": "100m", "memory": "256Mi"}
"""What a step asks for: enough to be placed where it can run; it may take more."""
