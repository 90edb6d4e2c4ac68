"""Checks a whole Experiment: single fields and the rules of every concept, all at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from katibflow import algorithms, collectors, early_stopping, jobs, limits, space, template
from katibflow.document import in_file_order, read_document, read_file
from katibflow.errors import Fault, InvalidExperiment
from katibflow.experiment import Experiment
from katibflow.loading import Parts, parse

__all__ = ["check_document", "load_experiment"]

NAME_LENGTH = 40
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def load_experiment(path: Path) -> Experiment:
    """Reads and checks an Experiment file.

    Raises:
        InputError: The file is no readable YAML mapping.
        InvalidExperiment: The Experiment has faults; all are listed.
    """
    return check_document(read_document(read_file(path), str(path)), str(path))


def check_document(document: Mapping[str, Any], source: str) -> Experiment:
    """Checks an Experiment given as plain data.

    Args:
        document: The Experiment in the YAML's names.
        source: Where it comes from, for errors.

    Raises:
        InvalidExperiment: It has faults; all are listed.
    """
    experiment, parts, found = parse(document)
    paths = {fault.path for fault in found}
    faults = [*found, *(fault for fault in _rule_faults(parts) if fault.path not in paths)]
    if faults or experiment is None:
        raise InvalidExperiment(source, in_file_order(faults, document))
    return experiment


def _rule_faults(parts: Parts) -> Iterator[Fault]:
    yield from _name_faults(parts)
    yield from limits.faults(parts)
    yield from space.faults(parts)
    yield from algorithms.faults(parts)
    yield from early_stopping.faults(parts)
    yield from collectors.faults(parts)
    yield from _count_faults(parts)
    yield from template.faults(parts)
    yield from jobs.faults(parts)
    if parts.nas_config is not None:
        yield Fault("spec.nasConfig", "neural architecture search", "parameters; NAS is not done")


def _name_faults(parts: Parts) -> Iterator[Fault]:
    if parts.metadata is None:
        return
    name = parts.metadata.name
    if len(name) > NAME_LENGTH or not _NAME.fullmatch(name):
        yield Fault(
            "metadata.name",
            f'"{name}"',
            f"at most {NAME_LENGTH} of a-z, 0-9 and -, first a letter, last no -",
        )
    namespace = parts.metadata.namespace
    if namespace is not None and not _NAMESPACE.fullmatch(namespace):
        yield Fault(
            "metadata.namespace",
            f'"{namespace}"',
            "at most 63 of a-z, 0-9 and -, first and last no -",
        )


def _count_faults(parts: Parts) -> Iterator[Fault]:
    """Source: Katib's validator.go."""
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
