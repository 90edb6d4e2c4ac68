"""Checks the Experiment's name and namespace, and its counts of trials.

Source: Katib's ``pkg/webhook/v1beta1/experiment/validator/validator.go``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from katibflow.errors import Fault

if TYPE_CHECKING:
    from katibflow.experiment.parsing import Parts

__all__ = ["NAME_LENGTH", "count_faults", "name_faults"]

NAME_LENGTH = 40
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def name_faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of the name and the namespace."""
    if parts.metadata is None:
        return
    name = parts.metadata.name
    if len(name) > NAME_LENGTH or not _NAME.fullmatch(name):
        path, given, last = "metadata.name", name, ", last no -"
        prefix = (parts.metadata.model_extra or {}).get("generateName")
        if isinstance(prefix, str) and prefix and name.startswith(prefix):
            # The letters that follow it are made here, and right.
            path, given, last = "metadata.generateName", prefix, ""
        yield Fault(
            path, f'"{given}"', f"at most {NAME_LENGTH} of a-z, 0-9 and -, first a letter{last}"
        )
    namespace = parts.metadata.namespace
    if namespace is not None and not _NAMESPACE.fullmatch(namespace):
        yield Fault(
            "metadata.namespace",
            f'"{namespace}"',
            "at most 63 of a-z, 0-9 and -, first and last no -",
        )


def count_faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of the counts of trials."""
    parallel, most = parts.parallel_trial_count, parts.max_trial_count
    failed = parts.max_failed_trial_count
    if parallel is not None and parallel <= 0:
        yield Fault("spec.parallelTrialCount", str(parallel), "a whole number above 0")
    if most is not None and most <= 0:
        yield Fault("spec.maxTrialCount", str(most), "a whole number above 0")
    if failed is not None and failed < 0:
        yield Fault("spec.maxFailedTrialCount", str(failed), "0 or a whole number above")
    if parallel is not None and most is not None and parallel > most > 0:
        yield Fault("spec.parallelTrialCount", str(parallel), f"at most maxTrialCount, {most}")
    if failed is not None and most is not None and failed > most > 0:
        yield Fault("spec.maxFailedTrialCount", str(failed), f"at most maxTrialCount, {most}")
